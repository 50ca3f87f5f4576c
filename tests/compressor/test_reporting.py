"""What browsers say of images' colours is checked, and who says what is not so is not listened to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from chipmunk import reports
from tests.compressor.conftest import House, photo, working

WRONG = {"c": "#00ff00", "p": ["#ff00ff", "#00ffff"]}


def said(one: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"i": one["id"], "c": one["dominant_colour"], "p": one["palette"][1:], "st": 1.5, "et": 2, **more}


async def tell(house: House, results: list[dict[str, Any]], token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await house.http.post("/v1/images/c", json={"jr": results}, headers=headers)


async def counted(house: House, client: str) -> tuple[int, int]:
    found = await house.parts.redis.hmget(f"chipmunk:reports:{house.app_id}:{client}", "checked", "lies")
    return int(found[0] or 0), int(found[1] or 0)


async def test_a_user_that_lies_is_cut_off_and_nobody_else(house: House) -> None:
    await house.user("bob")
    ann, bob = await house.token("ann"), await house.token("bob")
    stored = [await house.stored(photo(seed=n)) for n in range(reports.LIES)]
    others = await house.stored(photo(seed=20), user="bob")
    me, them = f"user:{house.keys['ann']}", f"user:{house.keys['bob']}"
    await house.parts.redis.delete(*(f"chipmunk:reports:{house.app_id}:{one}" for one in (me, them)))
    honest = await tell(house, [said(one) for one in stored], ann)
    assert (honest.status_code, honest.json()) == (200, {})
    assert await counted(house, me) == (5, 0)
    assert (await tell(house, [said(others, **WRONG), said(stored[0], i="none", **WRONG)], ann)).status_code == 200
    assert await counted(house, me) == (5, 0), "what somebody may not see is no lie, and no other answer"
    assert (await tell(house, [said(one, **WRONG) for one in stored], ann)).json() == {}
    assert await counted(house, me) == (10, 5)
    refused = await tell(house, [said(stored[0], f="another browser")], ann)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 0 < int(refused.headers["retry-after"]) <= reports.SECONDS
    assert await counted(house, me) == (10, 5)
    assert (await tell(house, [said(others)], bob)).status_code == 200
    assert await counted(house, them) == (1, 0)


async def test_of_an_app_each_browser_counts_for_itself(house: House) -> None:
    one = await house.stored(photo())
    names = ("liar", "honest")
    await house.parts.redis.delete(*(f"chipmunk:reports:{house.app_id}:browser:{name}" for name in names))
    for n in range(reports.LIES):
        mixed = [said(one, f="liar", **WRONG), said(one, f="honest")]
        assert (await tell(house, mixed)).status_code == 200
        assert await counted(house, "browser:liar") == (n + 1, n + 1)
    assert (await tell(house, [said(one, f="liar"), said(one, f="honest")])).status_code == 200
    assert await counted(house, "browser:liar") == (5, 5)
    assert await counted(house, "browser:honest") == (6, 0)
    assert (await tell(house, [said(one, f="liar")])).status_code == 429


async def test_where_no_colours_are_known_our_own_rendition_is_looked_at_and_what_it_has_is_kept(house: House) -> None:
    before = await house.stored(photo(seed=3))
    async with working(house.parts):
        found = await house.until("ready", before["id"])
    phash = (await house.one("select phash from media_hashes where media_id = $1", found.id))[0]
    await house.run("update media set palette = null, phash = null")
    await house.run("delete from media_hashes")
    await house.parts.redis.delete(f"chipmunk:reports:{house.app_id}:browser:b")
    assert (await tell(house, [said(before, f="b", **WRONG)])).status_code == 200
    assert await counted(house, "browser:b") == (1, 1)
    row = await house.one("select m.palette, h.phash from media m join media_hashes h on h.media_id = m.id")
    assert reports.agrees(found.palette or [], row[0][0], row[0])
    assert ((row[1] ^ phash) & (2**64 - 1)).bit_count() <= 4
    assert (await tell(house, [said(before, f="b")])).status_code == 200
    assert await counted(house, "browser:b") == (2, 1)


async def test_a_rendition_that_is_not_here_leaves_what_is_said_unchecked(house: House) -> None:
    one = await house.stored(photo(seed=4))
    await house.run("update media set palette = null where id = $1", UUID(hex=one["id"]))
    (house.folder(one["id"]) / "3.webp").unlink()
    assert (await tell(house, [said(one, f="c", **WRONG)])).json() == {}
    assert await counted(house, "browser:c") == (0, 0)
    assert (await house.one("select palette from media"))[0] is None


async def test_what_is_malformed_is_refused(house: House) -> None:
    for wrong in ({"c": "green"}, {"p": ["#12345"]}, {"f": ""}, {"more": 1}):
        one = {"i": "0" * 32, "c": "#102030", "p": [], **wrong}
        assert (await tell(house, [one])).status_code == 422
    assert (await tell(house, [])).json() == {}
