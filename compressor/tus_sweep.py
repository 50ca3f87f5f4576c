"""What is left of resumable uploads: those that nobody came back to, those whose compressor died at the end, stray files."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from chipmunk import uploads
from chipmunk.errors import Locked, Problem
from chipmunk.uploads import LEASE
from compressor import finishing
from compressor.inbox import disk
from compressor.leases import held
from compressor.parts import Parts

BATCH = 1000
AT_ONCE = 20


async def expired(parts: Parts) -> int:
    """Takes expired uploads, with their bytes and what is reserved for them; returns how many."""
    async with parts.database.connection() as connection:
        found = await uploads.expired(connection, BATCH)
    for identifier in found:
        with suppress(Locked):
            await finishing.remove(parts, identifier)
    return len(found)


async def finish_abandoned(parts: Parts) -> None:
    """Ends uploads that have all their bytes, where whoever was at it died and nobody has asked since."""
    async with parts.database.connection() as connection:
        found = await uploads.abandoned(connection, LEASE, AT_ONCE)
    for identifier in found:
        with suppress(Problem):  # what refuses it is in its row; what failed for now is tried again at the next sweep
            async with held(parts, identifier) as lease:
                if lease.upload.state == "ingesting":
                    await finishing.finish(parts, lease)


async def stray(parts: Parts, least_age: float) -> int:
    """Takes files that no upload needs, once they are `least_age` seconds old; returns how many."""
    old = await asyncio.to_thread(parts.part_files.older_than, least_age)
    taken = 0
    for start in range(0, len(old), BATCH):
        async with parts.database.connection() as connection:
            gone = await uploads.without_need(connection, old[start : start + BATCH])
        with disk():
            await asyncio.to_thread(parts.part_files.remove, gone)
        taken += len(gone)
    return taken
