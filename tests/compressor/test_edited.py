"""Edits that become media: who may make one, of what, for whose quota, and that one that is refused leaves nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from chipmunk.ids import new_id
from tests import pictures
from tests.compressor.conftest import House, b64, gif, photo, working
from tests.compressor.test_placing import hurry, place, second, settle

JSON = {"content-type": "application/json"}
PHOTO = pictures.turned(6)  # 400 by 300 once it is upright


async def edit(
    house: House, media: str, edits: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    return await house.http.post(f"/v1/media/{media}/edits", json={"edits": edits, **fields}, headers=headers)


async def save(
    house: House, media: str, data: bytes, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"source_image_id_str": media, "image_base64_data_str": b64(data), **fields}
    return await house.http.post("/images/editor/save", json=body, headers=headers)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def bearing(house: House, user: str, *scopes: str) -> dict[str, str]:
    token = await (house.token(user, scopes) if scopes else house.token(user))
    return {"authorization": f"Bearer {token}"}


def original(house: House, media: str) -> Image.Image:
    return Image.open(io.BytesIO((house.folder(media) / "0").read_bytes()))


async def test_an_edit_is_a_media_of_the_source_s_owner_that_names_it(house: House) -> None:
    await house.flow("pets")
    source = await house.stored(PHOTO, filename="a.b.jpg")
    used = (await house.standing())[0]
    made = await edit(house, source["id"], "crop.0.0.300.300~flip.h", title="Half", flow=["pets"])
    assert made.status_code == 201, made.text
    found = made.json()
    assert made.headers["location"] == f"/v1/media/{found['id']}"
    told = {name: found[name] for name in ("owner", "source", "edits", "title", "filename", "mime", "width", "flows")}
    assert told == {
        "owner": "ann", "source": source["id"], "edits": "crop.0.0.300.300~flip.h", "title": "Half",
        "filename": "a.b.jpg", "mime": "image/jpeg", "width": 300, "flows": ["pets"],
    }  # fmt: skip
    assert (source["source"], source["edits"]) == (None, None)
    assert original(house, found["id"]).getpixel((290, 10)) == pytest.approx(pictures.RED, abs=10)
    async with working(house.parts):
        ready = await house.until("ready", found["id"])
        await house.until("ready", source["id"])
    assert (ready.source and ready.source.hex, ready.title, len(ready.rungs)) == (source["id"], "Half", 6)
    assert (await house.standing())[0] > used
    assert (await house.standing())[0] == house.bytes_on_disk()
    noted = await house.one("select action, media_id, actor from audit order by id desc limit 1")
    assert (noted[0], noted[1].hex, noted[2]) == ("media.uploaded", found["id"], "app")
    words = await house.one("select words::text from media where id = $1", ready.id)
    assert "half" in words[0]


async def test_the_same_edit_is_the_same_bytes(house: House) -> None:
    source = await house.stored(PHOTO)
    made = [(await edit(house, source["id"], "sepia.80~resize.100.0")).json()["sha256"] for _ in range(2)]
    assert made[0] == made[1] != source["sha256"]


def seal(colour: tuple[int, int, int] = pictures.BLUE) -> bytes:
    return pictures.saved(Image.new("RGB", (60, 30), colour), "PNG")


async def test_a_stamp_is_laid_over_it_and_is_needed_no_longer(house: House) -> None:
    source, mark = (await house.stored(PHOTO))["id"], (await house.stored(seal()))["id"]
    made = await edit(house, source, f"stamp.c.50.100.{mark}", await bearing(house, "ann"))
    assert made.status_code == 201, made.text
    assert made.json()["edits"] == f"stamp.c.50.100.{mark}"
    found = original(house, made.json()["id"])
    assert found.getpixel((200, 150)) == pytest.approx(pictures.BLUE, abs=10)
    assert found.getpixel((20, 20)) == pytest.approx(pictures.RED, abs=10)
    again = await edit(house, source, f"stamp.c.50.100.{mark}")
    assert again.json()["sha256"] == made.json()["sha256"]
    assert {path.name for path in house.folder(made.json()["id"]).iterdir()} == {"0", "1.webp", "2.webp", "3.webp"}


async def test_a_stamp_is_a_still_picture_of_the_same_owner(house: House) -> None:
    await house.user("bob")
    source, mark = (await house.stored(PHOTO))["id"], (await house.stored(seal()))["id"]
    await house.flow("shared")
    others = (await house.stored(seal(), user="bob", flow="shared"))["id"]
    await house.run("insert into flow_members (flow_id, user_id, role) select f.id, $1, 'viewer' from flows f "
                    "where f.name = 'shared'", house.keys["ann"])  # fmt: skip
    moving, music = (await house.stored(gif()))["id"], (await house.stored(pictures.mp3(), filename="a.mp3"))["id"]
    gone = (await house.stored(seal(pictures.GREEN)))["id"]
    await house.run("update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() "
                    "where id = $1", UUID(hex=gone))  # fmt: skip
    held = (await house.stored(seal(pictures.WHITE)))["id"]
    await house.run("update media set review = 'held' where id = $1", UUID(hex=held))
    before, mine = (house.files(), await house.standing()), await bearing(house, "ann")
    for media, expected in (
        (held, (404, "not_found")),
        (others, (404, "not_found")), (gone, (404, "not_found")), (new_id().hex, (404, "not_found")),
        (moving, (422, "bad_edits")), (music, (422, "bad_edits")),
    ):  # fmt: skip
        for headers in (None, mine):
            assert code(await edit(house, source, f"stamp.c.50.100.{media}", headers)) == expected, media
    assert code(await edit(house, others, f"stamp.c.50.100.{mark}")) == (404, "not_found"), "of the picture's owner"
    assert (house.files(), await house.standing()) == before


async def test_what_an_editor_made_is_kept_as_it_came(house: House) -> None:
    await house.flow("pets")
    source, mine = await house.stored(PHOTO, flow="pets"), pictures.saved(pictures.corners(50, 40), "PNG")
    said = {
        "new_title_str": "By hand", "source_flow_name_str": "pets", "target_flow_name_str": "pets",
        "applied_filters_lst": ["vintage", "grain"], "new_height_int": 1, "new_width_int": 1,
    }  # fmt: skip
    answer = await save(house, source["id"], mine, **said)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"image_id_str"}
    identifier = answer.json()["image_id_str"]
    assert (house.folder(identifier) / "0").read_bytes() == mine
    async with working(house.parts):
        found = await house.until("ready", identifier)
    assert (found.source and found.source.hex, found.edits, found.title) == (source["id"], None, "By hand")
    assert (found.meta, found.width, found.filename) == ({"applied_filters_lst": ["vintage", "grain"]}, 50, "image.png")
    other = await save(house, source["id"], mine, source_flow_name_str="general")
    assert code(other) == (422, "mismatch")


async def test_who_may(house: House) -> None:
    await house.user("bob")
    source = (await house.stored(PHOTO))["id"]
    mine, others, viewing = (
        await bearing(house, "ann"),
        await bearing(house, "bob"),
        await bearing(house, "ann", "view"),
    )
    for ask in (lambda h: edit(house, source, "flip.h", h), lambda h: save(house, source, PHOTO, h)):
        assert (await ask(mine)).status_code in (200, 201)
        assert code(await ask(others)) == (404, "not_found")
        assert code(await ask(viewing)) == (403, "scope_missing")
        assert code(await ask({"authorization": "Bearer cms_no"})) == (401, "unauthorized")
    await house.flow("closed")
    assert code(await edit(house, source, "flip.h", mine, flow="closed")) == (422, "unknown_flow")
    assert code(await save(house, source, PHOTO, mine, target_flow_name_str="closed")) == (422, "unknown_flow")
    assert (await edit(house, source, "flip.h", flow="closed")).status_code == 201
    await house.run("update users set suspended = true where name = 'ann'")
    assert code(await edit(house, source, "flip.h")) == (403, "forbidden")


async def test_what_is_refused_leaves_nothing(house: House) -> None:
    source = (await house.stored(PHOTO))["id"]
    moving, music = (await house.stored(gif()))["id"], (await house.stored(pictures.mp3(), filename="a.mp3"))["id"]
    before = house.files(), await house.standing()
    body = {"source_image_id_str": source, "image_base64_data_str": b64(PHOTO)}
    refused = [
        ((422, "bad_edits"), await edit(house, source, "warp.9")),
        ((422, "bad_edits"), await edit(house, source, "crop.0.0.401.300")),
        ((422, "too_many_pixels"), await edit(house, source, "resize.16000.16000")),
        ((422, "bad_edits"), await edit(house, moving, "flip.h")),
        ((422, "bad_edits"), await edit(house, music, "flip.h")),
        ((404, "not_found"), await edit(house, new_id().hex, "flip.h")),
        ((404, "not_found"), await edit(house, "x", "flip.h")),
        ((422, "unprocessable"), await edit(house, source, "flip.h", colour="red")),
        ((422, "unprocessable"), await edit(house, source, "flip.h", title="a\nb")),
        ((415, "unsupported_type"), await save(house, source, b"")),
        ((415, "unsupported_type"), await save(house, source, pictures.mp3())),
        ((422, "corrupt_image"), await save(house, source, PHOTO[:800])),
        ((400, "bad_request"), await house.http.post("/images/editor/save", json={**body, "image_base64_data_str": "!"})),
        ((422, "unprocessable"), await house.http.post("/images/editor/save", json={**body, "new_title_str": "a\0"})),
        ((400, "bad_request"), await house.http.post("/images/editor/save", content=b"{", headers=JSON)),
        ((415, "unsupported_type"), await house.http.post("/images/editor/save", content=json.dumps(body).encode())),
    ]  # fmt: skip
    for expected, answer in refused:
        assert code(answer) == expected, answer.text
    assert (house.files(), await house.standing()) == before


async def test_it_has_to_fit_into_the_quota(house: House) -> None:
    await house.user("cat", quota=150_000)
    source = await house.stored(PHOTO, user="cat")
    before = house.files(), await house.standing("cat")
    for answer in (
        await edit(house, source["id"], "resize.3000.0~noise.99.1"),
        await save(house, source["id"], photo(900, 900)),
    ):
        assert code(answer) == (413, "quota_exceeded")
    assert (house.files(), await house.standing("cat")) == before


async def test_a_repeat_under_a_key_is_made_once(house: House) -> None:
    source, key = (await house.stored(PHOTO))["id"], {"idempotency-key": "edit-1"}
    first, again = [await edit(house, source, "flip.h", key) for _ in range(2)]
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (201, first.content, "true")
    assert code(await edit(house, source, "flip.v", key)) == (422, "idempotency_key_reused")
    key = {"idempotency-key": "save-1"}
    first, again = [await save(house, source, PHOTO, key) for _ in range(2)]
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (200, first.content, "true")
    assert code(await save(house, source, PHOTO, key, new_title_str="Other")) == (422, "idempotency_key_reused")
    assert (await house.standing())[2] == 3


async def test_an_edit_of_what_lies_elsewhere_is_made_from_there_and_only_from_what_was_stored(
    house: House, tmp_path: Path
) -> None:
    key, store = await second(house, tmp_path)
    source = (await house.stored(PHOTO))["id"]
    here = (await edit(house, source, "flip.h")).json()["sha256"]
    async with working(house.parts):
        await house.until("ready", source)
    await place(house, source, {key: "primary"})
    await settle(house, source)
    await hurry(house)
    await settle(house, source)
    assert not (house.folder(source) / "0").exists()
    assert (await edit(house, source, "flip.h")).json()["sha256"] == here
    store.away = True
    assert code(await edit(house, source, "flip.h")) == (503, "unavailable")
    store.away = False
    (next(store.root.rglob("0"))).write_bytes(PHOTO[:-1] + b"x")
    assert code(await edit(house, source, "flip.h")) == (500, "lost")
