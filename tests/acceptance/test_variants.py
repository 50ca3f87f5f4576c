"""Variants through the real nginx: who sees them, in which format, what is kept of them and how that goes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
from PIL import Image

from gateway import kept
from tests import pictures
from tests.client import App, photo, problem
from tests.harness import System, until

CHROME = {"accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def owner(app: App) -> str:
    return app.user()


@pytest.fixture(scope="module")
def media(app: App, owner: str) -> str:
    return str(app.stored(owner, pictures.turned(6))["id"])


def made(app: App, media: str, edits: str, **fields: str) -> str:
    answer = app.http.post(f"/v1/media/{media}/variants", json={"edits": edits, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


def kept_of(app: App, media: str, name: str) -> Path:
    return kept.path(app.system.settings.cache_dir, UUID(hex=media), name)


def shown(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, (answer.status_code, answer.text[:300])
    return Image.open(io.BytesIO(answer.content))


def test_it_is_seen_by_whom_the_media_is_and_by_nobody_else(app: App, owner: str, media: str) -> None:
    answer = app.http.post(f"/v1/media/{media}/variants", json={"edits": "crop.0.0.300.300~flip.h"}).json()
    assert (answer["width"], answer["height"], answer["format"]) == (300, 300, "webp")
    url, viewer, stranger = answer["url"], app.viewer(owner), app.viewer(app.user())
    problem(app.anonymous().get(url), 401, "unauthorized")
    refused = stranger.get(url)
    problem(refused, 404, "not_found")
    assert refused.content == stranger.get(url.replace("flip.h", "flip.v")).content
    image = shown(viewer.get(url))
    assert (image.format, image.size) == ("WEBP", (300, 300))
    assert image.convert("RGB").getpixel((290, 10)) == pytest.approx(pictures.RED, abs=25)
    other = app.stored(owner, photo(seed=71))
    for forged in (
        url.replace("flip.h", "flip.v"),
        url[:-2] + ("A/" if url[-2] != "A" else "B/"),
        other["url"] + url.split("/", 2)[2],
    ):
        problem(viewer.get(forged), 404, "not_found")
    problem(viewer.post(url), 405, "method_not_allowed")
    assert viewer.get(other["url"] + "v/none/").status_code == 404


def test_it_has_what_rungs_have(app: App, owner: str, media: str) -> None:
    url, viewer = made(app, media, "resize.120.0"), app.viewer(owner)
    first = viewer.get(url)
    assert (first.status_code, first.headers["content-type"], first.headers["vary"]) == (200, "image/webp", "Accept")
    assert first.headers["cache-control"] == "private, max-age=0, must-revalidate"
    assert "sandbox" in first.headers["content-security-policy"]
    assert first.headers["x-content-type-options"] == "nosniff"
    part = viewer.get(url, headers={"range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, first.content[4:12])
    assert viewer.get(url, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    head = viewer.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(first.content)))
    until(kept_of(app, media, f"v{url.split('/v/')[1].split('.')[0]}.webp").exists, 2, "that it is kept")


def test_each_client_gets_the_format_that_it_asks_for_where_the_app_allows(app: App, owner: str, media: str) -> None:
    url, viewer = made(app, media, "resize.90.0", format="auto"), app.viewer(owner)
    for accept, kind in (
        (CHROME["accept"], "AVIF"),
        ("*/*", "WEBP"),
        ("image/jpeg", "JPEG"),
        (CHROME["accept"], "AVIF"),
    ):
        answer = viewer.get(url, headers={"accept": accept})
        assert (shown(answer).format, answer.headers["content-type"]) == (kind, f"image/{kind.lower()}")
        assert shown(answer).size == (90, 68)
    assert shown(viewer.get(made(app, media, "resize.90.0"), headers=CHROME)).format == "WEBP"
    assert shown(viewer.get(made(app, media, "resize.90.0", format="jpeg"), headers=CHROME)).format == "JPEG"


def test_a_link_without_the_original_shows_what_was_signed_and_no_more(app: App, media: str) -> None:
    link = app.http.post(f"/v1/media/{media}/links", json={"audience": "anyone"}).json()
    nobody, url = app.anonymous(), link["url"] + "v/" + made(app, media, "resize.60.0").split("/v/")[1]
    assert shown(nobody.get(url)).size == (60, 45)
    assert nobody.get(link["url"] + "0/").status_code == 404
    assert app.http.delete(f"/v1/links/{link['id']}").status_code == 204
    until(lambda: nobody.get(url).status_code == 401, 2, "the link's end")


@pytest.mark.parametrize("how", ["delete", "trash", "user"])
def test_it_goes_with_its_media_within_two_seconds(app: App, how: str) -> None:
    user = app.user()
    media = app.stored(user, photo(seed=72))
    url, viewer = made(app, media["id"], "resize.70.0~sepia.9", format="auto"), app.http
    for accept in ("image/avif", "image/webp"):
        assert viewer.get(url, headers={"accept": accept}).status_code == 200
    files = [kept_of(app, media["id"], f"v1.{format}") for format in ("avif", "webp")]
    until(lambda: all(file.exists() for file in files), 2, "that they are kept")
    match how:
        case "delete":
            app.http.delete(f"/v1/media/{media['id']}")
        case "trash":
            app.http.post(f"/v1/media/{media['id']}/trash")
        case _:
            app.http.delete(f"/v1/users/{user}")
    until(lambda: viewer.get(url).status_code == 404, 2, "that it is refused")
    until(lambda: not any(file.exists() for file in files), 2, "that nothing is kept of it")
    if how == "trash":
        app.http.post(f"/v1/media/{media['id']}/restore")
        until(lambda: viewer.get(url).status_code == 200, 2, "that it is back")


def test_one_that_is_deleted_is_refused_within_two_seconds_and_its_address_shows_nothing_ever_after(app: App) -> None:
    owner = app.user()
    media = app.stored(owner, photo(seed=75))["id"]
    path, viewer = f"/v1/media/{media}/variants", app.viewer(owner)
    first, second = (made(app, media, edits) for edits in ("resize.50.0", "resize.51.0"))
    other = app.http.post(f"/v1/media/{media}/links", json={"audience": "anyone"}).json()["url"]
    for url in (first, second):
        assert shown(viewer.get(url)).size[0] in (50, 51)
    listed = viewer.get(path).json()["items"]
    assert [(v["number"], v["url"], v["edits"], v["width"]) for v in listed] == [
        (1, first, "resize.50.0", 50), (2, second, "resize.51.0", 51),
    ]  # fmt: skip
    kept_files = [kept_of(app, media, f"v{n}.webp") for n in (1, 2)]
    until(lambda: all(file.exists() for file in kept_files), 2, "that they are kept")
    problem(app.viewer(app.user()).delete(f"{path}/1"), 404, "not_found")
    assert viewer.delete(f"{path}/1").status_code == 204
    for number in ("1", "3", "0", "01", "999", "1000", "x", "-1"):
        problem(viewer.delete(f"{path}/{number}"), 404, "not_found")
    until(lambda: viewer.get(first).status_code == 404, 2, "that it is refused")
    until(lambda: not kept_files[0].exists(), 2, "that nothing is kept of it")
    again = app.http.post(path, json={"edits": "resize.50.0"}).json()
    third = made(app, media, "flip.h")
    assert again["number"] == 3
    assert shown(viewer.get(again["url"])).size == (50, 38)
    for url in (first, other + "v/" + first.split("/v/")[1]):
        assert viewer.get(url).status_code == 404
    assert shown(viewer.get(second)).size == (51, 38)
    assert shown(viewer.get(third)).size == (640, 480)
    assert [v["number"] for v in viewer.get(path).json()["items"]] == [2, 3, 4]


def test_there_are_so_many_and_no_more_and_they_cost_no_quota(app: App) -> None:
    user = app.user()
    media = app.stored(user, photo(seed=73))["id"]
    before = app.standing(user)
    urls = [made(app, media, f"brightness.{n}") for n in range(1, 65)]
    problem(app.http.post(f"/v1/media/{media}/variants", json={"edits": "brightness.65"}), 409, "conflict")
    assert made(app, media, "brightness.3") == urls[2]
    assert app.http.delete(f"/v1/media/{media}/variants/5").status_code == 204
    assert "/v/65.webp." in made(app, media, "brightness.65")
    problem(app.http.post(f"/v1/media/{media}/variants", json={"edits": "brightness.66"}), 409, "conflict")
    assert app.http.get(urls[63]).status_code == 200
    assert app.standing(user) == before


@pytest.mark.parametrize(
    ("edits", "code"),
    [
        ("warp.1", "bad_edits"),
        ("crop.0.0.401.1", "bad_edits"),
        ("resize.8000.0", "bad_edits"),
        ("resize.16000.0", "too_many_pixels"),
    ],
)
def test_what_cannot_be_made_is_refused_before_it_has_an_address(app: App, media: str, edits: str, code: str) -> None:
    problem(app.http.post(f"/v1/media/{media}/variants", json={"edits": edits}), 422, code)


def test_a_stamp_is_the_owner_s_own_and_what_has_it_goes_with_it(app: App, owner: str, media: str) -> None:
    """At once where nginx has nothing of it yet."""
    blue = pictures.saved(Image.new("RGB", (60, 30), pictures.BLUE), "PNG")
    mark, others = app.stored(owner, blue)["id"], app.stored(app.user(), blue)["id"]
    moving = app.stored(owner, pictures.animation("GIF"))["id"]
    for stamp, status, code in ((others, 404, "not_found"), ("0" * 32, 404, "not_found"), (moving, 422, "bad_edits")):
        refused = app.http.post(f"/v1/media/{media}/variants", json={"edits": f"stamp.c.50.100.{stamp}"})
        problem(refused, status, code)
    seen, unseen = made(app, media, f"stamp.c.50.100.{mark}"), made(app, media, f"stamp.c.50.100.{mark}~flip.h")
    image = shown(app.viewer(owner).get(seen)).convert("RGB")
    assert image.getpixel((200, 150)) == pytest.approx(pictures.BLUE, abs=25)
    assert app.http.delete(f"/v1/media/{mark}").status_code in (200, 202, 204)
    problem(app.viewer(owner).get(unseen), 404, "not_found")


def test_what_shows_only_when_it_is_made_is_said_to_those_who_may_see_it(app: App) -> None:
    media = app.stored(app.user(), pictures.animation("GIF"))
    url = made(app, media["id"], "flip.h")
    problem(app.http.get(url), 422, "bad_edits")
    problem(app.anonymous().get(url), 401, "unauthorized")


def test_it_is_made_of_what_nginx_is_told_lies_elsewhere(app: App) -> None:
    """The backend is named though it is the local one: nginx looks for nothing on its disk then."""
    media = app.stored(app.user(), photo(400, 300, seed=74))

    async def say_so() -> None:
        connection = await asyncpg.connect(app.system.settings.database_url)
        await connection.execute("update media set home = 1 where id = $1", UUID(hex=media["id"]))
        await connection.close()

    asyncio.run(say_so())
    url = made(app, media["id"], "resize.100.0")
    assert shown(app.http.get(url)).size == (100, 75)
    until(kept_of(app, media["id"], "v1.webp").exists, 2, "that it is kept")
