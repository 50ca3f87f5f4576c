"""The job of a presigned upload that was completed: what was sent becomes the media whose id was told when it was begun."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

from chipmunk import audit, images_jobs, jobs, metrics, posting, presigned, quotas
from chipmunk.db import Connection
from chipmunk.errors import NotFound, Problem
from chipmunk.jobs import Job
from chipmunk.presigned import Upload
from compressor import incoming, ingest
from compressor.admission import room
from compressor.completing import DOOR, completed
from compressor.holding import take_leftover
from compressor.incoming import room_of
from compressor.parts import Parts

TELL_SECONDS = 1.0


class Ended(Exception):
    """Another worker goes on with the job."""


async def collect(parts: Parts, job: Job) -> None:
    """Stores the media and completes the job at once, so that it is stored once, however often a worker dies of it."""
    if job.media_id is None:
        return
    holder, began = uuid4(), time.monotonic()
    async with parts.database.connection() as connection:
        if not await jobs.hold(connection, job.id, holder):
            return
        upload = await presigned.find(connection, job.media_id)
    if upload is not None and upload.state == "open" and job.part_of is not None:
        await completed(parts, upload, {}, job.id)
        async with parts.database.connection() as connection:
            upload = await presigned.find(connection, upload.id)
    if upload is None or upload.state != "ingesting":
        raise NotFound("There is no such upload any more.", upload=job.media_id.hex)
    try:
        await _collected(parts, job, upload, holder)
    except Ended:
        return
    except Problem as e:
        if e.status < 500 and not e.passing:
            metrics.UPLOADS.labels(DOOR, e.code).inc()
            await incoming.refuse(parts, upload, e)
        raise
    metrics.UPLOADS.labels(DOOR, "stored").inc()
    metrics.UPLOAD_BYTES.labels(DOOR).inc(upload.length or 0)
    metrics.UPLOAD_SECONDS.labels(DOOR).observe(time.monotonic() - began)
    await incoming.clear(parts, upload)


async def _collected(parts: Parts, job: Job, upload: Upload, holder: UUID) -> None:
    length, told_at = upload.length or 0, time.monotonic()
    async with parts.database.connection() as connection:
        flows = await posting.again(connection, upload.app_id, upload.user_id, upload.flows, by_app=upload.by_app)
    held = await incoming.hold_place(parts, upload.id, upload.user_id, room_of(length), quotas.lifetime(length))
    await take_leftover(parts, upload.id)

    async def tell(done: int) -> None:
        nonlocal told_at
        if done < length and time.monotonic() - told_at < TELL_SECONDS:
            return
        told_at = time.monotonic()
        async with parts.database.connection() as connection:
            if not await jobs.advance(connection, job.id, {"done_bytes": done, "total_bytes": length}):
                raise Ended
            if done >= length:
                await images_jobs.fetched(connection, job)

    async def stored(connection: Connection) -> None:
        await images_jobs.stored(connection, job)
        if not await jobs.complete(connection, job.id, holder) or not await presigned.stored(connection, upload.id):
            raise Ended

    room(parts, 0 if upload.backend is None else length)
    async with parts.inbox.folder() as folder:
        taken = ingest.Upload(
            folder=folder,
            length=length,
            app=upload.app_id,
            user=upload.user_id,
            flows=flows,
            by=audit.beginner(upload.user_id, by_app=upload.by_app),
            filename=upload.filename,
            ticket=upload.id,
            held=held,
            key=None,
            meta=upload.meta or None,
            token=UUID(hex=job.payload["token"]) if "token" in job.payload else None,
            also=stored,
        )
        await incoming.take(parts, upload, taken.original, tell)
        await ingest.ingest(parts, taken)
