"""Purging: every byte of a media, then its quota and its row; of a deleted user or app, everything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from chipmunk import apps, copies, ids, jobs, leftovers, media, presigned, revocations, uploads, users
from chipmunk.errors import Locked, Problem
from chipmunk.jobs import Job
from chipmunk.storage import StoreUnavailable
from compressor import finishing, incoming, placing
from compressor.inbox import DiskFailed, disk
from compressor.parts import Parts

BATCH = 100
PATIENCE_SECONDS = 2.0
log = structlog.get_logger()


async def bytes_of(parts: Parts, identifier: UUID) -> None:
    """Takes a deleted media's folder, its copies elsewhere, then its row. Again is fine, also at the same time.

    StoreUnavailable where a store is not to be had; then its row stays, and has it tried again.
    """
    with disk():
        await parts.store.delete(f"{ids.folder(identifier)}/")
    async with parts.database.connection() as connection:
        rows = await copies.of_media(connection, identifier)
    failure: StoreUnavailable | None = None
    for row in rows:
        try:
            await placing.remove(parts, row)
        except StoreUnavailable as e:
            failure = failure or e
            continue
        async with parts.database.transaction() as connection:
            await copies.forget(connection, identifier, row.backend)
    if failure is not None:
        raise failure
    async with parts.database.transaction() as connection:
        await media.purge(connection, identifier)


async def now(parts: Parts, identifier: UUID, job: UUID) -> None:
    """Purges before the caller is answered; where that fails or takes long, the job does it."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await bytes_of(parts, identifier)
        async with parts.database.connection() as connection:
            await jobs.end(connection, job, "completed")
    except (Problem, DiskFailed, TimeoutError):
        log.warning("media not purged yet; its job will", media=identifier.hex, job=job.hex)


async def purge_media(parts: Parts, job: Job) -> None:
    """The job of a media that was deleted."""
    if job.media_id is not None:
        await bytes_of(parts, job.media_id)


async def _media_of(parts: Parts, user: int) -> None:
    """Takes all media of a deleted user; StoreUnavailable, once all others are gone, where a store has kept some."""
    failure: StoreUnavailable | None = None
    after = UUID(int=0)
    while True:
        async with revocations.revoking(parts.database, parts.redis) as connection:
            going = await leftovers.deleted_of(connection, user, BATCH, after)
        if not going:
            break
        after = going[-1]
        for identifier in going:
            try:
                await bytes_of(parts, identifier)
            except StoreUnavailable as e:
                failure = failure or e
    if failure is not None:
        raise failure


async def purge_user(parts: Parts, job: Job) -> bool:
    """The job of a user who was deleted. False while uploads of theirs are under way: it has to run again."""
    if job.user_id is None:
        return True
    await _media_of(parts, job.user_id)
    async with parts.database.connection() as connection:
        begun = await uploads.of_user(connection, job.user_id)
    for identifier in begun:
        with suppress(Locked):
            await finishing.remove(parts, identifier)
    async with parts.database.connection() as connection:
        sent = await presigned.of_user(connection, job.user_id)
    for upload in sent:
        await incoming.remove(parts, upload)
    async with parts.database.transaction() as connection:
        return await users.forget(connection, job.user_id)


async def purge_app(parts: Parts, job: Job) -> bool:
    """The job of an app that was deleted: its users have jobs of their own. False until all have ended."""
    app = job.payload["app"]
    async with parts.database.transaction() as connection:
        await users.enqueue_purges(connection, app)
        return await apps.forget(connection, app)
