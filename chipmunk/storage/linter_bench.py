"""What the linters work with: a place in the store, its bytes, and objects that are kept in more than one piece."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from pathlib import Path
from uuid import uuid4

from chipmunk.storage import Store

MEBIBYTE = 1024 * 1024


async def read(store: Store, key: str, start: int = 0, end: int | None = None) -> bytes:
    """An object's bytes, or some of them, in one piece."""
    return b"".join([chunk async for chunk in store.open(key, start, end)])


class Bench:
    """A place in the store for one check, cleared after it."""

    def __init__(self, store: Store, scratch: Path) -> None:
        self.store = store
        self.prefix = f"lint/{uuid4().hex}"
        self._scratch = scratch
        self._files: list[Path] = []
        self._kept: set[str] = set()
        self.keeps_names = True  # as far as what was put tells

    def file(self, data: bytes) -> Path:
        path = self._scratch / uuid4().hex
        path.write_bytes(data)
        self._files.append(path)
        return path

    async def put(self, name: str, source: bytes | Path) -> str:
        asked = f"{self.prefix}/{name}"
        key = await self.store.put(asked, source if isinstance(source, Path) else self.file(source))
        self._kept.add(key)
        self.keeps_names = self.keeps_names and key == asked
        return key

    async def clear(self) -> None:
        for key in self._kept:
            await self.store.delete(key)
        if self._kept and self.keeps_names:
            await self.store.delete(f"{self.prefix}/")
        for file in self._files:
            file.unlink()


async def digest_of(store: Store, key: str) -> bytes:
    """SHA-256 of an object's bytes."""
    digest = hashlib.sha256()
    async for chunk in store.open(key):
        digest.update(chunk)
    return digest.digest()


async def large_objects(bench: Bench, size: int) -> list[str]:
    """Bytes that tell where they are: each eight say their own number."""
    source = bench.file(b"")
    with source.open("wb") as file:
        for start in range(0, size, MEBIBYTE):
            file.write(_numbered(start, min(start + MEBIBYTE, size)))
    expected = await asyncio.to_thread(_sum, source)
    key = await bench.put("large", source)
    found = [] if await digest_of(bench.store, key) == expected else ["a large object came back other than it went in"]
    stat = await bench.store.stat(key)
    if stat is None or stat.bytes != size:
        found.append(f"stat does not say {size} bytes")
    for start in (size // 2 - 5, size - MEBIBYTE - 3, *range(64 * MEBIBYTE - 4, size, 64 * MEBIBYTE)):
        if await read(bench.store, key, start, start + 9) != _numbered(start, min(start + 9, size)):
            found.append(f"the range from {start} of a large object is wrong")
    task = asyncio.ensure_future(bench.put("cut", source))
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    stat = await bench.store.stat(f"{bench.prefix}/cut") if bench.keeps_names else None
    return found if stat is None or stat.bytes == size else [*found, "an interrupted large put left half an object"]


def _numbered(start: int, end: int) -> bytes:
    first = start // 8
    return array("Q", range(first, (end + 7) // 8)).tobytes()[start - first * 8 : end - first * 8]


def _sum(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
