"""The how-to page's own page uploads from a real browser, by cookie and by a token that may do nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browsing import Site, chromium, serving
from tests.client import App, photo
from tests.docs.howto import own_page
from tests.harness import System, scratch, until

NAME = "upload-from-a-browser.md"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(own_page(NAME, "upload.js")) as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> Iterator[App]:
    with scratch() as folder, System(folder / "data", origins=site.url) as system, App(system) as app:
        site.chipmunk = system.url
        yield app


@pytest.fixture
def page(site: Site, app: App) -> Iterator[Any]:
    """The app's page, in a browser that nobody has logged in."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(site.url)
        yield page


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
