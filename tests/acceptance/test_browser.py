"""A real browser logs in by the enter_url and sees the picture inside a page of another origin of the same site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browsing import Site, chromium, serving
from tests.client import App, photo
from tests.harness import System


def shown(_: Site, path: str) -> tuple[str, str]:
    """The app's own page: it shows whatever picture its address names."""
    return "text/html", f'<!doctype html><title>app</title><img src="{path.partition("?")[2]}">'


@pytest.fixture
def page_url() -> Iterator[str]:
    with serving(shown) as site:
        yield f"{site.url}/"


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


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
