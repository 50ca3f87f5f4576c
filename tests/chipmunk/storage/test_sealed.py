from __future__ import annotations

import asyncio
import fcntl
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipmunk.storage import Damaged, Missing, Store
from chipmunk.storage.linter import lint, read
from chipmunk.storage.local import LocalStore
from chipmunk.storage.memory import MemoryStore
from chipmunk.storage.sealed import CHUNK, HEADER, SEALED, SealedStore, plain_size, sealed_size

KEY, OTHER = b"k" * 32, b"o" * 32
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 16 * CHUNK, 16 * CHUNK + 5, 17 * CHUNK, 40 * CHUNK - 1)
EDGES = sorted({0, 1, 5, *(n * CHUNK + d for n in (1, 2, 16, 17, 32, 40) for d in (-1, 0, 1))})
ONCE = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def kept(folder: Path, data: bytes, inner: Store | None = None, key: bytes = KEY) -> SealedStore:
    source = folder / "source"
    source.write_bytes(data)
    store = SealedStore(inner or MemoryStore(), key, folder / "scratch")
    await store.put("a/0", source)
    return store


async def spoilt(store: SealedStore, data: bytes, folder: Path) -> SealedStore:
    (folder / "spoilt").write_bytes(data)
    await store.inner.put("a/0", folder / "spoilt")
    return store


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_it_keeps_the_contract_of_a_store(kind: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    inner: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "store")
    assert asyncio.run(lint(SealedStore(inner, KEY, tmp_path / "scratch"), tmp_path / "files")) == []
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("size", SIZES)
async def test_every_size_comes_back_and_has_the_size_that_is_told(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    store = await kept(tmp_path, data)
    assert await read(store, "a/0") == data
    stat, inner = await store.stat("a/0"), await store.inner.stat("a/0")
    assert stat is not None
    assert inner is not None
    assert (stat.bytes, inner.bytes) == (size, sealed_size(size))


SPAN = st.one_of(st.sampled_from(EDGES), st.integers(0, 41 * CHUNK))


@ONCE
@given(size=st.sampled_from(SIZES), start=SPAN, end=st.one_of(st.none(), SPAN))
def test_any_range_is_that_of_the_plaintext(size: int, start: int, end: int | None, tmp_path: Path) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    store = asyncio.run(kept(tmp_path, data[:size]))
    assert asyncio.run(read(store, "a/0", start, end)) == (
        data[:size][start:end] if end is None or end > start else b""
    )


async def test_a_range_reads_only_the_chunks_that_it_needs(tmp_path: Path) -> None:
    asked: list[tuple[int, int | None]] = []

    class Watched(MemoryStore):
        def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
            asked.append((start, end))
            return super().open(key, start, end)

    store = await kept(tmp_path, os.urandom(20 * CHUNK), Watched())
    await read(store, "a/0", 10 * CHUNK + 5, 11 * CHUNK + 5)
    assert sum(end - start for start, end in asked if end is not None) == HEADER + 2 * SEALED + 1


async def test_the_inner_store_sees_no_plaintext_and_no_two_objects_alike(tmp_path: Path) -> None:
    inner, data = MemoryStore(), b"the same words again " * 5000
    seen = []
    for _ in range(3):
        await kept(tmp_path, data, inner)
        seen.append(await read(inner, "a/0"))
        assert b"words" not in seen[-1]
    assert len({s[at : at + 16] for s in seen for at in range(HEADER, len(s) - 16, 16)}) == 3 * (
        (len(seen[0]) - HEADER) // 16
    )


@ONCE
@given(at=st.integers(0, sealed_size(3 * CHUNK + 9) - 1), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_damage_and_never_other_bytes(at: int, bit: int, tmp_path: Path) -> None:
    async def check() -> None:
        data = os.urandom(3 * CHUNK + 9)
        store = await kept(tmp_path, data)
        raw = bytearray(await read(store.inner, "a/0"))
        raw[at] ^= 1 << bit
        await spoilt(store, bytes(raw), tmp_path)
        got = bytearray()
        with pytest.raises(Damaged):
            await collect(store.open("a/0"), got)
        assert data.startswith(got)

    asyncio.run(check())


async def collect(pieces: AsyncIterator[bytes], into: bytearray) -> None:
    async for piece in pieces:
        into += piece


def chunks(raw: bytes) -> list[bytes]:
    return [raw[at : at + SEALED] for at in range(HEADER, len(raw), SEALED)]


@pytest.mark.parametrize(
    ("name", "order"),
    [("reordered", [0, 2, 1, 3]), ("cut off", [0, 1, 2]), ("left out", [0, 2, 3]), ("doubled", [0, 1, 1, 2, 3]),
     ("nothing left", []), ("lengthened", [0, 1, 2, 3, 3])],
)  # fmt: skip
async def test_chunks_have_their_places(name: str, order: list[int], tmp_path: Path) -> None:
    store = await kept(tmp_path, os.urandom(3 * CHUNK + CHUNK))
    raw = await read(store.inner, "a/0")
    await spoilt(store, raw[:HEADER] + b"".join(chunks(raw)[i] for i in order), tmp_path)
    with pytest.raises(Damaged):
        await read(store, "a/0")


@pytest.mark.parametrize("length", [0, 3, HEADER, HEADER + 15, HEADER + 16, HEADER + SEALED, HEADER + SEALED + 7])
async def test_a_cut_object_is_damaged_from_wherever_it_is_read(length: int, tmp_path: Path) -> None:
    store = await kept(tmp_path, os.urandom(5 * CHUNK))
    await spoilt(store, (await read(store.inner, "a/0"))[:length], tmp_path)
    for start in (0, 4 * CHUNK, 4 * CHUNK + 9):
        with pytest.raises(Damaged):
            await read(store, "a/0", start)


async def test_another_key_and_another_objects_chunks_do_not_open(tmp_path: Path) -> None:
    inner = MemoryStore()
    one = await read((await kept(tmp_path, b"1" * 3 * CHUNK, inner)).inner, "a/0")
    two = await read((await kept(tmp_path, b"2" * 3 * CHUNK, inner)).inner, "a/0")
    with pytest.raises(Damaged):
        await read(SealedStore(inner, OTHER, tmp_path), "a/0")
    swapped = [chunks(one)[0], chunks(two)[1], chunks(one)[2]]
    store = await spoilt(SealedStore(inner, KEY, tmp_path), one[:HEADER] + b"".join(swapped), tmp_path)
    with pytest.raises(Damaged):
        await read(store, "a/0")


async def test_a_missing_object_is_missing_and_not_damaged(tmp_path: Path) -> None:
    store = SealedStore(MemoryStore(), KEY, tmp_path)
    for start in (0, 5 * CHUNK):
        with pytest.raises(Missing) as caught:
            await read(store, "a/none", start)
        assert not isinstance(caught.value, Damaged)


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def test_what_is_on_its_way_out_is_its_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    seen = []

    class Failing(MemoryStore):
        async def put(self, key: str, source: Path) -> str:
            seen.append(
                (source.parent, source.stat().st_mode & 0o777, b"plain" in source.read_bytes(), is_locked(source))
            )
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await kept(tmp_path, b"plain" * 100, Failing())
    assert seen == [(tmp_path / "scratch", 0o600, False, True)]
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_put_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(60_000_000))
    store = SealedStore(LocalStore(tmp_path / "store"), KEY, tmp_path / "scratch")
    for wait in (0, 0.001, 0.02):
        task = asyncio.ensure_future(store.put("a/0", source))
        await asyncio.sleep(wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert list((tmp_path / "scratch").iterdir()) == []


async def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(40_000_000))
    store = SealedStore(LocalStore(tmp_path / "store"), KEY, tmp_path / "scratch")
    tracemalloc.start()
    await store.put("a/0", source)
    async for _ in store.open("a/0"):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000


@given(st.integers(0, 10**12))
def test_sizes_go_both_ways(size: int) -> None:
    assert plain_size(sealed_size(size)) == size


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealedStore(MemoryStore(), b"short", tmp_path)
