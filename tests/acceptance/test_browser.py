"""A real browser logs in by the enter_url and sees the picture inside a page of another origin of the same site."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import App, photo
from tests.harness import System

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Page(http.server.BaseHTTPRequestHandler):
    """The app's own page: it shows whatever picture its address names."""

    def do_GET(self) -> None:
        body = f'<!doctype html><title>app</title><img src="{self.path.partition("?")[2]}">'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def page_url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None and os.environ.get("CI") != "true":
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def seen(page: Any) -> tuple[bool, int, int]:
    page.wait_for_function("document.images[0].complete")
    return tuple(
        page.evaluate(
            "[document.images[0].naturalWidth > 0, document.images[0].naturalWidth, document.images[0].naturalHeight]"
        )
    )


def test_a_browser_that_entered_sees_the_picture_and_another_does_not(
    system: System, browser: Any, page_url: str
) -> None:
    with App(system) as app:
        user = app.user()
        media = app.stored(user, photo(1300, 1000))
        enter_url = app.session(user)["enter_url"]
        picture = f"{page_url}?{system.url}{media['url']}5/"
        entered, stranger = browser.new_context(), browser.new_context()
        page = entered.new_page()
        answer = page.goto(f"{enter_url}?next={media['url']}6/")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/webp")
        [cookie] = entered.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("chipmunk_session", True, "Lax")
        page.goto(picture)
        assert seen(page) == (True, 640, 492)
        other = stranger.new_page()
        other.goto(picture)
        assert seen(other)[0] is False
        assert other.goto(enter_url).status == 404
        entered.close()
        stranger.close()
