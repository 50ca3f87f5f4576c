"""The how-to page's own commands share a picture; and its page opens in a real browser that runs no script."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browsing import Site, chromium, serving
from tests.client import App, photo
from tests.docs.howto import blocks
from tests.harness import System, until

PASSWORD = "blue heron"


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def media(app: App) -> dict[str, Any]:
    return app.stored(app.user(), photo(seed=41), filename="heron.jpg")


def run(app: App, folder: Path, block: str) -> str:
    """What these lines print, which come after the page's first block."""
    given = {**os.environ, "URL": app.system.url, "KEY": app.system.api_key}
    first = "\n".join(line for line in blocks("share.md", "sh")[0].splitlines() if line.startswith("MEDIA"))
    kept = "".join(f"{name}=$(cat {name})\n" for name in ("PAGE", "OPEN", "VIEW") if (folder / name).exists())
    keep = "".join(f'echo -n "${{{name}:-}}" > {name}\n' for name in ("PAGE", "OPEN", "VIEW"))
    script = f"set -euo pipefail\n{first}\n{kept}{block}\n{keep}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=given, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    return done.stdout


def test_the_commands_share_open_and_end(app: App, media: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "media.json").write_text(json.dumps(media))
    send, fetch, end = blocks("share.md", "sh")[1:]
    link = json.loads(run(app, tmp_path, send))
    assert (link["password"], link["max_views"], link["views"]) == (True, 20, 0)
    assert app.anonymous().get((tmp_path / "PAGE").read_text()).status_code == 200
    assert set(json.loads(run(app, tmp_path, fetch))) == {"url", "expires_at"}
    assert (tmp_path / "picture.webp").read_bytes()[8:12] == b"WEBP"
    assert json.loads(run(app, tmp_path, end))["items"][0]["views"] == 1
    assert app.anonymous().get(link["page"]).status_code == 404


def made(app: App, media: dict[str, Any], **fields: object) -> dict[str, Any]:
    answer = app.http.post(f"/v1/media/{media['id']}/links", json={"audience": "anyone", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture
def page(app: App) -> Iterator[Any]:
    """A person's browser."""
    with chromium() as browser:
        yield browser.new_context(java_script_enabled=False).new_page()


def is_shown(page: Any) -> bool:
    """Whether the one picture of the page has come: without script its size says so."""
    box = page.locator("img").bounding_box()
    return bool(box and box["width"] > 300 and box["height"] > 200)


def test_a_page_works_in_a_browser_without_script(app: App, media: dict[str, Any], page: Any) -> None:
    page.goto(app.system.url + made(app, media)["page"])
    until(lambda: is_shown(page), 5, "the picture of a plain link")
    link = made(app, media, password=PASSWORD, max_views=3, original=True)
    page.goto(app.system.url + link["page"])
    assert page.locator("img").count() == 0
    page.fill("input", "red heron")
    page.click("button")
    assert "not the password" in page.locator("main").text_content()
    page.fill("input", PASSWORD)
    page.click("button")
    assert page.url == app.system.url + link["page"]
    until(lambda: is_shown(page), 5, "the picture of a link that was opened")
    page.reload()
    until(lambda: is_shown(page), 5, "the picture once more")
    with page.expect_download() as download:
        page.click("a[download]")
    assert download.value.suggested_filename == "heron.jpg"
    found = app.http.get(f"/v1/media/{media['id']}/links").json()["items"]
    assert [one["views"] for one in found if one["id"] == link["id"]] == [1]


def test_another_site_s_form_opens_nothing(app: App, media: dict[str, Any], page: Any) -> None:
    link = made(app, media, max_views=3)

    def form(site: Site, path: str) -> tuple[str, str]:
        return (
            "text/html",
            f'<form method="post" action="{site.chipmunk}/v1/links{link["url"]}open"><button>Go</button></form>',
        )

    with serving(form) as site:
        site.chipmunk = app.system.url
        page.goto(site.url)
        page.click("button")
        assert "cross_site" in page.content()
    assert httpx.get(app.system.url + link["page"]).text.count("<form") == 1
    assert app.http.get(f"/v1/media/{media['id']}/links").json()["items"][0]["views"] == 0
