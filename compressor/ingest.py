"""The one path on which a file becomes a media, whichever door it came by.

What is known to be there for good comes first: the file in its place, then the row. So a row without its file cannot
happen, and a file without its row is undone here or swept up later. See docs/decisions/0005-ingest-order.md.
"""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from chipmunk import backends, copies, idempotency, ids, jobs, metrics, quotas, storing, traces
from chipmunk.audit import Actor
from chipmunk.db import Connection
from chipmunk.errors import EmptyFile, TooLarge, Unavailable, UnknownFlow
from chipmunk.flows import Flow
from chipmunk.hooks import Arrival
from chipmunk.idempotency import Answer
from chipmunk.operations import answers
from chipmunk.storage.local import sync_file
from compressor import filenames, ladder, sniff
from compressor.begun import Begun
from compressor.holding import Hold, Place, holding
from compressor.inbox import ORIGINAL, disk
from compressor.parts import Parts

LARGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that has arrived, as the file `0` of a folder of its own, and all that was said about it.

    `by` is who sends it, `held` what its ticket has reserved, where that is known without asking; `fingerprint` what
    makes it the same under its key, where that was said before it came. `origin`, `meta`, `token`, `title`, `source` and
    `edits` are the media's;
    `also` is done in the transaction that makes it one.
    """

    folder: Path
    length: int
    app: int
    user: int
    flows: list[Flow]
    by: Actor
    filename: str | None
    ticket: UUID | None
    held: int | None
    key: str | None
    fingerprint: bytes | None = None
    origin: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    token: UUID | None = None
    title: str | None = None
    source: UUID | None = None
    edits: str | None = None
    also: Callable[[Connection], Awaitable[None]] | None = None

    @property
    def original(self) -> Path:
        return self.folder / ORIGINAL


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer's media; `replayed` where an earlier upload under the same key gave it."""

    answer: Answer
    replayed: bool


async def ingest(parts: Parts, upload: Upload) -> Stored:
    """Stores the upload, or leaves nothing of it behind."""
    if upload.length == 0:
        raise EmptyFile()
    if upload.length > parts.settings.max_file_bytes:
        raise TooLarge(limit_bytes=parts.settings.max_file_bytes)
    async with _reaching_the_disk(upload) as synced:
        return await _ingested(parts, upload, synced)


@asynccontextmanager
async def _reaching_the_disk(upload: Upload) -> AsyncIterator[Future[None] | None]:
    """Writes a large original out while it is looked into; done before its folder goes, however that ends.

    A small one is written out with its rungs, when it is placed.
    """
    if upload.length < LARGE_BYTES:
        yield None
        return
    synced = asyncio.ensure_future(asyncio.to_thread(sync_file, upload.original))
    try:
        yield synced
    finally:
        await asyncio.gather(synced, return_exceptions=True)


async def _ingested(parts: Parts, upload: Upload, synced: Future[None] | None) -> Stored:
    with disk():
        kind, sha256 = await asyncio.to_thread(_read, parts, upload)
    size = upload.length + ladder.still_cap(upload.length)
    fingerprint = upload.fingerprint or _fingerprint(upload, sha256)
    place = Place(upload.user, upload.length, size, upload.ticket, upload.held)
    async with holding(parts, place, upload.key, fingerprint) as hold:
        if hold.answer is not None:
            return Stored(hold.answer, replayed=True)
        if parts.plugged:
            await _permitted(parts, upload, kind, sha256)
        begun = await _begin(parts, upload, kind)
        if begun.frames > 1:
            size = upload.length + ladder.animated_cap(upload.length)
            await quotas.resize(parts.database, hold.media, size)
        new = _new(upload, hold.media, begun, sha256, kind.extension)
        with disk():
            if synced is not None:
                await synced
            with traces.span("place"):
                await parts.store.place(upload.folder, ids.folder(new.id))
        with traces.span("commit"):
            answer = await _commit(parts, upload, hold, new, begun.has_picture, size)
        metrics.count_rungs(new.rungs)
        return Stored(answer, replayed=False)


