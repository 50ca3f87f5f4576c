"""The ladder job: rungs 4 to 6 of a media, and preview frames of one that moves.

They are made aside and renamed in while its row is locked and alive.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

from chipmunk import classes, copies, ids, jobs, media, metrics, quotas, renditions
from chipmunk.db import Connection
from chipmunk.errors import CorruptImage
from chipmunk.jobs import Job
from chipmunk.media import Media
from chipmunk.storage.local import sync_file, sync_folder
from compressor import sniff
from compressor.inbox import ORIGINAL, DiskFailed, disk
from compressor.parts import Parts

CANCELLED = "cancelled"


async def climb(parts: Parts, job: Job) -> None:
    """Finishes the ladder of the job's media and ends the job. Runs again to the same end, whenever it was stopped."""
    if job.media_id is None:
        return
    async with parts.database.connection() as connection:
        found = await media.find(connection, job.media_id)
        cap = await quotas.kept(connection, job.media_id)
    if found is None or found.state != "processing":
        return
    folder = parts.store.path(ids.folder(found.id))
    async with parts.inbox.folder() as out:
        rungs = await _make(parts, found, folder / ORIGINAL, out, cap)
        async with parts.database.transaction() as connection:
            if not await jobs.end(connection, job.id, "completed"):
                return
            locked = await media.lock(connection, found.id)
            if locked is None:
                return
            await asyncio.to_thread(_move_in, out, folder, [r["quality"] for r in rungs])
            await media.climbed(connection, locked, rungs)
            await _bring(connection, locked)
            await classes.ask(connection, locked.id)
    metrics.count_rungs(rungs)


async def _bring(connection: Connection, found: Media) -> None:
    """Its files are complete: has them brought to where they are to lie."""
    if await copies.unsettled(connection, found.id):
        await jobs.enqueue(connection, jobs.COPY, app=found.app_id, user=found.owner_id, media=found.id)


async def _make(parts: Parts, found: Media, original: Path, out: Path, cap: int) -> list[dict[str, int]]:
    try:
        with disk():
            kind = await asyncio.to_thread(_sniffed, original)
            overlays = await parts.plugged.render(found, out)
            made = await parts.decoders.finish(original, kind, out, found.crop, cap, overlays)
    except DiskFailed as e:
        if isinstance(e.__cause__, FileNotFoundError):
            raise CorruptImage("The original is gone.") from None
        raise
    return [{"quality": r.quality, "width": r.width, "height": r.height, "bytes": r.bytes} for r in made]


def _sniffed(original: Path) -> sniff.Kind:
    with original.open("rb") as file:
        kind = sniff.sniff(file.read(sniff.HEAD_BYTES))
    if kind is None:
        raise CorruptImage()
    return kind


def _move_in(out: Path, folder: Path, qualities: list[int]) -> None:
    with disk():
        for quality in qualities:
            sync_file(out / renditions.file(quality))
        for quality in qualities:
            name = renditions.file(quality)
            (out / name).rename(folder / name)
        sync_folder(folder)


async def give_up(parts: Parts, connection: Connection, identifier: UUID, reason: str) -> None:
    """In the transaction that ends the job: the media keeps the rungs it has, and says why there are no more."""
    await media.failed(connection, identifier, reason)
    kept = await media.lock(connection, identifier)
    if kept is not None and kept.state == "failed":
        await _bring(connection, kept)
        await classes.ask(connection, identifier)
        await asyncio.to_thread(_keep_only, parts.store.path(ids.folder(identifier)), kept)


def _keep_only(folder: Path, kept: Media) -> None:
    """Takes files that an attempt renamed in and never charged."""
    names = {ORIGINAL, *(renditions.file(r["quality"]) for r in kept.rungs)}
    with disk():
        for file in folder.iterdir():
            if file.name not in names:
                file.unlink()
        sync_folder(folder)
