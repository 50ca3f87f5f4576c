"""The trash: out of sight at once, whole again on request, and purged when its time is over; each counted once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chipmunk import audit, flows, library, links, listing, media, reading, trash, users
from chipmunk.audit import SYSTEM, Actor
from chipmunk.errors import Conflict, Forbidden, NotFound
from chipmunk.media import Media
from compressor.sweep import Sweeper
from tests.compressor.conftest import House, photo, working

MONTH = timedelta(days=30)


async def trashed(house: House, identifier: str, caller: int | None = None) -> Media:
    async with house.database.transaction() as connection:
        return await trash.put(connection, house.app_id, UUID(hex=identifier), caller, MONTH, SYSTEM)


async def restored(house: House, identifier: str, caller: int | None = None) -> Media:
    async with house.database.transaction() as connection:
        return await trash.restore(connection, house.app_id, UUID(hex=identifier), caller, SYSTEM)


async def counted(house: House) -> dict[str, int]:
    async with house.database.connection() as connection:
        return {held.flow: held.media for held in await library.counts(connection, house.app_id, None)}


async def actions(house: House, identifier: str) -> list[tuple[str, str]]:
    async with house.database.connection() as connection:
        rows = await audit.page(connection, house.app_id, media=UUID(hex=identifier), limit=100)
    return [(row.action, row.actor) for row in reversed(rows)]


async def gone(house: House, identifier: str) -> None:
    async with asyncio.timeout(20):
        while (await house.one("select count(*) from media where id = $1", UUID(hex=identifier)))[0]:
            await asyncio.sleep(0.05)


async def everywhere(house: House, one: dict[str, Any]) -> set[str]:
    """Where the owner, a member, the app, anybody or a worker that reads for a view come upon it."""
    identifier, ann, bob = UUID(hex=one["id"]), house.keys["ann"], house.keys["bob"]
    found = set()
    async with house.database.connection() as connection:
        flow = await flows.get(connection, house.app_id, "trips")
        token = await connection.fetchval("select token from links where media_id = $1", identifier)
        for who, viewer in (("app", None), ("owner", ann), ("member", bob)):
            for where, place in (("list", {}), ("user", {"owner": ann}), ("flow", {"flow": flow.key})):
                page = await listing.page(connection, house.app_id, viewer, **place)
                found |= {f"{who}: {where}"} if identifier in {m.id for m in page} else set()
            try:
                await media.get(connection, house.app_id, identifier, viewer)
                found.add(f"{who}: get")
            except NotFound:
                pass
            names = await library.tokens_by_name(
                connection, house.app_id, flow.key, viewer, [one["filename"]], public=False
            )
            found |= {f"{who}: name"} if names else set()
            origins = await library.of_origins(connection, house.app_id, viewer, None, ["http://x/a.jpg"])
            found |= {f"{who}: origin"} if origins else set()
        if await library.tokens_by_name(connection, house.app_id, flow.key, None, [one["filename"]], public=True):
            found.add("anyone: name")
        found |= {"anyone: page"} if await listing.public_page(connection, flow.key, None, 10) else set()
        found |= {"a link"} if await links.grants(connection, [token]) else set()
        found |= {"read"} if await reading.find(connection, identifier) else set()
        found |= {"live"} if await reading.is_live(connection, identifier) else set()
    return found


ALL = {
    *(f"{who}: {where}" for who in ("app", "owner", "member") for where in ("list", "user", "flow", "get", "name")),
    *("app: origin", "owner: origin", "anyone: name", "anyone: page", "a link", "read", "live"),
}  # fmt: skip


async def test_what_is_in_the_trash_is_nowhere_but_there_and_back_everywhere_once_restored(house: House) -> None:
    await house.user("bob")
    await house.flow("trips", visibility="public")
    one = await house.stored(flow="trips", filename="a.jpg")
    await house.run("""update media set origin = '{"url": "http://x/a.jpg"}'""")
    async with house.database.transaction() as connection:
        flow = await flows.get(connection, house.app_id, "trips")
        await flows.put_member(connection, flow, house.keys["bob"], "viewer")
    assert await everywhere(house, one) == ALL
    put = await trashed(house, one["id"])
    assert put.trashed_at is not None
    assert put.purge_at == put.trashed_at + MONTH
    assert await everywhere(house, one) == set()
    async with house.database.connection() as connection:
        there = await trash.page(connection, house.app_id, None, None, 10)
        theirs = await trash.page(connection, house.app_id, house.keys["ann"], None, 10)
        assert [m.id.hex for m in there] == [m.id.hex for m in theirs] == [one["id"]]
        assert await trash.page(connection, house.app_id, house.keys["bob"], None, 10) == []
        assert await trash.page(connection, house.app_id + 1, None, None, 10) == []
        assert (await media.kept(connection, house.app_id, put.id, house.keys["ann"])).trashed_at is not None
        with pytest.raises(NotFound):
            await media.kept(connection, house.app_id, put.id, house.keys["bob"])
        with pytest.raises(NotFound):
            await media.kept(connection, house.app_id + 1, put.id, None)
    back = await restored(house, one["id"])
    assert (back.trashed_at, back.purge_at, back.state) == (None, None, put.state)
    assert await everywhere(house, one) == ALL


async def test_trashed_or_restored_twice_is_done_once(house: House) -> None:
    one = await house.stored()
    assert (await restored(house, one["id"])).trashed_at is None
    first = await trashed(house, one["id"])
    again = await trashed(house, one["id"])
    assert (first.trashed_at, first.purge_at) == (again.trashed_at, again.purge_at)
    await restored(house, one["id"])
    assert (await restored(house, one["id"])).trashed_at is None
    done = ["media.uploaded", "media.trashed", "media.restored"]
    assert [action for action, _ in await actions(house, one["id"])] == done


async def test_only_the_app_and_the_owner_trash_restore_and_see_what_is_there(house: House) -> None:
    await house.user("bob")
    await house.user("eve")
    await house.flow("trips")
    one = await house.stored(flow="trips")
    async with house.database.transaction() as connection:
        flow = await flows.get(connection, house.app_id, "trips")
        await flows.put_member(connection, flow, house.keys["bob"], "admin")
    for name, refused in (("bob", Forbidden), ("eve", NotFound)):
        with pytest.raises(refused):
            await trashed(house, one["id"], house.keys[name])
        with pytest.raises(refused):
            await restored(house, one["id"], house.keys[name])
    await trashed(house, one["id"], house.keys["ann"])
    for name in ("bob", "eve"):
        for act in (trashed, restored):
            with pytest.raises(NotFound):
                await act(house, one["id"], house.keys[name])
    assert (await restored(house, one["id"], house.keys["ann"])).trashed_at is None
    with pytest.raises(NotFound):
        await trashed(house, "0" * 32)


async def test_its_bytes_count_until_it_is_purged_and_its_flows_count_it_only_while_it_is_live(house: House) -> None:
    await house.flow("trips")
    one = await house.stored(photo(seed=1), flow="trips")
    async with house.database.transaction() as connection:
        general = await flows.get(connection, house.app_id, "general")
        await flows.put_media(connection, general, UUID(hex=one["id"]))
    async with working(house.parts):
        await house.until("ready", one["id"])
        full = await house.standing()
        assert await counted(house) == {"general": 1, "trips": 1}
        await trashed(house, one["id"])
        assert await house.standing() == full
        assert await counted(house) == {"general": 0, "trips": 0}
        await restored(house, one["id"])
        assert await house.standing() == full
        assert await counted(house) == {"general": 1, "trips": 1}
        await trashed(house, one["id"])
        assert (await house.http.delete(f"/v1/media/{one['id']}")).status_code == 204
        await gone(house, one["id"])
    assert await house.nothing()
    assert await counted(house) == {"general": 0, "trips": 0}
    with pytest.raises(NotFound):
        await restored(house, one["id"])


async def test_flows_are_joined_and_left_right_around_the_trash(house: House) -> None:
    await house.flow("trips")
    await house.flow("gone")
    one = await house.stored(flow="trips")
    identifier = UUID(hex=one["id"])
    async with house.database.transaction() as connection:
        there, trips = [await flows.get(connection, house.app_id, name) for name in ("gone", "trips")]
        await flows.put_media(connection, there, identifier)
    await trashed(house, one["id"])
    async with house.database.transaction() as connection:
        with pytest.raises(NotFound):
            await flows.put_media(connection, there, identifier)
        await flows.take_media(connection, trips, identifier)
        await flows.delete(connection, house.app_id, "gone")
    assert await counted(house) == {"general": 0, "trips": 0}
    await restored(house, one["id"])
    assert await counted(house) == {"general": 0, "trips": 0}


async def test_a_ladder_is_climbed_in_the_trash_too(house: House) -> None:
    one = await house.stored(photo(1600, 1200))
    await trashed(house, one["id"])
    async with working(house.parts):
        ready = await house.until("ready", one["id"])
    assert ready.trashed_at is not None
    assert [r["quality"] for r in ready.rungs] == [1, 2, 3, 4, 5, 6]
    back = await restored(house, one["id"])
    assert (back.state, back.total_bytes) == ("ready", sum(r["bytes"] for r in back.rungs) + back.bytes)
    assert await house.standing() == (back.total_bytes, 0, 1)


async def test_a_ladder_that_fails_in_the_trash_has_failed_when_it_is_back(house: House) -> None:
    one = await house.stored()
    await trashed(house, one["id"])
    async with house.database.transaction() as connection:
        await media.failed(connection, UUID(hex=one["id"]), "no")
    assert (await house.standing())[1] == 0
    back = await restored(house, one["id"])
    assert (back.state, back.reason) == ("failed", "no")


async def test_the_sweep_purges_what_has_been_there_for_its_time_and_nothing_else(house: House) -> None:
    await house.flow("trips")
    old, young, back = [await house.stored(photo(seed=n), flow="trips") for n in range(3)]
    async with working(house.parts):
        for one in (old, young, back):
            await house.until("ready", one["id"])
            await trashed(house, one["id"])
        await house.run(
            "update media set purge_at = now() where id = any($1)", [UUID(hex=m["id"]) for m in (old, back)]
        )
        await restored(house, back["id"])
        await Sweeper(house.parts).sweep()
        await gone(house, old["id"])
    left = await house.many("select id, state from media order by id")
    assert [(row[0].hex, row[1]) for row in left] == [(young["id"], "trashed"), (back["id"], "ready")]
    total = await house.one("select sum(total_bytes) from media")
    assert await house.standing() == (total[0], 0, 2)
    assert not house.folder(old["id"]).exists()
    assert await counted(house) == {"general": 0, "trips": 1}
    assert (await actions(house, old["id"]))[-1] == ("media.deleted", "system")


async def test_one_sweep_takes_so_many_and_the_next_the_rest(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [await house.stored(photo(seed=n)) for n in range(3)]
    for one in stored:
        await trashed(house, one["id"])
    await house.run("update media set purge_at = now()")
    monkeypatch.setattr(trash, "PURGED_AT_ONCE", 2)
    for expected in (2, 1, 0):
        async with house.database.transaction() as connection:
            assert await trash.purge_due(connection) == expected
    assert (await house.one("select count(*) from jobs where kind = 'purge_media'"))[0] == 3


async def test_of_many_who_trash_restore_and_delete_at_once_each_is_right(house: House) -> None:
    await house.flow("trips")
    stored = [await house.stored(photo(seed=n), flow="trips") for n in range(4)]

    async def delete(house: House, identifier: str) -> None:
        async with house.database.transaction() as connection:
            await media.delete(connection, house.app_id, UUID(hex=identifier), None)

    async def join(house: House, identifier: str) -> None:
        async with house.database.transaction() as connection:
            general = await flows.get(connection, house.app_id, "general")
            await flows.put_media(connection, general, UUID(hex=identifier))

    async def leave(house: House, identifier: str) -> None:
        async with house.database.transaction() as connection:
            general = await flows.get(connection, house.app_id, "general")
            await flows.take_media(connection, general, UUID(hex=identifier))

    acts = [trashed, restored, join, leave]
    for _ in range(6):
        again = [act(house, one["id"]) for one in stored for act in (*acts, *acts)]
        for outcome in await asyncio.gather(*again, return_exceptions=True):
            assert not isinstance(outcome, BaseException) or isinstance(outcome, NotFound), outcome
        live = await house.many(
            """
            select f.name, count(m.id) from flows f left join flow_media z on z.flow_id = f.id
            left join media m on m.id = z.media_id and m.state not in ('deleted', 'trashed') group by f.name
            """
        )
        assert await counted(house) == {row[0]: row[1] for row in live}
    ends = [act(house, one["id"]) for one in stored for act in (trashed, delete, restored, delete)]
    for outcome in await asyncio.gather(*ends, return_exceptions=True):
        assert not isinstance(outcome, BaseException) or isinstance(outcome, NotFound), outcome
    assert {row[0] for row in await house.many("select state from media")} == {"deleted"}
    assert await counted(house) == {"general": 0, "trips": 0}
    for one in stored:
        assert [action for action, _ in await actions(house, one["id"])].count("media.deleted") == 1
    async with working(house.parts):
        for one in stored:
            await gone(house, one["id"])
    assert await house.nothing()


async def test_what_is_in_the_trash_is_not_changed_but_its_links_can_be_revoked(house: House) -> None:
    one = await house.stored()
    identifier = UUID(hex=one["id"])
    async with house.database.transaction() as connection:
        link = await links.create(connection, identifier, audience="anyone", user=None, original=False, ttl=None)
    await trashed(house, one["id"])
    async with house.database.transaction() as connection:
        with pytest.raises(Conflict):
            await media.owned(connection, house.app_id, identifier, None)
        assert await links.revoke(connection, house.app_id, link.id, None) == (identifier, house.keys["ann"])
        await links.revoke_all(connection, identifier)
    await restored(house, one["id"])
    async with house.database.connection() as connection:
        assert await links.grants(connection, [link.token]) == {}


async def test_a_deleted_users_trash_goes_with_them(house: House) -> None:
    one = await house.stored()
    await trashed(house, one["id"])
    async with house.database.transaction() as connection:
        await users.delete(connection, house.app_id, "ann")
    async with working(house.parts):
        await gone(house, one["id"])
    assert house.files() == []
    assert (await actions(house, one["id"]))[-1] == ("media.deleted", "system")


async def test_an_upload_says_who_sent_it_in_its_own_transaction(house: House) -> None:
    by_app = await house.stored()
    token = await house.token("ann")
    headers = {"authorization": f"Bearer {token}", "x-request-id": "request-1234"}
    by_user = await house.stored(photo(seed=2), user=None, headers=headers)
    session = (await house.one("select id from sessions"))[0]
    async with house.database.connection() as connection:
        mine, theirs = await audit.page(connection, house.app_id, users=[house.keys["ann"]])
    assert (mine.action, mine.actor, mine.by, mine.session) == ("media.uploaded", "user", house.keys["ann"], session)
    assert (mine.media, mine.user, mine.request) == (UUID(hex=by_user["id"]), "ann", "request-1234")
    assert mine.changes == {"kind": "image", "mime": "image/jpeg", "bytes": by_user["bytes"], "flows": ["general"]}
    assert (theirs.actor, theirs.by, theirs.media) == ("app", None, UUID(hex=by_app["id"]))
    refused = await house.put(b"no image")
    assert refused.status_code == 415
    async with house.database.connection() as connection:
        assert len(await audit.page(connection, house.app_id)) == 2


async def test_a_change_that_is_rolled_back_leaves_no_row(house: House) -> None:
    one = await house.stored()
    before = await actions(house, one["id"])

    class Undone(Exception):
        pass

    with suppress(Undone):
        async with house.database.transaction() as connection:
            by = Actor("user", house.keys["ann"])
            await trash.put(connection, house.app_id, UUID(hex=one["id"]), None, MONTH, by)
            raise Undone
    assert await actions(house, one["id"]) == before
