"""The end of a resumable upload: it becomes a media, is refused for good, or is taken away. Again is fine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

from chipmunk import audit, metrics, posting, quotas, uploads
from chipmunk.db import Connection
from chipmunk.errors import Locked, NotFound, Problem, Unavailable
from chipmunk.flows import Flow
from chipmunk.uploads import Upload
from compressor import ingest, tus_state
from compressor.holding import take_leftover
from compressor.inbox import ORIGINAL, disk
from compressor.leases import Lease
from compressor.part_files import PartFile
from compressor.parts import Parts

DOOR = "tus"
PASSING = (Locked, NotFound)  # what a holder meets that was overtaken


async def finish(parts: Parts, lease: Lease) -> None:
    """Makes a media of an upload that has all its bytes. What refuses it for good ends it; with a 5xx it waits."""
    began = time.monotonic()
    try:
        async with lease.kept():
            if not lease.upload.whole:
                await _join(parts, lease)
            await _ingest(parts, lease)
    except Problem as problem:
        if problem.status < 500 and not isinstance(problem, PASSING):
            await refuse(parts, lease, problem)
        raise
    async with parts.database.connection() as connection:
        found = await uploads.find(connection, lease.upload.id)
    if found is None or found.state != "stored":
        raise Unavailable("The upload was not stored; ask for it again.")
    lease.upload = found
    await _take_files(parts, [found.id, *found.parts])
    metrics.UPLOADS.labels(DOOR, "stored").inc()
    metrics.UPLOAD_SECONDS.labels(DOOR).observe(time.monotonic() - began)


async def refuse(parts: Parts, lease: Lease, problem: Problem) -> None:
    """Ends an upload: of what was refused neither bytes nor quota stay."""
    await lease.fail(problem)
    async with parts.database.connection() as connection:
        await quotas.release(connection, lease.upload.id)
    await _take_files(parts, [lease.upload.id, *lease.upload.parts])
    metrics.UPLOADS.labels(DOOR, problem.code).inc()


async def remove(parts: Parts, identifier: UUID) -> None:
    """Takes an upload and all that was kept for it. A media that it has become stays. Locked while it becomes one."""
    async with parts.database.transaction() as connection:
        await quotas.release(connection, identifier)
        gone = await uploads.remove(connection, identifier)
        if not gone and await uploads.find(connection, identifier) is not None:
            raise Locked(upload=identifier.hex)
        for part in gone:
            await quotas.release(connection, part)
    await _take_files(parts, gone)


async def _join(parts: Parts, lease: Lease) -> None:
    """Makes the file of a final upload out of those of its parts."""
    upload = lease.upload
    file = PartFile(parts.part_files.folder(upload.id), lease.fresh)
    try:
        await lease.surely(file.open, 0)
        await lease.surely(file.fill, [parts.part_files.original(part) for part in upload.parts])
        await lease.surely(file.sync)
    finally:
        await asyncio.shield(asyncio.to_thread(file.close))
    await lease.record(upload.length or 0)


async def _ingest(parts: Parts, lease: Lease) -> None:
    upload = lease.upload
    found = await _place(parts, upload)
    await take_leftover(parts, upload.id)

    async def stored(connection: Connection) -> None:
        if not await uploads.stored(connection, upload.id, lease.holder):
            raise Unavailable("Another request goes on with this upload.")

    async with parts.inbox.folder() as folder:
        with disk():
            await asyncio.to_thread(parts.part_files.link, upload.id, folder / ORIGINAL)
        whole = ingest.Upload(
            folder=folder,
            length=upload.offset,
            app=upload.app_id,
            user=upload.user_id,
            flows=found,
            by=audit.beginner(upload.user_id, by_app=upload.by_app),
            filename=upload.filename,
            ticket=upload.id,
            held=None,
            key=None,
            also=stored,
        )
        await ingest.ingest(parts, whole)


async def _place(parts: Parts, upload: Upload) -> list[Flow]:
    """The flows that it goes to, and its place in the quota, which an attempt that failed has given back."""
    size = tus_state.reserved(upload.offset, upload.concat)
    async with parts.database.connection() as connection:
        found = await posting.again(connection, upload.app_id, upload.user_id, upload.flows, by_app=upload.by_app)
        has_place = await quotas.extend(connection, upload.id, quotas.lifetime(upload.offset))
    if not has_place:
        await quotas.reserve(parts.database, upload.user_id, size, upload.offset, media=upload.id)
    return found


async def _take_files(parts: Parts, gone: Sequence[UUID]) -> None:
    with disk():
        await asyncio.to_thread(parts.part_files.remove, gone)
