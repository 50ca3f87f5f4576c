"""The jobs that bring media to where they are to lie: one media's after its upload, and a whole flow's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from uuid import UUID

import structlog

from chipmunk import backends, copies, jobs
from chipmunk.copies import LEAVE_AFTER
from chipmunk.errors import Lost, Unavailable
from chipmunk.jobs import Job
from compressor.inbox import DiskFailed
from compressor.parts import Parts
from compressor.placing import settle
from compressor.together import side_by_side

BATCH = 200
AT_ONCE = 4
TOLD_SECONDS = 1.0
log = structlog.get_logger()


async def copy(parts: Parts, job: Job) -> bool:
    """The job of a media whose bytes are not yet where they should be."""
    return job.media_id is None or await settle(parts, job.media_id)


@dataclass
class Progress:
    """Media of the flow: how many there are, how many lie where they should, how many could not be brought there yet."""

    total: int = 0
    done: int = 0
    failed: int = 0


async def move(parts: Parts, job: Job) -> bool:
    """The job of a flow that moves: every media of it comes to lie where the flow says.

    Views are served throughout. What was done stays done when the job is cancelled or its worker dies; the next attempt
    goes on with the rest. False while stores are away or copies have to wait: it has to run again.
    """
    moving = Moving(parts, job)
    waiting = await moving.over([i async for i in _of_flow(parts, job.payload["flow"])], place=True)
    if waiting and not moving.cancelled:
        await asyncio.sleep(LEAVE_AFTER.total_seconds())
        waiting = await moving.over(waiting, place=False)
    return moving.cancelled or not waiting


async def _of_flow(parts: Parts, flow: int) -> AsyncIterator[UUID]:
    after: UUID | None = None
    while True:
        async with parts.database.connection() as connection:
            batch = await copies.of_flow(connection, flow, after, BATCH)
        for identifier in batch:
            yield identifier
        if len(batch) < BATCH:
            return
        after = batch[-1]


class Moving:
    """One attempt at a move."""

    def __init__(self, parts: Parts, job: Job) -> None:
        self._parts = parts
        self._job = job
        self._progress = Progress()
        self._told = 0.0
        self.cancelled = False

    async def over(self, identifiers: list[UUID], *, place: bool) -> list[UUID]:
        """Goes over media, a few at once; returns those that something is left to do for."""
        async with self._parts.database.connection() as connection:
            pinned = bool(self._parts.settings.backends)
            wanted = await backends.wanted(connection, self._job.payload["flow"], pinned=pinned)
        if place:
            self._progress = Progress(total=len(identifiers))
        self._progress.failed = 0
        todo, waiting = iter(identifiers), []

        async def work() -> None:
            for identifier in todo:
                if self.cancelled:
                    return
                if place:
                    async with self._parts.database.transaction() as connection:
                        await copies.place(connection, identifier, wanted)
                if await self._settled(identifier):
                    self._progress.done += 1
                else:
                    waiting.append(identifier)
                await self._tell()

        await side_by_side([work() for _ in range(AT_ONCE)])
        await self._tell(now=True)
        return waiting

    async def _settled(self, identifier: UUID) -> bool:
        try:
            return await settle(self._parts, identifier)
        except (Unavailable, Lost, DiskFailed) as e:
            self._progress.failed += 1
            log.warning("a media could not be moved yet", media=identifier.hex, why=str(e))
            return False

    async def _tell(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._told < TOLD_SECONDS:
            return
        self._told = time.monotonic()
        async with self._parts.database.connection() as connection:
            self.cancelled = not await jobs.advance(connection, self._job.id, asdict(self._progress))
