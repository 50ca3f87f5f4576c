"""Uppy, as it is shipped, in a real browser on a page of an allowed origin: by cookie and by token, with cuts."""

from __future__ import annotations

import http.server
import os
import random
import shutil
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.client import App, media_folder, photo, sha256
from tests.harness import System, scratch
from tests.servers.cutting import NEVER, Cutter
from tests.servers.tus_js import Clients

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATH = "/v1/uploads/"


@dataclass
class Site:
    """The app's page, which has Uppy."""

    url: str = ""
    files: dict[str, tuple[str, str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def site(tus_clients: Clients) -> Iterator[Site]:
    site = Site(files={"/uppy.js": ("text/javascript", tus_clients.bundle())})
    site.files["/"] = ("text/html", '<!doctype html><title>app</title><script type="module" src="/uppy.js"></script>')

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = site.files.get(self.path, ("text/plain", ""))
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

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
        page.wait_for_function("!!window.send")
        yield page
        browser.close()


def send(page: Any, endpoint: str, data: bytes, **options: Any) -> dict[str, Any]:
    call = "([endpoint, options, base64]) => window.send(endpoint, options, base64, 'at sea.jpg')"
    return dict(page.evaluate(call, [endpoint, options, b64encode(data).decode()]))


def stored(app: App, user: str, told: dict[str, Any], data: bytes) -> None:
    assert (told["stored"], told["failed"]) == (1, []), told
    found = app.ready(told["url"].rpartition("/")[2])
    assert (found["owner"], found["filename"], found["sha256"]) == (user, "at sea.jpg", sha256(data))
    assert (media_folder(app.system, found["id"]) / "0").read_bytes() == data
    standing = app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"]) == (found["total_bytes"], 0)


def test_a_page_uploads_with_the_cookie(site: Site, app: App, page: Any) -> None:
    user, data = app.user(), photo(900, 700)
    refused = send(page, f"{app.system.url}{PATH}", data, withCredentials=True)
    assert refused["stored"] == 0
    page.goto(f"{app.session(user)['enter_url']}?next={site.url}/")
    page.wait_for_function("!!window.send")
    told = send(page, f"{app.system.url}{PATH}", data, withCredentials=True)
    stored(app, user, told, data)
    assert told["media"] == told["url"].rpartition("/")[2], "the page may read Chipmunk-Media"
    assert told["progress"] == len(data)


def test_a_page_uploads_with_a_token_though_its_connections_are_cut(app: App, page: Any) -> None:
    user, chance = app.user(), random.Random(6)
    data = photo(900, 700, 2) + chance.randbytes(1_500_000)
    token = app.session(user, scopes=["upload"])["token"]
    headers = {"Authorization": f"Bearer {token}"}

    def plan() -> tuple[int, int]:
        return chance.randrange(20_000, 600_000), NEVER

    with Cutter(app.system.port, plan) as cutter:
        told = send(page, f"{cutter.url}{PATH}", data, headers=headers)
        assert cutter.cuts > 1
    stored(app, user, told, data)


def test_a_page_uploads_in_parallel_and_in_chunks(app: App, page: Any) -> None:
    for number, options in enumerate(({"parallelUploads": 3}, {"chunkSize": 100_000}, {"overridePatchMethod": True})):
        user, data = app.user(), photo(1600, 1200, 3 + number, 95)
        headers = {"Authorization": f"Bearer {app.session(user)['token']}"}
        stored(app, user, send(page, f"{app.system.url}{PATH}", data, headers=headers, **options), data)


def test_a_page_is_told_why_a_file_was_refused(app: App, page: Any) -> None:
    user = app.user()
    headers = {"Authorization": f"Bearer {app.session(user)['token']}"}
    told = send(page, f"{app.system.url}{PATH}", b"no picture" * 50, headers=headers)
    assert told["stored"] == 0
    assert app.standing(user)["reserved_bytes"] == 0
