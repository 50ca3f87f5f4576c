"""The contract of a store as a program: run it against any backend, ours or yours.

for problem in await lint(store, scratch_folder): print(problem)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

from chipmunk.storage import BadKey, Missing, Store

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
    "é",
    "a/",
    "x" * 1025,
)
SIZES = (0, 1, 1_000_003)


async def lint(store: Store, scratch: Path) -> list[str]:
    """Every way in which the store breaks the contract, a sentence each; none is a pass. `scratch` is an empty
    folder."""
    found: list[str] = []
    for check in (
        _round_trips,
        _ranges,
        _missing,
        _hostile_keys,
        _replaces_whole,
        _interrupted_put,
        _folders,
    ):
        prefix = f"lint/{uuid4().hex}"
        try:
            found += await check(store, scratch, prefix)
        except Exception as e:
            found.append(f"{check.__name__[1:]}: raised {type(e).__name__}: {e}")
        await store.delete(f"{prefix}/")
    return found


async def read(store: Store, key: str, start: int = 0, end: int | None = None) -> bytes:
    """An object's bytes, or some of them, in one piece."""
    return b"".join([chunk async for chunk in store.open(key, start, end)])


def _file(scratch: Path, data: bytes) -> Path:
    path = scratch / uuid4().hex
    path.write_bytes(data)
    return path


async def _round_trips(store: Store, scratch: Path, prefix: str) -> list[str]:
    found = []
    for size in SIZES:
        data = os.urandom(size)
        source = _file(scratch, data)
        key = await store.put(f"{prefix}/{size}", source)
        if not source.exists():
            found.append("put took its source away")
        if await read(store, key) != data:
            found.append(f"{size} bytes came back other than they went in")
        stat = await store.stat(key)
        if stat is None or stat.bytes != size:
            found.append(f"stat does not say {size} bytes")
    return found


async def _ranges(store: Store, scratch: Path, prefix: str) -> list[str]:
    data = os.urandom(100_000)
    key = await store.put(f"{prefix}/r", _file(scratch, data))
    cases = [(0, 1), (99_999, 100_000), (5, 70_000), (50, None), (99_990, 200_000), (100_000, None), (7, 7)]
    return [f"the range {a}:{b} is wrong" for a, b in cases if await read(store, key, a, b) != data[a:b]]


async def _missing(store: Store, scratch: Path, prefix: str) -> list[str]:
    found = []
    if await store.stat(f"{prefix}/none") is not None:
        found.append("stat of a missing key is not None")
    await store.delete(f"{prefix}/none")
    await store.delete(f"{prefix}/none/")
    try:
        await read(store, f"{prefix}/none")
        found.append("open of a missing key does not raise Missing")
    except Missing:
        pass
    key = await store.put(f"{prefix}/once", _file(scratch, b"x"))
    await store.delete(key)
    if await store.stat(key) is not None:
        found.append("a deleted object is still there")
    return found


async def _hostile_keys(store: Store, scratch: Path, prefix: str) -> list[str]:
    source = _file(scratch, b"hostile")

    async def refuses(call: Callable[[], Awaitable[object]]) -> bool:
        try:
            await call()
        except BadKey:
            return True
        return False

    found = []
    for key in HOSTILE:
        if not await refuses(lambda key=key: store.put(key, source)):  # type: ignore[misc]
            found.append(f"put takes the key {key[:20]!r}")
        if not await refuses(lambda key=key: read(store, key)):  # type: ignore[misc]
            found.append(f"open takes the key {key[:20]!r}")
    for key in ("", "/", "../", "a/../"):
        if not await refuses(lambda key=key: store.delete(key)):  # type: ignore[misc]
            found.append(f"delete takes the key {key!r}")
    return found


async def _replaces_whole(store: Store, scratch: Path, prefix: str) -> list[str]:
    one, two = _file(scratch, b"1" * 300_000), _file(scratch, b"2" * 200_000)
    await store.put(f"{prefix}/w", one)
    seen: list[bytes] = []

    async def reader() -> None:
        for _ in range(20):
            seen.append(await read(store, f"{prefix}/w"))

    await asyncio.gather(reader(), *(store.put(f"{prefix}/w", two) for _ in range(3)))
    whole = {one.read_bytes(), two.read_bytes()}
    return [] if set(seen) <= whole else ["a reader saw a half-written object"]


async def _interrupted_put(store: Store, scratch: Path, prefix: str) -> list[str]:
    source = _file(scratch, os.urandom(30_000_000))
    task = asyncio.ensure_future(store.put(f"{prefix}/i", source))
    await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    stat = await store.stat(f"{prefix}/i")
    return [] if stat is None or stat.bytes == 30_000_000 else ["an interrupted put left half an object"]


async def _folders(store: Store, scratch: Path, prefix: str) -> list[str]:
    source = _file(scratch, b"f")
    kept = await store.put(f"{prefix}/ab2/x", source)
    gone = [await store.put(f"{prefix}/ab/{n}", source) for n in ("0", "1.webp", "deep/er")]
    await store.delete(f"{prefix}/ab/")
    found = [f"deleting a folder left {key.rsplit('/', 1)[1]}" for key in gone if await store.stat(key) is not None]
    return found if await store.stat(kept) is not None else [*found, "deleting a folder took its neighbour"]
