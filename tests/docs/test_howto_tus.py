"""The how-to page's own code uploads: its page with Uppy in a real browser, and its lines of Python."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from solo.packages import PROJECT
from tests.client import App, photo
from tests.docs.howto import blocks, files
from tests.docs.pages import text
from tests.harness import System, scratch
from tests.servers.tus_js import Clients

NAME = "resumable-uploads.md"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def test_each_test_that_the_reference_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", text("tus")))
    there = {
        name
        for path in (PROJECT / "tests").rglob("test_tus*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= there


class Site:
    """The app's page."""

    def __init__(self, script: str) -> None:
        self.url, self.chipmunk, self.script = "", "", script

    def answer(self, path: str) -> tuple[str, str]:
        if path == "/uploads.js":
            return "text/javascript", self.script
        page = blocks(NAME, "html")[0].replace("https://media.example.com", self.chipmunk)
        return "text/html", f"<!doctype html><title>app</title>{page}"


@pytest.fixture(scope="module")
def site(tus_clients: Clients) -> Iterator[Site]:
    site = Site(tus_clients.bundle(files(NAME)["uploads.js"]))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, words = site.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(words.encode())

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def app(site: Site) -> Iterator[App]:
    with scratch() as folder, System(folder / "data", origins=site.url) as system, App(system) as app:
        site.chipmunk = system.url
        yield app


@pytest.fixture
def page() -> Iterator[Any]:
    if CHROMIUM is None and os.environ.get("CI") != "true":
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page()
        browser.close()


def test_the_page_uploads_with_uppy_and_shows_its_progress(site: Site, app: App, page: Any) -> None:
    user = app.user()
    page.goto(f"{app.session(user)['enter_url']}?next={site.url}/")
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo()})
    page.wait_for_function("said.textContent")
    said, _, media = str(page.text_content("#said")).partition(": ")
    assert said == "Stored", said
    found = app.ready(media)
    assert (found["owner"], found["filename"], found["flows"]) == (user, "a.jpg", ["general"])
    assert page.evaluate("progress.value") == 1


def test_the_python_uploads_a_file(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.jpg").write_bytes(photo(800, 600))
    monkeypatch.chdir(tmp_path)
    assert app.http.put("/v1/users/ada", json={}).status_code in (200, 201)
    given: dict[str, Any] = {"chipmunk": app.system.url, "api_key": app.system.api_key}
    exec(blocks(NAME, "python")[0], given)
    assert app.ready(given["media"])["owner"] == "ada"
