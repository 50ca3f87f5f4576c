"""A video from its upload to a browser that jumps about in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests import films
from tests.browsing import Site, chromium, serving
from tests.client import App, leaves_nothing, problem
from tests.harness import System

SCENES = films.stretch((films.plain(films.BLACK), 1), (films.scene(), 3))


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.mark.parametrize(("kind", "mime"), [("mp4", "video/mp4"), ("webm", "video/webm"), ("mov", "video/quicktime")])
def test_a_video_has_rungs_and_is_served_in_place_with_ranges(app: App, kind: str, mime: str) -> None:
    user, data = app.user(), films.video(SCENES, kind)
    media = app.stored(user, data, filename=f"a.{kind}")
    assert (media["kind"], media["mime"], media["width"], media["height"]) == ("video", mime, 320, 240)
    assert media["motion"]["duration_seconds"] == 4
    assert [r["quality"] for r in media["rungs"]] == [1, 2, 3, 4, 5, 6]
    viewer, url = app.viewer(user), f"{media['url']}0/"
    assert viewer.get(f"{media['url']}6/").headers["content-type"] == "image/webp"
    whole = viewer.get(url)
    assert (whole.content, whole.headers["content-type"]) == (data, mime)
    assert whole.headers["content-disposition"] == f"inline; filename*=UTF-8''a.{kind}"
    assert (whole.headers["accept-ranges"], whole.headers["x-content-type-options"]) == ("bytes", "nosniff")
    for asked, start, end in (("0-", 0, len(data)), ("1000-1099", 1000, 1100), ("-50", len(data) - 50, len(data))):
        part = viewer.get(url, headers={"Range": f"bytes={asked}", "If-Range": whole.headers["etag"]})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
    assert app.anonymous().get(url, headers={"Range": "bytes=0-9"}).status_code == 401


def test_a_broken_video_is_refused_and_leaves_nothing(app: App) -> None:
    user = app.user()
    with leaves_nothing(app, user):
        problem(app.upload(user, films.video(SCENES)[:3000]), 422, "corrupt_image")
        problem(app.upload(user, films.video(SCENES[:3], "matroska", codec="ffv1")), 415, "unsupported_type")


def page(_: Site, path: str) -> tuple[str, str]:
    return "text/html", f'<!doctype html><title>app</title><video muted src="{path.partition("?")[2]}"></video>'


def test_a_browser_plays_it_and_jumps_to_where_it_has_not_been(app: App) -> None:
    user = app.user()
    media = app.stored(user, films.video(films.stretch((films.scene(), 30)), "webm", options={"g": "10"}))
    with chromium() as browser, serving(page) as site:
        tab: Any = browser.new_page()
        tab.goto(f"{app.session(user)['enter_url']}?next={media['url']}6/")
        tab.goto(f"{site.url}/?{app.system.url}{media['url']}0/")
        tab.wait_for_function("document.querySelector('video').readyState >= 2")
        size = "(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))"
        assert tab.evaluate(size) == [320, 240, 30]
        assert tab.evaluate(
            """new Promise(done => {
                const video = document.querySelector('video')
                video.onseeked = () => done(video.currentTime)
                video.currentTime = 25.5
            })"""
        ) == pytest.approx(25.5)


def test_nothing_is_loaded_for_videos_before_one_comes() -> None:
    loaded = "import sys, compressor.tasks, compressor.app; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0
