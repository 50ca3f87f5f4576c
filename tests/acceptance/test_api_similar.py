"""Media that look alike, asked for by those who may."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image, ImageEnhance

from tests.client import App, fresh, photo
from tests.harness import System
from tests.pictures import saved


@pytest.fixture
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def variants(seed: int) -> dict[str, bytes]:
    image = Image.open(io.BytesIO(photo(seed=seed, quality=92))).convert("RGB")
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    return {
        "quality 50": saved(image, "JPEG", quality=50),
        "half": saved(half, "PNG"),
        "brighter": saved(ImageEnhance.Brightness(image).enhance(1.1), "WEBP", quality=80),
    }


def test_a_photograph_sent_again_is_found_and_others_are_not(app: App) -> None:
    ann, bob = app.user(), app.user()
    flow = fresh("flow")
    app.http.put(f"/v1/flows/{flow}", json={})
    app.http.put(f"/v1/flows/{flow}/members/{bob}", json={"role": "admin"})
    seed = 77_001
    first = app.stored(ann, photo(seed=seed, quality=92), flow=flow)
    again = {app.stored(ann, data, filename=f"{how}.jpg")["id"] for how, data in variants(seed).items()}
    for n in range(3):
        app.stored(ann, photo(seed=seed + 1 + n))
    theirs = app.stored(bob, photo(seed=seed, quality=70))
    path = f"/v1/media/{first['id']}/similar"
    mine = app.viewer(ann).get(path).json()
    assert mine["next"] is None
    assert {one["media"]["id"] for one in mine["items"]} == again
    assert [one["distance"] for one in mine["items"]] == sorted(one["distance"] for one in mine["items"])
    assert all("sha256" in one["media"] and one["distance"] <= 7 for one in mine["items"])
    every = app.http.get(path).json()["items"]
    assert {one["media"]["id"] for one in every} == again | {theirs["id"]}
    assert [
        one["media"]["id"] for one in app.viewer(bob).get(f"/v1/media/{theirs['id']}/similar").json()["items"]
    ] == []
    assert app.viewer(bob).get(path).status_code == 403
    assert app.viewer(app.user()).get(path).status_code == 404
    assert len(app.http.get(path, params={"limit": 2}).json()["items"]) == 2
    gone = again.pop()
    assert app.http.post(f"/v1/media/{gone}/trash").status_code == 200
    assert {one["media"]["id"] for one in app.viewer(ann).get(path).json()["items"]} == again
    assert app.http.get(f"/v1/media/{gone}/similar").status_code == 409


def test_what_has_nothing_to_tell_it_by_has_nothing_like_it(app: App) -> None:
    user, white = app.user(), saved(Image.new("RGB", (90, 90), "white"), "PNG")
    first = app.stored(user, white)
    app.stored(user, white, filename="again.png")
    path = f"/v1/media/{first['id']}/similar"
    assert app.http.get(path, params={"distance": 11}).json() == {"items": [], "next": None}
    for wrong in ("12", "-1", "x", "7.0"):
        assert app.http.get(path, params={"distance": wrong}).status_code == 400
