"""The jobs that bring media to where they are to lie: one media's after its upload, and a whole flow's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from uuid import UUID

import asyncpg
import structlog

from chipmunk import backends, copies, jobs, whereabouts
from chipmunk.backend_fields import Role
from chipmunk.copies import LEAVE_AFTER
from chipmunk.errors import Lost, Problem, Unprocessable
from chipmunk.jobs import Job
from chipmunk.vault import CannotOpen
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
    goes on with the rest. False while stores are away or copies have to wait: it has to run again. Unprocessable where
    nothing but lost media is left.
    """
    moving = Moving(parts, job)
    await moving.over(place=True)
    if moving.waiting and not moving.cancelled:
        await asyncio.sleep(LEAVE_AFTER.total_seconds())
        await moving.over(place=False)
    if moving.waiting and moving.waiting == moving.lost and not moving.cancelled:
        raise Unprocessable(f"Of {moving.lost} media no copy is whole; all others lie where the flow says.")
    return moving.cancelled or not moving.waiting


class Moving:
    """One attempt at a move."""

    def __init__(self, parts: Parts, job: Job) -> None:
        self._parts = parts
        self._job = job
        self._progress = Progress()
        self._told = 0.0
        self.waiting = self.lost = 0
        self.cancelled = False

    async def over(self, *, place: bool) -> None:
        """Goes over the flow a page at a time: says of all where they are to lie and brings them there, or sees to what
        is left to do. `waiting` is how many it is left to do for, `lost` how many of these have no whole copy."""
        flow, after = self._job.payload["flow"], UUID(int=0)
        pinned = bool(self._parts.settings.backends)
        self.waiting = self.lost = self._progress.failed = 0
        while not self.cancelled:
            async with self._parts.database.connection() as connection:
                if place and not self._progress.total:
                    self._progress.total = await whereabouts.count_of_flow(connection, flow)
                wanted = await backends.wanted(connection, flow, pinned=pinned)
                page = await whereabouts.of_flow(connection, flow, after, BATCH, only_unsettled=not place)
            await self._page(page, wanted if place else None)
            if len(page) < BATCH:
                break
            after = page[-1]
        await self._tell(now=True)

    async def _page(self, page: list[UUID], wanted: dict[int, Role] | None) -> None:
        todo = iter(page)

        async def work() -> None:
            for identifier in todo:
                if self.cancelled:
                    return
                if await self._settled(identifier, wanted):
                    self._progress.done += 1
                    self._progress.total = max(self._progress.total, self._progress.done)
                else:
                    self.waiting += 1
                await self._tell()

        await side_by_side([work() for _ in range(AT_ONCE)])

    async def _settled(self, identifier: UUID, wanted: dict[int, Role] | None) -> bool:
        try:
            if wanted is not None:
                async with self._parts.database.transaction() as connection:
                    await copies.place(connection, identifier, wanted)
            return await settle(self._parts, identifier)
        except (Problem, CannotOpen, DiskFailed, asyncpg.PostgresError) as e:
            self._progress.failed += 1
            self.lost += isinstance(e, Lost)
            log.warning("a media could not be moved yet", media=identifier.hex, why=str(e))
            return False

    async def _tell(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._told < TOLD_SECONDS:
            return
        self._told = time.monotonic()
        async with self._parts.database.connection() as connection:
            self.cancelled = not await jobs.advance(connection, self._job.id, asdict(self._progress))
