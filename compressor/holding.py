"""What an upload holds while it is ingested: its reservation, its Idempotency-Key, and the place of its folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from chipmunk import idempotency, ids, media, quotas
from chipmunk.errors import Problem, Unavailable
from chipmunk.idempotency import Answer
from compressor.inbox import DiskFailed, disk
from compressor.parts import Parts

RENEW_SECONDS = 30.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Place:
    """What a body of `length` bytes takes of a user's quota. `held` is known to be reserved by the ticket already."""

    user: int
    length: int
    size: int
    ticket: UUID | None = None
    held: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """`media` is the id that the upload will have. `answer` is there where its key has been answered before."""

    parts: Parts
    user: int
    media: UUID
    key: str | None
    answer: Answer | None = None

    async def committed(self) -> bool:
        """Whether the media is stored; the answer is final, since without its reservation nothing can store it."""
        async with self.parts.database.connection() as connection:
            await quotas.release(connection, self.media)
            return await media.exists(connection, self.media)

    async def renew(self) -> None:
        async with self.parts.database.connection() as connection:
            await quotas.renew(connection, self.user, self.media)
            if self.key is not None:
                await idempotency.keep(connection, self.user, self.key, self.media)

    async def undo(self) -> None:
        """Gives everything back and takes the folder, unless the media is stored after all.

        Where PostgreSQL cannot be asked nothing is taken: the reservation runs out, and the sweep takes the folder.
        """
        try:
            if await self.committed():
                return
            if self.key is not None:
                async with self.parts.database.connection() as connection:
                    await idempotency.drop(connection, self.user, self.key, self.media)
            with disk():
                await self.parts.store.delete(f"{ids.folder(self.media)}/")
        except (Problem, DiskFailed):
            log.warning("an upload could not be undone now; the sweep will", media=self.media.hex)


async def take_leftover(parts: Parts, identifier: UUID) -> None:
    """Takes the folder of an attempt at this media that died before it could commit. Whoever calls this holds what the
    commit needs, so that none that came before can store it any more."""
    folder = f"{ids.folder(identifier)}/"
    with disk():
        if await asyncio.to_thread(parts.store.path(folder).exists):
            await parts.store.delete(folder)


@asynccontextmanager
async def holding(parts: Parts, place: Place, key: str | None, fingerprint: bytes) -> AsyncIterator[Hold]:
    """Holds the place and the key until the media is stored, and gives them back where it is not."""
    held, user, size = place.held, place.user, place.size
    if held is None and place.ticket is not None:
        async with parts.database.connection() as connection:
            held = await quotas.renew(connection, user, place.ticket)
    hold = Hold(parts, user, ids.new_id() if place.ticket is None or held is None else place.ticket, key)
    renewing, stored = asyncio.create_task(_renew(hold)), False
    try:
        if key is not None:
            async with parts.database.connection() as connection:
                hold = replace(hold, answer=await idempotency.claim(connection, user, key, fingerprint, hold.media))
        if hold.answer is None and held is None:
            await quotas.reserve(parts.database, user, size, place.length, media=hold.media)
        elif hold.answer is None and held != size:
            await quotas.resize(parts.database, hold.media, size)
        yield hold
        stored = hold.answer is None
    finally:
        renewing.cancel()
        if not stored:
            await asyncio.shield(hold.undo())


async def _renew(hold: Hold) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(Unavailable):
            await hold.renew()
