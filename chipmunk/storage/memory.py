"""A store in memory: for the linter's own test, and for trying things out. It keeps nothing for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from chipmunk.storage import Missing, Stat, check_key


class MemoryStore:
    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}

    async def put(self, key: str, source: Path) -> str:
        data = await asyncio.to_thread(source.read_bytes)
        self._objects[check_key(key)] = (data, datetime.now(UTC))
        return key

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if check_key(key) not in self._objects:
            raise Missing()
        yield self._objects[key][0][start:end]

    async def stat(self, key: str) -> Stat | None:
        found = self._objects.get(check_key(key))
        return None if found is None else Stat(len(found[0]), found[1])

    async def delete(self, key: str) -> None:
        check_key(key, folder=True)
        if key.endswith("/"):
            for below in [k for k in self._objects if k.startswith(key)]:
                del self._objects[below]
        self._objects.pop(key, None)
