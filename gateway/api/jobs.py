"""Jobs: looked at, and cancelled where that may be."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import audit, images_jobs, jobs, media
from chipmunk.db import Connection
from chipmunk.jobs import Job
from chipmunk.operations import answers
from gateway.api.call import Call, listed, put

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
        if job.kind == jobs.IMAGES:
            await images_jobs.cancel(connection, job.id)
        if job.media_id is not None:
            await media.failed(connection, job.media_id, CANCELLED)
        await _noted(call, connection, "job.cancelled", job)
    return put(answers.job(job))


async def _noted(call: Call, connection: Connection, action: str, job: Job) -> None:
    """What is done to a job is the log's of its app, whoever does it."""
    changes = {"job": job.id.hex, "kind": job.kind}
    await audit.note(
        connection, audit.by(call.known), action, app=job.app_id, user=job.user_id, media=job.media_id, changes=changes
    )


async def retry_job(call: Call) -> Response:
    """Has the images that failed worked on once more, under the ids that they have."""
    identifier = call.id("job")
    async with call.changing() as connection:
        await jobs.get(connection, call.within, identifier, call.key)
        begun = await images_jobs.retry(connection, identifier)
        job = await jobs.get(connection, call.within, identifier, call.key)
        if begun:
            await _noted(call, connection, "job.retried", job)
        return put(answers.job(job), 202)


async def list_job_images(call: Call) -> Response:
    identifier, limit, after = call.id("job"), call.limit(), call.after_number()
    async with call.reading() as connection:
        await jobs.get(connection, call.within, identifier, call.key)
        found = await images_jobs.images(connection, identifier, after, limit + 1)
    return listed(found, limit, answers.job_image, "number", lambda image: str(image.position))
