"""Which format an Accept asks for, and that a variant is made once however many ask for it."""

from __future__ import annotations

import asyncio
import io
from uuid import UUID

import pytest
from PIL import Image

from chipmunk import ids, variants
from chipmunk.ids import new_id
from chipmunk.variants import Variant
from compressor.parts import VARIANTS_AT_ONCE
from compressor.variants import MOST_WAITING, chosen
from tests import pictures
from tests.compressor.conftest import House, gif


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "avif"),
        ("image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5", "webp"),
        ("image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "webp"),
        ("*/*", "webp"),
        ("", "webp"),
        ("image/jpeg", "jpeg"),
        ("image/jpeg, image/webp;q=0.5", "jpeg"),
        ("image/*, image/webp;q=0", "jpeg"),
        ("image/avif;q=0, */*", "webp"),
        ("image/avif;q=0.1, image/webp", "webp"),
        ("IMAGE/AVIF ; q=1.000", "avif"),
        ("image/avif;q=zero,,;", "avif"),
        ("text/html", "webp"),
    ],
)
def test_the_format_is_what_the_client_asks_for(accept: str, format: str) -> None:
    assert chosen(accept) == format


async def a_variant(house: House, media: str, edits: str, format: str) -> str:
    """Where nginx would ask for it."""
    identifier = UUID(hex=media)
    async with house.database.transaction() as connection:
        made = await variants.put(connection, identifier, edits, format)
    return f"/-/made/{ids.folder(identifier)}/v{made.number}"


async def test_it_is_made_once_for_all_who_ask_meanwhile(house: House) -> None:
    media = (await house.stored(pictures.turned(8)))["id"]
    name, made = await a_variant(house, media, "resize.50.0", "auto"), 0
    edit = house.parts.decoders.edit

    async def counted(*given: object) -> None:
        nonlocal made
        made += 1
        await edit(*given)  # type: ignore[arg-type]

    house.parts.decoders.edit = counted  # type: ignore[method-assign]
    answers = await asyncio.gather(*(house.http.get(f"{name}.webp") for _ in range(8)), house.http.get(f"{name}.jpeg"))
    assert {a.status_code for a in answers} == {200}
    assert ({a.content for a in answers[:8]}, made) == ({answers[0].content}, 2)
    assert house.parts.making == {}
    again = await house.http.get(f"{name}.webp")
    assert (again.content, again.headers["etag"], made) == (answers[0].content, answers[0].headers["etag"], 3)
    assert house.files().count(f"{ids.folder(UUID(hex=media))}/0") == len(
        [f for f in house.files() if f.endswith("/0")]
    )


async def test_a_page_full_of_them_waits_its_turn_and_too_many_are_asked_to_come_again(house: House) -> None:
    media, edit, now, most = (await house.stored(pictures.turned(1)))["id"], house.parts.decoders.edit, 0, 0

    async def watched(*given: object) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await edit(*given)  # type: ignore[arg-type]
        now -= 1

    house.parts.decoders.edit = watched  # type: ignore[method-assign]
    names = [await a_variant(house, media, f"resize.{n}.0", "webp") for n in range(1, 33)]
    answers = await asyncio.gather(*(house.http.get(f"{name}.webp") for name in names))
    assert ({a.status_code for a in answers}, most) == ({200}, VARIANTS_AT_ONCE)
    waiting = {(new_id(), 1, "webp"): asyncio.current_task() for _ in range(MOST_WAITING)}
    house.parts.making.update(waiting)  # type: ignore[arg-type]
    refused = await house.http.get(f"{names[0]}.webp")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    house.parts.making.clear()


async def test_only_what_was_signed_is_made_and_what_cannot_be_says_why(house: House) -> None:
    media = (await house.stored(pictures.turned(1)))["id"]
    name = await a_variant(house, media, "flip.h", "webp")
    folder = ids.folder(UUID(hex=media))
    others = (f"/-/made/{folder}/v2.webp", f"/-/made/{folder}/v0.webp", f"/-/made/aa/bb/{media}/v1.webp")
    for path in (f"{name}.jpeg", f"{name}.exe", *others):
        assert (await house.http.get(path)).status_code == 404, path
    moving = await a_variant(house, (await house.stored(gif()))["id"], "flip.h", "webp")
    refused = await house.http.get(f"{moving}.webp")
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_edits")
    await house.run("update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now()")
    assert (await house.http.get(f"{name}.webp")).status_code == 404
    tags = [row[0] for row in await house.many("select tag from revocations where tag like 'variants:%'")]
    assert f"variants:{media}" in tags


async def test_one_with_a_stamp_is_made_while_that_is_there_and_kept_for_less_long(house: House) -> None:
    media = (await house.stored(pictures.turned(6)))["id"]
    mark = (await house.stored(pictures.saved(Image.new("RGB", (60, 30), pictures.BLUE), "PNG")))["id"]
    plain, name = [
        await a_variant(house, media, f"resize.100.0{more}", "webp") for more in ("", f"~stamp.c.50.100.{mark}")
    ]
    answer = await house.http.get(f"{name}.webp")
    image = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert (image.getpixel((50, 37)), image.size) == (pytest.approx(pictures.BLUE, abs=25), (100, 75))
    assert answer.headers["x-accel-expires"] == "600"
    assert (await house.http.get(f"{plain}.webp")).headers["x-accel-expires"] == "604800"
    assert (await house.http.get(f"{name}.webp")).content == answer.content
    await house.run("update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() "
                    "where id = $1", UUID(hex=mark))  # fmt: skip
    refused = await house.http.get(f"{name}.webp")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert (await house.http.get(f"{plain}.webp")).status_code == 200


async def test_a_stamp_that_goes_while_it_is_laid_over_lets_nothing_out(house: House) -> None:
    media, mark = [(await house.stored(pictures.turned(n)))["id"] for n in (1, 6)]
    name, edit = await a_variant(house, media, f"stamp.c.50.100.{mark}", "webp"), house.parts.decoders.edit

    async def meanwhile(*given: object) -> None:
        await edit(*given)  # type: ignore[arg-type]
        await house.run("update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() "
                        "where id = $1", UUID(hex=mark))  # fmt: skip

    house.parts.decoders.edit = meanwhile  # type: ignore[method-assign]
    assert (await house.http.get(f"{name}.webp")).status_code == 404


async def test_a_key_of_its_own_has_the_same_variant_and_its_neighbour_the_next(house: House) -> None:
    media = UUID(hex=(await house.stored())["id"])
    async with house.database.transaction() as connection:
        one = await variants.put(connection, media, "flip.h", "webp")
        two = await variants.put(connection, media, "flip.h", "avif")
        assert await variants.put(connection, media, "flip.h", "webp") == one
    assert (one, two) == (Variant(1, "flip.h", "webp"), Variant(2, "flip.h", "avif"))
