"""The how-to page's own code uploads: its page with Uppy in a real browser, and its lines of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from solo.packages import PROJECT
from tests.browsing import Site, chromium, serving
from tests.client import App, photo
from tests.docs.howto import blocks, own_page
from tests.docs.pages import text
from tests.harness import System, scratch
from tests.servers.tus_js import Clients

NAME = "resumable-uploads.md"


def test_each_test_that_the_reference_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", text("tus")))
    there = {
        name
        for path in (PROJECT / "tests").rglob("test_tus*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= there


@pytest.fixture(scope="module")
def site(tus_clients: Clients) -> Iterator[Site]:
    with serving(own_page(NAME, "uploads.js", tus_clients.bundle)) as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> Iterator[App]:
    with scratch() as folder, System(folder / "data", origins=site.url) as system, App(system) as app:
        site.chipmunk = system.url
        yield app


@pytest.fixture
def page() -> Iterator[Any]:
    with chromium() as browser:
        yield browser.new_page()


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
