"""The end of a presigned upload: what was sent is looked at and charged, and a job makes a media of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chipmunk import jobs, metrics, presigned, quotas
from chipmunk.errors import Conflict, EmptyFile, Forbidden, Mismatch, QuotaExceeded, TooLarge, Unavailable
from chipmunk.presigned import Upload
from compressor import incoming, tus_state
from compressor.incoming import life, room_of
from compressor.leases import Lease, held
from compressor.parts import Parts

DOOR = "presigned"


async def completed(parts: Parts, upload: Upload, meta: dict[str, Any], job: UUID | None = None) -> UUID:
    """Charges what was sent, once, and returns the job that makes a media of it: a new one, or the one that is given."""
    if upload.suspended:
        raise Forbidden("This user is suspended.")
    async with held(parts, upload.id) as lease, lease.kept():
        if lease.upload.state == "failed":
            raise tus_state.failure(lease.upload)
        if lease.upload.state == "open":
            try:
                return await _charged(parts, upload, lease, meta, job)
            except (EmptyFile, TooLarge, QuotaExceeded, Mismatch) as e:
                metrics.UPLOADS.labels(DOOR, e.code).inc()
                await incoming.refuse(parts, upload, e)
                raise
        async with parts.database.connection() as connection:
            found = await presigned.find(connection, upload.id)
    if found is None or found.job is None:
        raise Unavailable()
    return found.job


async def _charged(parts: Parts, upload: Upload, lease: Lease, meta: dict[str, Any], job: UUID | None) -> UUID:
    length = await incoming.length(parts, upload)
    if length is None:
        raise Conflict("Nothing has been sent to the presigned URL yet.", upload=upload.id.hex)
    if length == 0:
        raise EmptyFile()
    if length > parts.settings.max_file_bytes:
        raise TooLarge(limit_bytes=parts.settings.max_file_bytes)
    if upload.length not in (None, length):
        raise Mismatch("What was sent has not the size that was announced; begin again.", upload=upload.id.hex)
    until = max(quotas.lifetime(length), life(parts))
    await incoming.hold_place(parts, upload.id, upload.user_id, room_of(length), until)
    async with parts.database.transaction() as connection:
        job = job or await jobs.enqueue(
            connection, jobs.COLLECT, app=upload.app_id, user=upload.user_id, media=upload.id, payload={"bytes": length}
        )
        if not await presigned.complete(connection, upload.id, lease.holder, length, meta, job):
            raise Unavailable("Another request goes on with this upload.")
    return job
