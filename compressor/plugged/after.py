"""The after_ingest job: asks one plug-in about one media, and keeps what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chipmunk import media, tagging
from chipmunk.hooks import Ingested
from chipmunk.jobs import Job
from chipmunk.media import Media
from chipmunk.operations.tagging import MOST_TAGS
from compressor import originals
from compressor.inbox import ORIGINAL, disk
from compressor.parts import Parts


async def after_ingest(parts: Parts, job: Job) -> None:
    """Again is fine: a tag that the media has already is not given twice."""
    assert job.media_id is not None
    async with parts.database.connection() as connection:
        found = await media.find(connection, job.media_id)
    if found is None or found.state == "deleted":
        return
    ingested = Ingested(
        found.id.hex, found.kind, found.mime, found.bytes, found.sha256.hex(), found.filename, tuple(found.flows)
    )
    async with _original(parts, found) as path:
        with disk():
            tags = await parts.plugged.after_ingest(job.payload["plugin"], ingested, path)
    if tags:
        await _tag(parts, found, tags)


async def _tag(parts: Parts, found: Media, tags: tuple[str, ...]) -> None:
    async with parts.database.transaction() as connection:
        locked = await media.lock(connection, found.id)
        if locked is not None and locked.trashed_at is None:
            every = tagging.distinct([*locked.tags, *tags])[:MOST_TAGS]
            await tagging.change(connection, found.app_id, found.id, None, {"tags": every})


@asynccontextmanager
async def _original(parts: Parts, found: Media) -> AsyncIterator[Path]:
    """The original on this disk, for the while."""
    async with parts.inbox.folder() as folder:
        await originals.bring(parts, found, folder / ORIGINAL)
        yield folder / ORIGINAL
