"""The fetch job: a file from a URL becomes the media whose id and link were told when the job was made."""

from __future__ import annotations

from uuid import UUID

from chipmunk import audit, images_jobs, jobs, posting, quotas
from chipmunk.db import Connection
from chipmunk.jobs import Job
from compressor.attempts import Ended, attempt
from compressor.doors import from_url
from compressor.ingest import Upload
from compressor.parts import Parts


async def fetch(parts: Parts, job: Job) -> None:
    """Stores the media and completes the job at once, so that it is stored once, however often a worker dies of it."""
    await attempt(parts, job, _fetched)


async def _fetched(parts: Parts, job: Job, identifier: UUID, user: int, holder: UUID) -> None:
    given = job.payload
    async with parts.database.connection() as connection:
        flows = await posting.again(connection, job.app_id or 0, user, given["flows"], by_app=given["by_app"])
        held = await quotas.renew(connection, user, identifier)
    if held is None:
        held = from_url.LEAST
        await quotas.reserve(parts.database, user, held, 1, media=identifier)

    async def tell(done: int, total: int | None) -> None:
        progress = {"done_bytes": done} | ({} if total is None else {"total_bytes": total})
        async with parts.database.connection() as connection:
            if not await jobs.advance(connection, job.id, progress):
                raise Ended
            if done == total:
                await images_jobs.fetched(connection, job)

    async def stored(connection: Connection) -> None:
        await images_jobs.stored(connection, job)
        if not await jobs.complete(connection, job.id, holder):
            raise Ended

    async with parts.inbox.folder() as folder:
        upload = Upload(
            folder=folder,
            length=0,
            app=job.app_id or 0,
            user=user,
            flows=flows,
            by=audit.beginner(user, by_app=given["by_app"]),
            filename=None,
            ticket=identifier,
            held=held,
            key=None,
            origin={"url": given["url"], "page": given["page"]},
            token=UUID(hex=given["token"]),
            also=stored,
        )
        await from_url.take(parts, upload, given["url"], tell)
