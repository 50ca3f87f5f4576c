"""Edits of a picture as a new media: made here from the original, or by an editor that sends what it made.

Whoever may do so has the source with its original: its owner, or the app's backend for them. The edit is the owner's too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chipmunk import asgi, audit, bodies, edits, flows, ids, media, metrics, posting, reading, stamps
from chipmunk.credentials import Caller
from chipmunk.db import Connection
from chipmunk.errors import BadEdits, BadRequest, Mismatch, NotFound, Problem, Unsupported
from chipmunk.media import Media
from chipmunk.operations.editing import EditFields, SavedEdit, SaveEdited
from compressor import asking, originals, sniff, stamping
from compressor.admission import recognized, room
from compressor.asking import Asking
from compressor.doors import data_uri
from compressor.doors.from_url import LEAST
from compressor.holding import Place, holding
from compressor.inbox import ORIGINAL, disk, write_file
from compressor.ingest import Stored, Upload, ingest
from compressor.parts import Parts
from compressor.waiting import created

DOOR = "edit"
SOURCE = "source"


async def edit(request: Request) -> Response:
    """From the original, by edits."""
    parts, asked, caller = await _begun(request)
    body = await bodies.read(_chunks(request), asgi.headers(request.scope), EditFields)
    wanted, identifier = edits.parse(body.edits), ids.parse_id(request.path_params["media"])
    source = await _source(parts, caller, identifier.hex if identifier else "")
    if source.width is not None and source.height is not None:
        edits.sized(wanted, source.width, source.height, parts.settings.max_pixels)
    async with parts.database.connection() as connection:
        needed = await stamps.needed(connection, wanted, source)
    names = [body.flow] if isinstance(body.flow, str) else list(dict.fromkeys(body.flow or [flows.GENERAL]))
    async with parts.inbox.folder() as folder:
        upload = await _upload(parts, asked, caller, source, folder, names, body.title, needed)
        upload = replace(upload, edits=body.edits, fingerprint=_same(upload, body.edits.encode()))
        stored = await _counted(_made(parts, source, upload, needed))
        return await created(parts, asked, caller.app_id, stored)


async def save(request: Request) -> Response:
    """From what an editor made of it."""
    parts, asked, caller = await _begun(request)
    if asked.door != "json":
        raise Unsupported("This call takes application/json in UTF-8.")
    async with parts.inbox.folder() as folder:
        text = await data_uri.gathered(parts.settings, _chunks(request))
        body, length = await asyncio.to_thread(_taken, text, folder / ORIGINAL)
        source = await _source(parts, caller, body.source_image_id_str)
        if body.source_flow_name_str not in (None, *source.flows):
            raise Mismatch("The source is not in that flow.", flow=body.source_flow_name_str)
        names = [body.target_flow_name_str or flows.GENERAL]
        upload = await _upload(parts, asked, caller, source, folder, names, body.new_title_str)
        said = {"applied_filters_lst": body.applied_filters_lst} if body.applied_filters_lst else None
        with disk():
            upload = await asyncio.to_thread(_named, upload, source)
            digest = await asyncio.to_thread(lambda: hashlib.sha256(upload.original.read_bytes()).digest())
        upload = replace(upload, length=length, meta=said, fingerprint=_same(upload, digest))
        stored = await _counted(ingest(parts, upload))
    answer = SavedEdit(image_id_str=stored.answer["id"]).model_dump()
    headers = {"idempotent-replayed": "true"} if stored.replayed else {}
    return JSONResponse(answer, headers={"cache-control": "no-store", **headers})


async def _begun(request: Request) -> tuple[Parts, Asking, Caller]:
    """Who calls, counted as an upload before anything of the body is read."""
    parts: Parts = request.app.state.parts
    caller = await recognized(parts, request, "upload", "uploads")
    room(parts, 0)
    return parts, asking.of_upload(asgi.headers(request.scope), request.method, asgi.query(request.scope)), caller


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None


async def _source(parts: Parts, caller: Caller, identifier: str) -> Media:
    found = ids.parse_id(identifier)
    if found is None:
        raise NotFound("There is no such media.")
    async with parts.database.connection() as connection:
        source = await media.owned(connection, caller.app_id, found, caller.user_id)
    if source.kind != "image":
        raise BadEdits("Only a picture can be edited.", media=source.id.hex)
    return source


async def _upload(
    parts: Parts, asked: Asking, caller: Caller, source: Media, folder: Path, names: list[str], title: str | None,
    needed: Sequence[Media] = (),
) -> Upload:  # fmt: skip
    """What is to come of it, as far as it is known before there is a file."""
    async with parts.database.connection() as connection:
        into = await posting.again(connection, caller.app_id, source.owner_id, names, by_app=caller.user_id is None)

    async def also(connection: Connection) -> None:
        for one in (source, *needed):
            if not await reading.is_live(connection, one.id):
                raise NotFound("There is no such media.", media=one.id.hex)

    return Upload(
        folder=folder,
        length=0,
        app=caller.app_id,
        user=source.owner_id,
        flows=into,
        by=audit.by(caller),
        filename=source.filename,
        ticket=None,
        held=None,
        key=asked.key,
        title=title or None,
        source=source.id,
        also=also,
    )


def _same(upload: Upload, what: bytes) -> bytes:
    """What makes it the same under an Idempotency-Key."""
    said = "\0".join([DOOR, str(upload.source), upload.title or "", *(f.id for f in upload.flows)])
    return hashlib.sha256(said.encode() + b"\0" + what).digest()


async def _made(parts: Parts, source: Media, upload: Upload, needed: Sequence[Media]) -> Stored:
    """Makes it by its edits and stores it. Its place and its key are held before; what has its answer is not made again."""
    place = Place(upload.user, 1, LEAST)
    async with holding(parts, place, upload.key, upload.fingerprint or b"") as hold:
        if hold.answer is not None:
            return Stored(hold.answer, replayed=True)
        room(parts, source.bytes + sum(stamp.bytes for stamp in needed))
        original = upload.folder / SOURCE
        await originals.bring(parts, source, original)
        brought = await stamping.bring(parts, needed, upload.folder)
        with disk():
            kind = await asyncio.to_thread(sniff.picture, original)
            await parts.decoders.edit(original, kind, upload.original, upload.edits or "", None, brought)
            for path in (original, *(path for path, _ in brought.values())):
                path.unlink()
            named = await asyncio.to_thread(_named, upload, source)
        return await ingest(parts, replace(named, length=upload.original.stat().st_size, ticket=hold.media))


def _named(upload: Upload, source: Media) -> Upload:
    """Called as the source is, with the suffix of what it has become."""
    stem = source.filename.rpartition(".")[0] or source.filename
    return replace(upload, filename=f"{stem}.{sniff.picture(upload.original).extension}")


def _taken(text: bytes, target: Path) -> tuple[SaveEdited, int]:
    body = bodies.shaped(bodies.parse(text), SaveEdited)
    data = data_uri.decode(body.image_base64_data_str)
    write_file(target, data)
    return body.model_copy(update={"image_base64_data_str": ""}), len(data)


async def _counted(storing: Awaitable[Stored]) -> Stored:
    began = monotonic()
    try:
        stored = await storing
    except Problem as e:
        metrics.UPLOADS.labels(DOOR, e.code).inc()
        raise
    metrics.UPLOADS.labels(DOOR, "replayed" if stored.replayed else "stored").inc()
    if not stored.replayed:
        metrics.UPLOAD_BYTES.labels(DOOR).inc(stored.answer["bytes"])
    metrics.UPLOAD_SECONDS.labels(DOOR).observe(monotonic() - began)
    return stored


ROUTES = [
    Route("/v1/media/{media}/edits", edit, methods=["POST"]),
    Route("/images/editor/save", save, methods=["POST"]),
]
