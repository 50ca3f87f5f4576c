"""The main job, as the front page shows it: upload, view at every quality, refuse everyone else, delete every byte."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from tests.client import App, disk_bytes, fresh, media_folder, photo
from tests.harness import System, until

SIDES = (10, 40, 160, 320, 640, 1080)


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def size(answer: httpx.Response) -> tuple[str, int, int]:
    image = Image.open(io.BytesIO(answer.content))
    return image.format or "", *image.size


def test_a_photo_is_seen_at_all_seven_qualities_by_its_owner_alone(app: App) -> None:
    owner, other = app.user(), app.user()
    data = photo(2725, 2225)
    media = app.stored(owner, data)
    ada, bob, nobody = app.viewer(owner), app.viewer(other), app.anonymous()
    original = ada.get(f"{media['url']}0/")
    assert (original.content, original.headers["content-type"]) == (data, "image/jpeg")
    expected = [(10, 8), (40, 33), (160, 131), (320, 261), (640, 523), (1080, 882)]
    for quality, (width, height) in enumerate(expected, 1):
        answer = ada.get(f"{media['url']}{quality}/")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        kind, w, h = size(answer)
        assert (kind, w) == ("WEBP", width)
        assert abs(h - height) <= 1
        assert {"quality": quality, "width": w, "height": h, "bytes": len(answer.content)} in media["rungs"]
    for quality in range(7):
        assert bob.get(f"{media['url']}{quality}/").status_code == 404
        assert nobody.get(f"{media['url']}{quality}/").status_code == 401


def test_a_square_flow_makes_squares(app: App) -> None:
    flow, user = fresh("avatars"), app.user()
    assert app.http.put(f"/v1/flows/{flow}", json={"square": True, "posting": "users"}).status_code in (200, 201)
    media = app.stored(user, photo(1600, 1200), flow=flow)
    ada = app.viewer(user)
    for quality, side in enumerate(SIDES, 1):
        assert size(ada.get(f"{media['url']}{quality}/")) == ("WEBP", side, side)


def test_a_small_picture_stands_at_every_rung_and_is_never_enlarged(app: App) -> None:
    user = app.user()
    media = app.stored(user, photo(100, 50))
    ada = app.viewer(user)
    sizes = [size(ada.get(f"{media['url']}{q}/"))[1:] for q in range(1, 7)]
    assert sizes == [(10, 5), (40, 20), (100, 50), (100, 50), (100, 50), (100, 50)]


def test_what_is_charged_is_what_lies_on_disk_and_deleting_gives_all_of_it_back(app: App) -> None:
    user = app.user()
    medias = [app.stored(user, photo(800, 600, seed))["id"] for seed in range(3)]
    standing = app.standing(user)
    assert standing["used_bytes"] == disk_bytes(app.system, medias)
    assert (standing["reserved_bytes"], standing["media_count"]) == (0, 3)
    for media in medias:
        assert app.http.delete(f"/v1/media/{media}").status_code == 204
        assert not media_folder(app.system, media).exists()
        assert app.http.get(f"/v1/media/{media}").status_code == 404
    standing = app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"], standing["media_count"]) == (0, 0, 0)


def test_a_deleted_user_takes_everything_along_and_the_name_inherits_nothing(app: App) -> None:
    user = app.user()
    media = app.stored(user)
    viewer = app.viewer(user)
    answer = app.http.delete(f"/v1/users/{user}")
    assert answer.status_code == 202
    assert viewer.get(f"{media['url']}3/").status_code in (401, 404)
    assert app.http.put(f"/v1/users/{user}", json={}).status_code == 201
    assert app.standing(user)["used_bytes"] == 0
    job = answer.json()["job"]
    until(lambda: app.http.get(f"/v1/jobs/{job}").json()["state"] == "completed", 20, "the purge")
    assert not media_folder(app.system, media["id"]).exists()
    assert app.viewer(user).get(f"{media['url']}3/").status_code == 404
    assert app.http.get("/v1/media", params={"user": user}).json()["items"] == []
