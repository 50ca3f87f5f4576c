"""Folders in the store that no row knows: looked for a few thousand at a time, and first put aside.

A round goes over all folders before anything is touched. Where more than a hundredth of them is orphaned it is not
crashes that made them so, but a database that was restored from an older day: then nothing is touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

import structlog

from chipmunk import ids, leftovers, metrics
from compressor.inbox import disk
from compressor.parts import Parts

BATCH = 1000
SHARE = 0.01
TOLERATED = 20
log = structlog.get_logger()


class Orphans:
    """One walk over the store, which goes on where it stopped."""

    def __init__(self, parts: Parts, least_age: float) -> None:
        self._parts = parts
        self._least_age = least_age
        self._quarantine = parts.store.root / ".quarantine"
        self._walk: Iterator[Path] | None = None
        self._seen = 0
        self._found: dict[UUID, Path] = {}

    async def look(self, most: int) -> int:
        """Looks at the next `most` folders; at the end of a round puts the orphaned aside and returns how many."""
        if self._walk is None:
            self._walk, self._seen, self._found = self._parts.store.folders(), 0, {}
        left = most
        while left > 0:
            folders = await asyncio.to_thread(lambda walk, n: list(islice(walk, n)), self._walk, min(BATCH, left))
            if not folders:
                self._walk = None
                return await self._judge()
            left -= len(folders)
            self._seen += len(folders)
            self._found |= await self._orphaned(folders)
        return 0

    async def _orphaned(self, folders: list[Path]) -> dict[UUID, Path]:
        named = {identifier: f for f in folders if (identifier := ids.parse_id(f.name)) is not None}
        async with self._parts.database.connection() as connection:
            unknown = await leftovers.unknown(connection, list(named))
        return {i: named[i] for i in unknown if await asyncio.to_thread(_age, named[i]) >= self._least_age}

    async def _judge(self) -> int:
        if len(self._found) > max(TOLERATED, SHARE * self._seen):
            metrics.SWEEPS_REFUSED.inc()
            log.error("too many folders are orphaned to take any", orphaned=len(self._found), folders=self._seen)
            return 0
        still = await self._orphaned(list(self._found.values()))
        for identifier, folder in still.items():
            await asyncio.to_thread(self._put_aside, identifier, folder)
        return len(still)

    def _put_aside(self, identifier: UUID, folder: Path) -> None:
        with disk():
            self._quarantine.mkdir(exist_ok=True, mode=0o700)
            folder.rename(self._quarantine / f"{int(time.time())}-{identifier.hex}")

    def quarantined(self, before: float) -> list[Path]:
        """What was put aside before that Unix time."""
        if not self._quarantine.exists():
            return []
        return [p for p in self._quarantine.iterdir() if p.name.partition("-")[0].isdigit() and _since(p) <= before]


def _since(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _age(folder: Path) -> float:
    """Seconds since the folder got its name or its last file; 0 where it is gone."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return 0
    return time.time() - max(found.st_mtime, found.st_ctime)
