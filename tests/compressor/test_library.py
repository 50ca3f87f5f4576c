"""What flows are said to hold: always right, whatever happens to media and flows, and however many change them at once."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from chipmunk import flows, library, media
from chipmunk.errors import NotFound
from tests.compressor.conftest import House, photo, working


async def counted(house: House, viewer: str | None = None) -> dict[str, int]:
    async with house.database.connection() as connection:
        found = await library.counts(connection, house.app_id, None if viewer is None else house.keys[viewer])
    return {held.flow: held.media for held in found}


async def really(house: House) -> dict[str, int]:
    rows = await house.many(
        """
        select f.name, count(m.id) from flows f
        left join flow_media z on z.flow_id = f.id left join media m on m.id = z.media_id and m.state <> 'deleted'
        group by f.name
        """
    )
    return {row[0]: row[1] for row in rows}


async def test_every_way_into_a_flow_and_out_of_it_counts_once(house: House) -> None:
    await house.flow("trips")
    await house.flow("gone")
    stored = [await house.stored(photo(seed=n), flow="trips") for n in range(4)]
    assert await counted(house) == await really(house) == {"general": 0, "gone": 0, "trips": 4}
    async with house.database.transaction() as connection:
        general = await flows.get(connection, house.app_id, "general")
        gone = await flows.get(connection, house.app_id, "gone")
        for one in stored[:3]:
            for flow in (general, gone, gone):
                await flows.put_media(connection, flow, UUID(hex=one["id"]))
    assert await counted(house) == await really(house) == {"general": 3, "gone": 3, "trips": 4}
    async with house.database.transaction() as connection:
        await flows.take_media(connection, general, UUID(hex=stored[0]["id"]))
        await flows.delete(connection, house.app_id, "gone")
    assert await counted(house) == await really(house) == {"general": 2, "trips": 4}
    async with working(house.parts):
        assert (await house.http.delete(f"/v1/media/{stored[1]['id']}")).status_code == 204
        assert await counted(house) == await really(house) == {"general": 1, "trips": 3}
        async with asyncio.timeout(20):
            while (await house.one("select count(*) from media where id = $1", UUID(hex=stored[1]["id"])))[0]:
                await asyncio.sleep(0.05)
    assert await counted(house) == await really(house) == {"general": 1, "trips": 3}
    async with house.database.connection() as connection:
        assert await library.sum_up(connection) > 0
        assert await library.sum_up(connection) == 0
    assert await counted(house) == await really(house) == {"general": 1, "trips": 3}


async def test_counts_are_right_while_many_change_them_and_while_they_are_summed_up(house: House) -> None:
    await house.flow("trips")
    made = [UUID(hex=(await house.stored(photo(seed=n), flow="trips"))["id"]) for n in range(12)]
    done = asyncio.Event()

    async def change(one: UUID) -> None:
        async with house.database.connection() as connection:
            flow = await flows.get(connection, house.app_id, "general")
        for _ in range(15):
            async with house.database.transaction() as connection:
                await flows.put_media(connection, flow, one)
            async with house.database.transaction() as connection:
                await flows.take_media(connection, flow, one)
        async with house.database.transaction() as connection:
            await flows.put_media(connection, flow, one)

    async def sum_up() -> None:
        while not done.is_set():
            async with house.database.connection() as connection:
                await library.sum_up(connection)

    async def look() -> None:
        while not done.is_set():
            found = await counted(house)
            assert found["trips"] == 12
            assert 0 <= found["general"] <= 12

    beside = [asyncio.create_task(work()) for work in (sum_up, look)]
    await asyncio.gather(*map(change, made))
    done.set()
    await asyncio.gather(*beside)
    assert await counted(house) == await really(house) == {"general": 12, "trips": 12}


async def test_a_user_is_told_of_flows_of_their_own_of_public_ones_and_of_what_they_posted(house: House) -> None:
    await house.user("bob")
    for name, fields in (
        ("shared", {}), ("hidden", {}), ("open", {"visibility": "public"}), ("wall", {"posting": "users"}),
    ):  # fmt: skip
        await house.flow(name, **fields)
    for n, flow in enumerate(["shared", "shared", "hidden", "open", "wall", "wall", "general"]):
        await house.stored(photo(seed=n), user="bob", flow=flow)
    await house.stored(photo(seed=20), user="ann", flow="wall")
    async with house.database.transaction() as connection:
        shared = await flows.get(connection, house.app_id, "shared")
        await connection.execute(
            "insert into flow_members (flow_id, user_id, role) values ($1, $2, 'viewer')", shared.key, house.keys["ann"]
        )
    assert await counted(house) == {"general": 1, "hidden": 1, "open": 1, "shared": 2, "wall": 3}
    assert await counted(house, "ann") == {"open": 1, "shared": 2, "wall": 1}
    assert await counted(house, "bob") == {"general": 1, "hidden": 1, "open": 1, "shared": 2, "wall": 2}


async def test_a_media_is_counted_out_when_it_is_deleted_and_not_once_more(house: House) -> None:
    stored = await house.stored(photo(), flow="general")
    async with house.database.transaction() as connection:
        await media.delete(connection, house.app_id, UUID(hex=stored["id"]), None)
    with pytest.raises(NotFound):
        async with house.database.transaction() as connection:
            await media.delete(connection, house.app_id, UUID(hex=stored["id"]), None)
    assert await counted(house) == {"general": 0}
