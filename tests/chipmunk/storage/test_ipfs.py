"""The store on a real IPFS node, and what it kept read by another implementation."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from chipmunk.storage import BadKey, ByContent, Checking, Missing, StoreUnavailable
from chipmunk.storage.cid import measured
from chipmunk.storage.ipfs import IpfsStore
from chipmunk.storage.kubo import Pace
from chipmunk.storage.linter import lint, read
from chipmunk.storage.pins import MemoryPins
from chipmunk.storage.sealed import SealedStore
from tests.servers.ipfs import Ipfs, Kubo

QUICK = Pace(connect=1, call=3, idle=2, local=0.5, first_pause=0.02)
HASTY = Pace(connect=1, call=1, idle=1)


@pytest.fixture
def pins() -> MemoryPins:
    return MemoryPins()


@pytest.fixture
async def store(ipfs: Ipfs, pins: MemoryPins) -> AsyncIterator[IpfsStore]:
    store = IpfsStore(ipfs.url, {}, {}, pins, pace=QUICK)
    yield store
    await store.close()


@pytest.fixture
def name() -> str:
    return f"ab/cd/{uuid4().hex}"


def file(folder: Path, data: bytes) -> Path:
    path = folder / uuid4().hex
    path.write_bytes(data)
    return path


async def test_it_keeps_the_contract_of_a_store(store: IpfsStore, ipfs: Ipfs, tmp_path: Path) -> None:
    assert isinstance(store, Checking)
    assert isinstance(store, ByContent)
    assert await lint(store, tmp_path, large=20_000_001) == []
    assert ipfs.pins() == set()


async def test_it_keeps_the_contract_with_what_is_encrypted(store: IpfsStore, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    assert await lint(SealedStore(store, b"k" * 32, tmp_path / "scratch"), tmp_path / "files") == []


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 700_001, 46_000_000])
async def test_another_implementation_reads_it_under_the_same_cid(
    size: int, store: IpfsStore, name: str, kubo: Kubo, tmp_path: Path
) -> None:
    data = os.urandom(min(size, 800_000)).ljust(size, b"\0")
    cid = await store.put(f"{name}/0", file(tmp_path, data))
    assert kubo.ask("download", cid, str(tmp_path / "got")) == 0
    assert (tmp_path / "got").read_bytes() == data


async def test_another_implementation_sees_nothing_of_what_is_encrypted(
    store: IpfsStore, name: str, kubo: Kubo, tmp_path: Path
) -> None:
    words = b"nobody may read this "
    sealed = SealedStore(store, os.urandom(32), tmp_path)
    cids = [await sealed.put(f"{name}/0", file(tmp_path, words * 50_000)) for _ in range(2)]
    assert cids[0] != cids[1]
    assert kubo.ask("download", cids[0], str(tmp_path / "got")) == 0
    assert words.strip() not in (tmp_path / "got").read_bytes()
    assert await read(sealed, cids[0], 100_000, 100_021) == (words * 50_000)[100_000:100_021]


async def test_equal_content_shares_a_pin_which_goes_with_the_last(
    store: IpfsStore, name: str, ipfs: Ipfs, tmp_path: Path
) -> None:
    source = file(tmp_path, os.urandom(1000))
    cids = {await store.put(f"{name}/{n}", source) for n in (0, 1, 1)}
    [cid] = cids
    assert cid == measured(source)[0]
    await store.unpin(cid, f"{name}/0")
    assert cid in ipfs.pins()
    assert await read(store, cid) == source.read_bytes()
    for _ in range(2):
        await store.unpin(cid, f"{name}/1")
        assert cid not in ipfs.pins()
    with pytest.raises(Missing):
        await read(store, cid)


async def test_a_folder_of_names_is_given_up_as_a_whole(
    store: IpfsStore, name: str, ipfs: Ipfs, tmp_path: Path
) -> None:
    cids = [await store.put(f"{name}{rest}", file(tmp_path, os.urandom(9))) for rest in ("/0", "/1.webp", "0/0")]
    assert {(n, s.bytes) async for n, s in store.named(f"{name}/")} == {(f"{name}/0", 9), (f"{name}/1.webp", 9)}
    await store.delete(f"{name}/")
    assert ipfs.pins() & set(cids) == {cids[2]}
    await store.delete(f"{name}0/0")
    assert ipfs.pins() & set(cids) == set()


async def test_puts_and_unpins_at_once_end_with_a_pin_if_a_name_is_left(
    store: IpfsStore, name: str, ipfs: Ipfs, tmp_path: Path
) -> None:
    source = file(tmp_path, os.urandom(1000))
    cid = measured(source)[0]

    async def comes_and_goes(n: int) -> None:
        for _ in range(5):
            await store.put(f"{name}/{n}", source)
            await store.unpin(cid, f"{name}/{n}")

    await asyncio.gather(*(comes_and_goes(n) for n in range(6)), store.put(f"{name}/stays", source))
    assert cid in ipfs.pins()
    await store.unpin(cid, f"{name}/stays")
    assert cid not in ipfs.pins()


@pytest.mark.parametrize("key", ["", "../x", "a//b", "a?arg=b", "bafy bafy", "é", "/ipfs/x", "a&b=c"])
async def test_keys_that_are_none_are_refused_by_every_call(key: str, store: IpfsStore, tmp_path: Path) -> None:
    source = file(tmp_path, b"x")
    for call in (store.put(key, source), read(store, key), store.stat(key), store.delete(key), store.unpin(key, "a/b")):
        with pytest.raises(BadKey):
            await call


async def test_content_that_nobody_pinned_is_missing_at_once(store: IpfsStore, tmp_path: Path) -> None:
    cid, _ = measured(file(tmp_path, os.urandom(50)))
    began = time.monotonic()
    with pytest.raises(Missing):
        await read(store, cid)
    assert await store.stat(cid) is None
    assert time.monotonic() - began < 1


async def test_content_that_somebody_else_unpinned_is_missing_though_the_node_still_has_it(
    store: IpfsStore, name: str, ipfs: Ipfs, pins: MemoryPins, tmp_path: Path
) -> None:
    cid = await store.put(f"{name}/0", file(tmp_path, os.urandom(50)))
    ipfs.ask("pin/rm", arg=cid)
    assert await store.stat(cid) is None
    with pytest.raises(Missing):
        await read(store, cid)
    await store.unpin(cid, f"{name}/0")
    assert await pins.of(cid) == []


async def test_what_was_kept_survives_that_the_node_is_killed(
    store: IpfsStore, name: str, ipfs: Ipfs, tmp_path: Path
) -> None:
    data = os.urandom(2_000_000)
    cid = await store.put(f"{name}/0", file(tmp_path, data))
    ipfs.kill()
    try:
        for call in (
            read(store, cid), store.stat(cid), store.put(f"{name}/1", file(tmp_path, b"x")), store.check(),
            store.unpin(cid, f"{name}/0"), store.delete(cid),
        ):  # fmt: skip
            began = time.monotonic()
            with pytest.raises(StoreUnavailable) as told:
                await call
            assert time.monotonic() - began < 3
            assert str(ipfs.port) not in str(told.value)
    finally:
        ipfs.start()
    await store.check()
    assert cid in ipfs.pins()
    assert await read(store, cid) == data
    await store.unpin(cid, f"{name}/0")
    assert cid not in ipfs.pins()


async def test_a_node_that_hangs_is_given_up(
    store: IpfsStore, name: str, ipfs: Ipfs, pins: MemoryPins, tmp_path: Path
) -> None:
    cid = await store.put(f"{name}/0", file(tmp_path, b"x"))
    hasty = IpfsStore(ipfs.url, {}, {}, pins, pace=HASTY)
    with ipfs.frozen():
        for call in (read(hasty, cid), hasty.stat(cid), hasty.check(), hasty.unpin(cid, f"{name}/0")):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="too slow"):
                await call
            assert time.monotonic() - began < 3
    await hasty.close()
    assert await read(store, cid) == b"x"


async def test_a_put_that_is_given_up_leaves_neither_name_nor_pin(
    store: IpfsStore, name: str, ipfs: Ipfs, pins: MemoryPins, tmp_path: Path
) -> None:
    source = file(tmp_path, os.urandom(20_000_000))
    given_up = 0
    for seconds in (0.0, 0.02, 0.1, 0.3):
        task = asyncio.ensure_future(store.put(f"{name}/0", source))
        await asyncio.sleep(seconds)
        given_up += task.cancel()
        if not isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError):
            await store.delete(f"{name}/0")  # it was quicker
        assert [pin async for pin in pins.below(name)] == []
    assert given_up
    await asyncio.sleep(1)
    assert measured(source)[0] not in ipfs.pins()


async def test_a_put_that_fails_leaves_an_earlier_one_of_the_same(
    store: IpfsStore, name: str, ipfs: Ipfs, pins: MemoryPins, tmp_path: Path
) -> None:
    source = file(tmp_path, os.urandom(10))
    cid = await store.put(f"{name}/0", source)
    with ipfs.frozen(), pytest.raises(StoreUnavailable):
        await store.put(f"{name}/0", source)
    assert [pin.name for pin in await pins.of(cid)] == [f"{name}/0"]
    assert cid in ipfs.pins()
