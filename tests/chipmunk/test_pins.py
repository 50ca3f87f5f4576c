"""Pins as rows, counted by several processes at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chipmunk import db, pins
from chipmunk.db import Database
from chipmunk.pins import DatabasePins
from chipmunk.storage.ipfs import IpfsStore
from chipmunk.storage.pins import MemoryPins, Pins
from tests.servers.ipfs import Ipfs


@pytest.fixture
async def databases(database: str) -> AsyncIterator[list[Database]]:
    """Two pools, as two processes have them; backend 2 is an IPFS node."""
    pools = [Database(await db.connect(database, most=4)) for _ in range(2)]
    async with pools[0].connection() as connection:
        await connection.execute("insert into backends (name, url) values ('cold', 'ipfs+http://127.0.0.1:1')")
    yield pools
    for pool in pools:
        await pool.close()


@pytest.fixture(params=["rows", "memory"])
def counted(request: pytest.FixtureRequest, databases: list[Database]) -> Pins:
    return DatabasePins(databases[0], 2) if request.param == "rows" else MemoryPins()


async def test_the_last_name_of_a_content_is_told(counted: Pins) -> None:
    assert [await counted.taken("c1", name, 5) for name in ("a/0", "b/0", "a/0")] == [True, True, False]
    assert await counted.taken("c2", "a/0", 6)
    lasts = []
    for name in ("a/0", "b/0", "b/0"):
        async with counted.released("c1", name) as last:
            lasts.append(last)
    assert lasts == [False, True, True]
    assert [(pin.cid, pin.bytes) async for pin in counted.below("")] == [("c2", 6)]


async def test_what_fails_forgets_nothing(counted: Pins) -> None:
    await counted.taken("c1", "a/0", 5)

    async def fails() -> None:
        async with counted.released("c1", "a/0") as last:
            assert last
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails()
    assert [pin.name for pin in await counted.of("c1")] == ["a/0"]


async def test_nobody_takes_a_content_while_it_is_given_up(counted: Pins) -> None:
    await counted.taken("c1", "a/0", 5)
    async with counted.released("c1", "a/0"):
        taking = asyncio.ensure_future(counted.taken("c1", "b/0", 5))
        await asyncio.sleep(0.2)
        assert not taking.done()
    assert await taking
    assert [pin.name for pin in await counted.of("c1")] == ["b/0"]


async def test_names_below_a_prefix_are_found_page_by_page(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "PAGE", 3)
    kept = DatabasePins(databases[0], 2)
    names = [f"ab/cd/{n}" for n in range(8)] + ["ab/ce/0", "ab/cd0", "ab/c"]
    for name in names:
        for cid in ("c1", "c2"):
            await kept.taken(cid, name, 1)
    found = [(pin.name, pin.cid) async for pin in kept.below("ab/cd/")]
    assert found == [(f"ab/cd/{n}", cid) for n in range(8) for cid in ("c1", "c2")]
    assert len([pin async for pin in kept.below("")]) == 2 * len(names)
    assert [pin async for pin in DatabasePins(databases[0], 1).below("")] == []


async def test_two_processes_that_put_and_unpin_the_same_end_with_a_pin_if_a_name_is_left(
    databases: list[Database], ipfs: Ipfs, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(os.urandom(1000))
    stores = [IpfsStore(ipfs.url, {}, {}, DatabasePins(pool, 2)) for pool in databases]
    cid = await stores[0].put("ab/cd/stays/0", tmp_path / "f")

    async def comes_and_goes(n: int) -> None:
        for _ in range(4):
            assert await stores[n % 2].put(f"ab/cd/{n}/0", tmp_path / "f") == cid
            await stores[(n + 1) % 2].delete(f"ab/cd/{n}/")

    await asyncio.gather(*(comes_and_goes(n) for n in range(6)))
    assert cid in ipfs.pins()
    await stores[1].unpin(cid, "ab/cd/stays/0")
    assert cid not in ipfs.pins()
    for store in stores:
        await store.close()
