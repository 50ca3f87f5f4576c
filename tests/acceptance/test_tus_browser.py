"""Uppy, as it is shipped, in a real browser on a page of an allowed origin: by cookie and by token, with cuts."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browsing import Site, chromium, serving
from tests.client import App, media_folder, photo, sha256
from tests.harness import System, scratch
from tests.servers.cutting import NEVER, Cutter
from tests.servers.tus_js import Clients

PATH = "/v1/uploads/"


@pytest.fixture(scope="module")
def site(tus_clients: Clients) -> Iterator[Site]:
    """The app's page, which has Uppy."""
    page = '<!doctype html><title>app</title><script type="module" src="/uppy.js"></script>'
    files = {"/uppy.js": ("text/javascript", tus_clients.bundle()), "/": ("text/html", page)}
    with serving(lambda _, path: files.get(path, ("text/plain", ""))) as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> Iterator[App]:
    with scratch() as folder, System(folder / "data", origins=site.url) as system, App(system) as app:
        yield app


@pytest.fixture
def page(site: Site, app: App) -> Iterator[Any]:
    """The app's page, in a browser that nobody has logged in."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(site.url)
        page.wait_for_function("!!window.send")
        yield page


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
