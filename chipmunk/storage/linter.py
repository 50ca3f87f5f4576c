"""The contract of a store as a program: run it against any backend, ours or yours.

    for problem in await lint(store, scratch_folder): print(problem)

A store that is addressed by content (its `put` returns another key than it was given) is held to the same in its own
terms: what is put again elsewhere stays, and each key is deleted by itself. What a store across a network does when that
misbehaves is held by `lint_remote`, in `linter_remote`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path

from chipmunk.storage import BadKey, Checking, Listing, Missing, ServedFromDisk, Store
from chipmunk.storage.linter_bench import Bench, digest_of, large_objects, read

__all__ = ["lint", "read"]

HOSTILE = (
    "",
    "/",
    "/etc/passwd",
    "../x",
    "a/../b",
    "a//b",
    "a/./b",
    ".hidden",
    "a/.b",
    "a\x00b",
    "a\nb",
    "a\\b",
    "a?b",
    "a#b",
    "a%2e%2e",
    "a b",
    "é",
    "a/",
    "x" * 256,
    "x/" * 600 + "x",
)
AWKWARD = ("1.webp", "-", "_x.y-z", "a..b", "/".join("n" * 200 for _ in range(3)), "/".join("abcdefghijkl"))
SIZES = (0, 1, 1_000_003)


async def lint(store: Store, scratch: Path, *, large: int = 0) -> list[str]:
    """Every way in which the store breaks the contract, a sentence each; none is a pass. `scratch` is an empty folder.

    `large`: bytes of an object that the store keeps in more than one piece, if it does that; zero leaves it out.
    """
    found: list[str] = []
    checks: list[Callable[[Bench], Awaitable[list[str]]]] = [
        _round_trips,
        _awkward_keys,
        _ranges,
        _missing,
        _hostile_keys,
        _replaces_whole,
        _puts_at_once,
        _interrupted_puts,
        _abandoned_reads,
        _folders,
        _powers,
    ]
    if large:
        checks.append(partial(large_objects, size=large))
    for check in checks:
        bench = Bench(store, scratch)
        try:
            found += await check(bench)
        except Exception as e:
            found.append(f"{getattr(check, '__name__', '_large objects')[1:]}: raised {type(e).__name__}: {e}")
        await bench.clear()
    return found


async def _round_trips(bench: Bench) -> list[str]:
    found = []
    for size in SIZES:
        data = os.urandom(size)
        source = bench.file(data)
        key = await bench.put(f"{size}", source)
        if not source.exists() or source.read_bytes() != data:
            found.append("put took its source away")
        if await read(bench.store, key) != data:
            found.append(f"{size} bytes came back other than they went in")
        stat = await bench.store.stat(key)
        if stat is None or stat.bytes != size or stat.modified.tzinfo is None:
            found.append(f"stat does not say {size} bytes and when")
    return found


async def _awkward_keys(bench: Bench) -> list[str]:
    kept = {name: await bench.put(name, name.encode()) for name in AWKWARD}
    return [f"the key {n[:20]!r} is lost" for n, key in kept.items() if await read(bench.store, key) != n.encode()]


async def _ranges(bench: Bench) -> list[str]:
    data = os.urandom(100_000)
    key, empty = await bench.put("r", data), await bench.put("e", b"")
    cases = [
        (0, 1), (99_999, 100_000), (5, 70_000), (50, None), (99_990, 200_000), (100_000, None), (100_000, 100_001),
        (100_001, None), (7, 7), (0, 0), (0, 100_000), (0, None),
    ]  # fmt: skip
    found = [f"the range {a}:{b} is wrong" for a, b in cases if await read(bench.store, key, a, b) != data[a:b]]
    for start, end in ((0, None), (0, 10), (5, 10), (0, 0)):
        if await read(bench.store, empty, start, end) != b"":
            found.append(f"the range {start}:{end} of an empty object is wrong")
    return found


async def _missing(bench: Bench) -> list[str]:
    async def opens(key: str, *span: int) -> bool:
        try:
            await read(bench.store, key, *span)
        except Missing:
            return False
        return True

    key = await bench.put("once", os.urandom(10))
    await bench.store.delete(key)
    found = [] if await bench.store.stat(key) is None else ["a deleted object is still there"]
    await bench.store.delete(key)
    never = [f"{bench.prefix}/none", f"{bench.prefix}/on"] if bench.keeps_names else []
    for name in (key, *never):
        if await bench.store.stat(name) is not None:
            found.append("stat of a missing key is not None")
        if any([await opens(name), await opens(name, 5), await opens(name, 0, 5), await opens(name, 3, 3)]):
            found.append("open of a missing key does not raise Missing")
        await bench.store.delete(name)
    if bench.keeps_names:
        await bench.store.delete(f"{bench.prefix}/none/")
    return found


async def _hostile_keys(bench: Bench) -> list[str]:
    source = bench.file(b"hostile")

    async def refuses(call: Callable[[], Awaitable[object]]) -> bool:
        try:
            await call()
        except BadKey:
            return True
        return False

    found = []
    for key in HOSTILE:
        if not await refuses(lambda key=key: bench.store.put(key, source)):  # type: ignore[misc]
            found.append(f"put takes the key {key[:20]!r}")
        if not await refuses(lambda key=key: read(bench.store, key)):  # type: ignore[misc]
            found.append(f"open takes the key {key[:20]!r}")
        if not await refuses(lambda key=key: bench.store.stat(key)):  # type: ignore[misc]
            found.append(f"stat takes the key {key[:20]!r}")
    for key in ("", "/", "../", "a/../", ".", "..", "a//"):
        if not await refuses(lambda key=key: bench.store.delete(key)):  # type: ignore[misc]
            found.append(f"delete takes the key {key!r}")
    return found


async def _replaces_whole(bench: Bench) -> list[str]:
    one, two = b"1" * 300_000, b"2" * 200_000
    first, seen, done = await bench.put("w", one), set(), asyncio.Event()
    twice = bench.file(two)

    async def reader() -> None:
        while not done.is_set():
            seen.add(await read(bench.store, first))
            await asyncio.sleep(0.001)

    reading = asyncio.ensure_future(reader())
    last = await asyncio.gather(*(bench.put("w", twice) for _ in range(3)))
    done.set()
    await reading
    found = [] if seen <= {one, two} else ["a reader saw a half-written object"]
    if first != last[0] and await read(bench.store, first) != one:
        found.append("another object's content came under the key of the first")
    return found if await read(bench.store, last[0]) == two else [*found, "the later put did not win"]


async def _puts_at_once(bench: Bench) -> list[str]:
    contents = [os.urandom(50_000) for _ in range(8)]
    apart = await asyncio.gather(*(bench.put(f"p{n}", data) for n, data in enumerate(contents)))
    same = await asyncio.gather(*(bench.put("one", data) for data in contents))
    found = []
    if [await read(bench.store, key) for key in apart] != contents:
        found.append("puts at once of several objects mixed them up")
    if not {await read(bench.store, key) for key in same} <= set(contents):
        found.append("puts at once under one key left neither's bytes")
    return found


async def _interrupted_puts(bench: Bench) -> list[str]:
    data = os.urandom(30_000_000)
    digest, source, found = hashlib.sha256(data).digest(), bench.file(data), []
    await bench.put("whole", b"whole")
    for seconds in (0.0, 0.002, 0.03, 0.1):
        task = asyncio.ensure_future(bench.put("i", source))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if bench.keeps_names and (stat := await bench.store.stat(f"{bench.prefix}/i")) is not None:
            whole = stat.bytes == len(data) and await digest_of(bench.store, f"{bench.prefix}/i") == digest
            found += [] if whole else ["an interrupted put left half an object"]
    key = await bench.put("i", source)
    return found if await digest_of(bench.store, key) == digest else [*found, "after interrupted puts none succeeds"]


async def _abandoned_reads(bench: Bench) -> list[str]:
    data = os.urandom(8_000_000)
    key = await bench.put("a", data)
    for _ in range(20):
        chunks = bench.store.open(key)
        await anext(chunks)
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return [] if await read(bench.store, key) == data else ["after reads that were given up the object is not there"]


async def _folders(bench: Bench) -> list[str]:
    kept = [await bench.put(name, name.encode()) for name in ("ab2/x", "ab.x", "a/b")]
    gone = [await bench.put(f"ab/{name}", name.encode()) for name in ("0", "1.webp", "deep/er")]
    for key in [f"{bench.prefix}/ab/"] if bench.keeps_names else gone:
        await bench.store.delete(key)
    found = [f"deleting a folder left {key.rsplit('/', 1)[-1]}" for key in gone if await bench.store.stat(key)]
    taken = [key for key in kept if await bench.store.stat(key) is None]
    return [*found, "deleting a folder took its neighbour"] if taken else found


async def _powers(bench: Bench) -> list[str]:
    """What else the store says that it can."""
    store, found = bench.store, []
    if isinstance(store, Checking):
        await store.check()
    keys = {await bench.put(f"l/{n}", bytes([n]) * (n + 1)): n + 1 for n in range(3)}
    if isinstance(store, ServedFromDisk) and any(store.path(k).stat().st_size != size for k, size in keys.items()):
        found.append("what lies on disk is not the object")
    if isinstance(store, Listing):
        listed = {key: stat.bytes async for key, stat in store.listed()}
        if not listed.items() >= keys.items():
            found.append("the list lacks objects")
        prefix = f"{bench.prefix}/l" if bench.keeps_names else next(iter(keys))
        some = {key async for key, _ in store.listed(prefix)}
        if some != {key for key in keys if key.startswith(prefix)}:
            found.append("the list below a prefix is another")
        await store.delete(next(iter(keys)))
        if next(iter(keys)) in {key async for key, _ in store.listed()}:
            found.append("the list tells of a deleted object")
    return found
