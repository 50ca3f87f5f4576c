"""Jobs: looked at, and cancelled where that may be."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import jobs, media
from chipmunk.operations import answers
from gateway.api.call import Call, put

CANCELLED = "cancelled"


async def get_job(call: Call) -> Response:
    identifier = call.id("job")
    async with call.reading() as connection:
        return put(answers.job(await jobs.get(connection, call.within, identifier, call.key)))


async def cancel_job(call: Call) -> Response:
    """The media of a cancelled job keeps the renditions that it has."""
    identifier = call.id("job")
    async with call.changing() as connection:
        job = await jobs.cancel(connection, call.within, identifier, call.key)
        if job.media_id is not None:
            await media.failed(connection, job.media_id, CANCELLED)
    return put(answers.job(job))
