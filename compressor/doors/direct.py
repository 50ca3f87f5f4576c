"""`PUT` to a signed URL of our own: what a presigned upload to the local volume is sent to. The URL is the credential.

What came whole lies there until the upload is completed; the last that came whole is what counts.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from chipmunk import asgi, metrics, presigned, quotas
from chipmunk.config import Settings
from chipmunk.errors import (
    BadRequest,
    Conflict,
    EmptyFile,
    Forbidden,
    LengthRequired,
    Mismatch,
    NotFound,
    Problem,
    TooLarge,
    Unavailable,
    Unsupported,
)
from chipmunk.presigned import Upload
from chipmunk.signing import Seal
from chipmunk.uploads import Upload as Held
from compressor import incoming
from compressor.admission import room
from compressor.asking import LENGTH
from compressor.completing import DOOR
from compressor.inbox import ORIGINAL, write_body
from compressor.incoming import life, room_of
from compressor.leases import Lease, held
from compressor.parts import Parts

PATH = "/v1/images/direct/"


def address(settings: Settings, upload: UUID) -> str:
    """Where the bytes of an upload can be sent to."""
    return f"{settings.base_url}{PATH}{_seal(settings).sign(upload)}"


def _seal(settings: Settings) -> Seal:
    return Seal(settings.secret_keys, "upload")


async def put(request: Request) -> Response:
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    upload = await _sent_to(parts, request.path_params["token"])
    length = _length(parts, upload, headers.get("content-length", ""))
    if headers.get("content-type", "").strip().lower() != upload.mime:
        raise Unsupported("This URL takes the Content-Type that it was signed for.", expected=upload.mime)
    try:
        async with held(parts, upload.id) as lease, lease.kept():
            check_open(lease.upload)
            room(parts, length)
            await _received(parts, upload, lease, request, length)
    except ClientDisconnect:
        metrics.UPLOADS.labels(DOOR, "aborted").inc()
        raise BadRequest("The body ended early.") from None
    return Response(status_code=200, headers={"cache-control": "no-store"})


async def _sent_to(parts: Parts, token: str) -> Upload:
    """The upload whose URL it is, as long as it can be sent to."""
    identifier, upload = _seal(parts.settings).open(token), None
    if identifier is not None:
        async with parts.database.connection() as connection:
            upload = await presigned.find(connection, identifier)
    if upload is None or upload.kind != "direct" or datetime.now(UTC) > upload.created_at + life(parts):
        raise NotFound("There is no such upload, or its time has passed.")
    if upload.suspended:
        raise Forbidden("This user is suspended.")
    check_open(upload)
    return upload


def check_open(upload: Upload | Held) -> None:
    if upload.state != "open":
        raise Conflict("This upload has ended: it was completed, refused or given up.", upload=upload.id.hex)


def _length(parts: Parts, upload: Upload, said: str) -> int:
    if not LENGTH.fullmatch(said):
        raise LengthRequired()
    length, most = int(said), parts.settings.max_file_bytes
    if length == 0:
        raise EmptyFile()
    if length > most:
        raise TooLarge(limit_bytes=most)
    if upload.length not in (None, length):
        raise Mismatch("The body has not the size that was announced.")
    return length


async def _received(parts: Parts, upload: Upload, lease: Lease, request: Request, length: int) -> None:
    """Takes the body in. Until it is there, and where it never is, what came before counts."""
    before = lease.upload.offset
    try:
        await incoming.hold_place(parts, upload.id, upload.user_id, room_of(length), 3 * life(parts))
        async with parts.inbox.folder() as folder:
            if await _written(request, folder / ORIGINAL, length) != length:
                raise ClientDisconnect
            await incoming.written_out(folder / ORIGINAL)
            await _kept(parts, upload, lease, folder / ORIGINAL, length)
        before = length
    finally:
        await asyncio.shield(_place_of(parts, upload.id, before))


async def _written(request: Request, target: Path, length: int) -> int:
    try:
        return await write_body(request.stream(), target, length)
    except ValueError:
        raise BadRequest("The body is longer than its Content-Length.") from None


async def _kept(parts: Parts, upload: Upload, lease: Lease, body: Path, length: int) -> None:
    async with parts.database.transaction() as connection:
        if not await presigned.lock(connection, upload.id, lease.holder):
            raise Unavailable("Another request goes on with this upload.")
        await incoming.keep(parts, upload.id, body)
        await presigned.arrived(connection, upload.id, length, life(parts))


async def _place_of(parts: Parts, upload: UUID, length: int) -> None:
    """Makes what is reserved for the upload as much as what lies there takes."""
    try:
        if length:
            await quotas.resize(parts.database, upload, room_of(length))
        else:
            async with parts.database.connection() as connection:
                await quotas.release(connection, upload)
    except Problem:
        return  # it is more than is needed, and ends with the upload


ROUTES = [Route(PATH + "{token}", put, methods=["PUT"])]
