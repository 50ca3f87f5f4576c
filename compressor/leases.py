"""Holding a resumable upload: one request, in one process, appends to it or ingests it at a time.

The lease lies in the upload's row. It is renewed while bytes come or work goes on, and runs out in seconds where its holder
has died or waits for bytes that do not come: then whoever asks next takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import ParamSpec
from uuid import UUID, uuid4

import structlog

from chipmunk import quotas, uploads
from chipmunk.errors import Locked, NotFound, Problem, Unavailable
from chipmunk.uploads import LEASE, Upload
from compressor.inbox import disk
from compressor.part_files import Short, Stale
from compressor.parts import Parts

SURE_SECONDS = LEASE.total_seconds() * 2 / 3  # so long after it was asked for a lease is believed unasked
RENEW_SECONDS = LEASE.total_seconds() / 3
POLL_SECONDS = 0.05
OPEN_SECONDS = LEASE.total_seconds() + 0.5  # one that gets no bytes has lost it by then
INGESTING_SECONDS = 10.0
P = ParamSpec("P")
log = structlog.get_logger()


class Lease:
    """An upload that is held, as it is now. Whatever it is told fails with Locked or NotFound once another has it."""

    def __init__(self, parts: Parts, upload: Upload, holder: UUID, life: timedelta | None, began: float) -> None:
        self.upload = upload
        self.holder = holder
        self._parts = parts
        self._life = life
        self._renewed = self._placed = began

    def fresh(self) -> bool:
        """Whether nobody can have taken over yet."""
        return monotonic() - self._renewed < SURE_SECONDS

    async def renew(self) -> None:
        began = monotonic()
        async with self._parts.database.connection() as connection:
            await self._still(connection, await uploads.keep(connection, self.upload.id, self.holder))
        self._renewed = began

    async def record(self, offset: int) -> None:
        """The bytes up to `offset` are on disk for good."""
        began, upload = monotonic(), self.upload
        async with self._parts.database.connection() as connection:
            done = await uploads.record(connection, upload.id, self.holder, upload.offset, offset, self._life)
            await self._still(connection, done)
            if self._life is not None and began - self._placed >= self._life.total_seconds() / 2:
                await quotas.extend(connection, upload.id, 2 * self._life)  # of a body that takes so long
                self._placed = began
        self.upload = _at(upload, offset, upload.length)
        if self._life is not None:
            self.upload = replace(self.upload, expires_at=datetime.now(UTC) + self._life)
        self._renewed = began

    async def declare(self, length: int) -> None:
        """The upload's length, which was not known before."""
        async with self._parts.database.connection() as connection:
            done = await uploads.declare(connection, self.upload.id, self.holder, length)
            await self._still(connection, done)
        self.upload = _at(self.upload, self.upload.offset, length)

    async def fail(self, problem: Problem) -> None:
        async with self._parts.database.connection() as connection:
            done = await uploads.fail(connection, self.upload.id, self.holder, problem.document())
            await self._still(connection, done)
        self.upload = replace(self.upload, state="failed", problem=problem.document())

    async def surely(self, do: Callable[P, None], *args: P.args, **named: P.kwargs) -> None:
        """Does something to the upload's file, in a thread, while the lease is certain."""
        while True:
            try:
                with disk():
                    await asyncio.to_thread(do, *args, **named)
            except Stale:
                await self.renew()
            except Short:
                log.error("an upload's file is shorter than its record", upload=self.upload.id.hex)
                raise Unavailable("The bytes of this upload cannot be found now.") from None
            else:
                return

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renews it until the end, whatever the work inside waits for."""
        renewing = asyncio.create_task(self._renew_on())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(Unavailable):
                await self.renew()

    async def _still(self, connection: object, done: bool) -> None:
        """Raises where something was not done: another holds the upload by now, or it is gone."""
        if done:
            return
        if await uploads.find(connection, self.upload.id) is None:
            raise NotFound("There is no such upload.", upload=self.upload.id.hex)
        raise Locked(upload=self.upload.id.hex)


def _at(upload: Upload, offset: int, length: int | None) -> Upload:
    """The upload as its row says it is now."""
    ends = offset == length and upload.concat != "partial"
    return replace(upload, offset=offset, length=length, state="ingesting" if ends else upload.state)


@asynccontextmanager
async def held(parts: Parts, identifier: UUID, life: timedelta | None = None) -> AsyncIterator[Lease]:
    """Holds an upload until the end. With a `life` it expires so much later than now, and than each record.

    Where it has ended (stored, failed) nothing is held. Locked where another goes on with it.
    """
    holder = uuid4()
    lease = await _taken(parts, identifier, holder, life)
    try:
        yield lease
    finally:
        if lease.upload.state in ("open", "ingesting"):
            await asyncio.shield(_let_go(parts, identifier, holder))


async def _let_go(parts: Parts, identifier: UUID, holder: UUID) -> None:
    with suppress(Unavailable):
        async with parts.database.connection() as connection:
            await uploads.let_go(connection, identifier, holder)


async def _taken(parts: Parts, identifier: UUID, holder: UUID, life: timedelta | None) -> Lease:
    deadline: float | None = None
    first: Upload | None = None
    while True:
        began = monotonic()
        async with parts.database.connection() as connection:
            upload = await uploads.take(connection, identifier, holder, life)
            if upload is not None:
                return Lease(parts, upload, holder, life, began)
            found = await uploads.find(connection, identifier)
        if found is None:
            raise NotFound("There is no such upload.", upload=identifier.hex)
        if found.state in ("stored", "failed"):
            return Lease(parts, found, holder, life, began)
        first, deadline = first or found, deadline or began + patience(found)
        if _goes_on(first, found) or monotonic() >= deadline:
            raise Locked(upload=identifier.hex)
        await asyncio.sleep(POLL_SECONDS)


def patience(upload: Upload) -> float:
    """How many seconds a holder is waited for."""
    return INGESTING_SECONDS if upload.state == "ingesting" else OPEN_SECONDS


def _goes_on(first: Upload, now: Upload) -> bool:
    """Whether the holder that was there at first has got bytes since."""
    return now.state == "open" and now.holder == first.holder and now.held_until != first.held_until


async def released(parts: Parts, upload: Upload) -> Upload:
    """The upload once nobody appends to it, so that its offset stands; as it is then where that takes too long."""
    deadline = monotonic() + OPEN_SECONDS
    while upload.state == "open" and upload.held and monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        async with parts.database.connection() as connection:
            found = await uploads.find(connection, upload.id)
        if found is None:
            raise NotFound("There is no such upload.", upload=upload.id.hex)
        upload = found
    return upload