def _read(parts: Parts, upload: Upload) -> tuple[sniff.Kind, bytes]:
    """What the content is, or Unsupported, and its SHA-256."""
    with upload.original.open("rb") as file:
        kind = sniff.recognised(file.read(sniff.HEAD_BYTES), upload.filename, parts.settings.allowed_types)
        file.seek(0)
        return kind, hashlib.file_digest(file, "sha256").digest()


def _fingerprint(upload: Upload, sha256: bytes) -> bytes:
    """What makes an upload under an Idempotency-Key the same: its bytes, its name and its flows."""
    said = "\0".join([upload.filename or "", *(f.id for f in upload.flows)])
    return hashlib.sha256(sha256 + said.encode()).digest()


async def _permitted(parts: Parts, upload: Upload, kind: sniff.Kind, sha256: bytes) -> None:
    """Asks the plug-ins that have a say before anything is made of the file."""
    arrival = Arrival(kind.kind, kind.mime, upload.length, sha256.hex(), upload.filename, _names(upload))
    with disk(), traces.span("plug-ins"):
        await parts.plugged.before_ingest(arrival, upload.original)


def _names(upload: Upload) -> tuple[str, ...]:
    return tuple(flow.id for flow in upload.flows)


async def _begin(parts: Parts, upload: Upload, kind: sniff.Kind) -> Begun:
    """Makes the first rungs beside the original. Other than pictures, music and videos is looked into no further."""
    if kind.kind == "file":
        return Begun(kind.kind, kind.mime)
    with disk():
        return await parts.decoders.begin(
            upload.original, kind, upload.folder, upload.flows[0].square, ladder.still_cap(upload.length)
        )


def _new(upload: Upload, identifier: UUID, begun: Begun, sha256: bytes, extension: str) -> storing.New:
    return storing.New(
        id=identifier,
        app_id=upload.app,
        owner_id=upload.user,
        kind=begun.kind,
        mime=begun.mime,
        filename=upload.filename or filenames.default(begun.kind, extension),
        width=begun.width,
        height=begun.height,
        bytes=upload.length,
        sha256=sha256,
        placeholder=begun.placeholder,
        square=upload.flows[0].square,
        rungs=[{"quality": r.quality, "width": r.width, "height": r.height, "bytes": r.bytes} for r in begun.rungs],
        music=begun.music,
        provenance=begun.provenance,
        flow_ids=tuple(f.key for f in upload.flows),
        origin=upload.origin,
        meta=upload.meta,
        token=upload.token,
        crop=begun.crop,
        palette=begun.palette,
        phash=begun.phash,
        title=upload.title,
        source=upload.source,
        edits=upload.edits,
        motion=begun.motion,
    )


async def _commit(parts: Parts, upload: Upload, hold: Hold, new: storing.New, climbing: bool, size: int) -> Answer:
    """The one transaction that makes it a media. Where its outcome was lost with the connection, finds it out."""
    kept = size - new.total_bytes if climbing else 0
    elsewhere = await parts.stores.elsewhere()
    try:
        async with parts.database.transaction() as connection:
            if not await quotas.settle(connection, upload.user, new.id, new.total_bytes, kept, 1):
                raise Unavailable("The upload lost its place; send it again.")
            stored = await storing.insert(connection, new, climbing=climbing, by=upload.by)
            answer = answers.media(stored, parts.links)
            if elsewhere and await _placed(parts, connection, new) and not climbing:
                await jobs.enqueue(connection, jobs.COPY, app=new.app_id, user=new.owner_id, media=new.id)
            if parts.plugged:
                await parts.plugged.enqueue(connection, new, _names(upload))
            if upload.also is not None:
                await upload.also(connection)
            if upload.key is not None:
                await idempotency.answer(connection, upload.user, upload.key, new.id, answer)
    except asyncpg.ForeignKeyViolationError:
        raise UnknownFlow() from None
    except Unavailable:
        if not await hold.committed():
            raise
    return answer


async def _placed(parts: Parts, connection: Connection, new: storing.New) -> bool:
    """Says where the media is to lie, as its first flow wants it; whether it has to be brought there."""
    wanted = await backends.wanted(connection, new.flow_ids[0], pinned=bool(parts.settings.backends))
    return await copies.begin(connection, new.id, wanted)
