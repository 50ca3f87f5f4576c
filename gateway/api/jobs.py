"""Jobs: looked at, and cancelled where that may be."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from chipmunk import jobs, media
from chipmunk.jobs import Job
from gateway.api.call import Call, put, when


def shown(job: Job) -> dict[str, Any]:
    return {
        "id": job.id.hex,
        "kind": job.kind,
        "state": job.state,
        "attempts": job.attempts,
        "reason": job.reason,
        "media": None if job.media_id is None else job.media_id.hex,
        "created_at": when(job.created_at),
        "started_at": when(job.started_at),
        "finished_at": when(job.finished_at),
    }


async def get_job(call: Call) -> Response:
    call.need("view")
    async with call.parts.database.connection() as connection:
        return put(shown(await jobs.get(connection, call.app, call.id("job"), call.key)))


async def delete_job(call: Call) -> Response:
    call.need("manage")
    async with call.transaction() as connection:
        job = await jobs.cancel(connection, call.app, call.id("job"), call.key)
        if job.media_id is not None:
            await media.failed(connection, job.media_id, "cancelled")
    if job.media_id is not None:
        await call.publish(f"media:{job.media_id.hex}")
    return put(shown(job))
