"""An attempt at a job that makes one media: of many, by whatever workers that die, one stores it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from chipmunk import jobs, media
from chipmunk.errors import NotFound
from chipmunk.jobs import Job
from compressor.holding import take_leftover
from compressor.parts import Parts

# Makes the media of this id for this user, as this holder of the job.
Making = Callable[[Parts, Job, UUID, int, UUID], Awaitable[None]]


class Ended(Exception):
    """The job was cancelled, or another worker goes on with it."""


async def attempt(parts: Parts, job: Job, make: Making) -> None:
    """Has the media made, once nobody else can any more; nothing where it is there."""
    if job.media_id is None or job.user_id is None:
        raise NotFound("There is no such user any more.")
    holder = uuid4()
    async with parts.database.connection() as connection:
        if not await jobs.hold(connection, job.id, holder) or await media.exists(connection, job.media_id):
            return
    await take_leftover(parts, job.media_id)
    try:
        await make(parts, job, job.media_id, job.user_id, holder)
    except Ended:
        return
