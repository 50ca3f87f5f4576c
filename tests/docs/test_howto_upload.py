"""The how-to page's own page uploads from a real browser, by cookie and by a token that may do nothing else."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.client import App, photo
from tests.docs.howto import blocks, files
from tests.harness import System, scratch, until

NAME = "upload-from-a-browser.md"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Site:
    """The app whose page it is; `told` are the media that the page said it stored."""

    url: str = ""
    chipmunk: str = ""
    told: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script = self.path == "/upload.js"
            page = f"<!doctype html><title>app</title>{blocks(NAME, 'html')[0]}"
            text = files(NAME)["upload.js"] if script else page.replace("https://media.example.com", site.chipmunk)
            self._answer(text.encode(), "text/javascript" if script else "text/html")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            site.told += parse_qs(body.decode())["media"]
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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
def page(site: Site, app: App) -> Iterator[Any]:
    """The app's page, in a browser that nobody has logged in."""
    if CHROMIUM is None and os.environ.get("CI") != "true":
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(site.url)
        yield page
        browser.close()


def choose(page: Any, data: bytes) -> str:
    """Chooses a file, and waits for what the page says of it."""
    page.evaluate("said.textContent = ''")
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": data})
    page.wait_for_function("said.textContent")
    return str(page.text_content("#said"))


def test_a_page_uploads_with_the_cookie_and_shows_its_progress(site: Site, app: App, page: Any) -> None:
    user = app.user(quota_bytes=2_000_000)
    assert choose(page, photo()) == "A valid credential is needed."
    page.goto(f"{app.session(user)['enter_url']}?next={site.url}/")
    assert choose(page, photo()) == "Stored."
    assert page.evaluate("progress.value") == 1
    [media] = site.told
    assert app.ready(media)["owner"] == user
    assert "quota" in choose(page, os.urandom(8_000_000))
    until(lambda: app.standing(user)["reserved_bytes"] == 0, 5, "nothing reserved")
    assert app.standing(user)["media_count"] == 1


def test_a_page_s_token_uploads_and_can_do_nothing_else(site: Site, app: App, page: Any) -> None:
    user = app.user()
    token = app.session(user, scopes=["upload"])["token"]
    call = """async ([chipmunk, token, bytes]) => {
        const { upload } = await import("/upload.js");
        const file = new File([Uint8Array.from(bytes)], "a.jpg"), shares = [], key = crypto.randomUUID();
        const said = { token, key, onprogress: (share) => shares.push(share) };
        const medias = [await upload(chipmunk, file, said), await upload(chipmunk, file, said)];
        const answer = await fetch(`${chipmunk}/v1/media`, { headers: { Authorization: `Bearer ${token}` } });
        return [medias.map((media) => media.id), Math.max(...shares), (await answer.json()).code];
    }"""
    [first, again], share, code = page.evaluate(call, [site.chipmunk, token, list(photo(seed=2))])
    assert (first, share, code) == (again, 1, "scope_missing")
    assert app.standing(user)["media_count"] == 1
