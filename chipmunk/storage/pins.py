"""What a store that is addressed by content counts: which names each content is kept for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Pin:
    """A name and the content that is kept for it."""

    name: str
    cid: str
    bytes: int
    since: datetime


class Pins(Protocol):
    """What of ours the node has pinned, and under which names."""

    async def taken(self, cid: str, name: str, length: int) -> bool:
        """Notes it, before it is pinned, but not while the same content is being unpinned. False where it was noted."""
        ...

    def released(self, cid: str, name: str) -> AbstractAsyncContextManager[bool]:
        """Forgets it: True where no other name has this content. Holds off `taken` until the block ends, and forgets
        nothing if that raises."""
        ...

    async def of(self, cid: str) -> list[Pin]:
        """All of this content."""
        ...

    def below(self, prefix: str) -> AsyncIterator[Pin]:
        """All whose name begins so."""
        ...


class MemoryPins:
    """For tests, and for trying things out."""

    def __init__(self) -> None:
        self._pins: dict[tuple[str, str], Pin] = {}
        self._lock = asyncio.Lock()

    async def taken(self, cid: str, name: str, length: int) -> bool:
        async with self._lock:
            is_new = (cid, name) not in self._pins
            if is_new:
                self._pins[cid, name] = Pin(name, cid, length, datetime.now(UTC))
            return is_new

    @asynccontextmanager
    async def released(self, cid: str, name: str) -> AsyncIterator[bool]:
        async with self._lock:
            yield not any(c == cid and n != name for c, n in self._pins)
            self._pins.pop((cid, name), None)

    async def of(self, cid: str) -> list[Pin]:
        return [pin for pin in self._pins.values() if pin.cid == cid]

    async def below(self, prefix: str) -> AsyncIterator[Pin]:
        for pin in [pin for pin in self._pins.values() if pin.name.startswith(prefix)]:
            yield pin
