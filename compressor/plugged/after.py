"""The after_ingest job: asks one plug-in about one media, and keeps what it says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chipmunk import copies, ids, media, tagging
from chipmunk.backends import LOCAL
from chipmunk.errors import Lost, NotFound
from chipmunk.hooks import Ingested
from chipmunk.jobs import Job
from chipmunk.media import Media
from chipmunk.operations.tagging import MOST_TAGS
from compressor import placing
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
    """The original on this disk, brought here for the while where it lies elsewhere alone."""
    here = parts.store.path(ids.folder(found.id)) / ORIGINAL
    if here.exists():
        yield here
        return
    async with parts.inbox.folder() as folder:
        yield await _brought(parts, found, folder)


async def _brought(parts: Parts, found: Media, folder: Path) -> Path:
    """A file with the bytes of the first copy that is whole."""
    async with parts.database.connection() as connection:
        rows = await copies.of_media(connection, found.id)
    for source in rows:
        if source.state != "stored" or source.backend == LOCAL or ORIGINAL not in source.objects:
            continue
        path = folder / str(source.backend)
        try:
            store = await parts.stores.of_media(source.backend, found.id, plain=source.cid is not None)
            await placing.fetch(store, source.objects[ORIGINAL].key, path)
            if await asyncio.to_thread(_digest, path) == found.sha256:
                return path
        except NotFound:
            continue
    raise Lost(media=found.id.hex)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
