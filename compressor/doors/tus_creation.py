"""`POST /v1/uploads/`: a new resumable upload, with or without bytes, or one that is made of others."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from chipmunk import asgi, concatenation, ids, quotas, uploads
from chipmunk.credentials import API_KEY
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, Problem
from chipmunk.posting import Posting
from chipmunk.uploads import New, Upload
from compressor import asking, dialects, filenames, finishing, tus_headers, tus_state
from compressor.admission import admit, room
from compressor.appending import receive
from compressor.dialects import Dialect
from compressor.leases import held
from compressor.parts import Parts
from compressor.tus_headers import Creation, Headers


async def create(request: Request, parts: Parts, headers: Headers) -> Response:
    dialect = dialects.spoken(headers)
    creation = dialect.creation(headers)
    asked = asking.of_upload(headers, request.method, asgi.query(request.scope)).with_body(creation.fields)
    counting = parts.limiter.counting(request.scope, "uploads")
    admitted = await admit(parts, asked, counting)
    await counting.end()
    if admitted.user is None:
        raise BadRequest("With an API key the query or Upload-Metadata names the user.")
    tus_state.check_creation(creation, parts.settings.max_file_bytes)
    new = New(
        id=ids.new_id(),
        app_id=admitted.app,
        user_id=admitted.user,
        by_app=asked.given.token.startswith(API_KEY),
        flows=tuple(flow.id for flow in admitted.flows),
        filename=filenames.clean(asked.fields.filename),
        metadata=creation.metadata,
        length=creation.length,
        concat=creation.concat,
        parts=creation.parts,
    )
    if creation.concat == "final":
        made = await _joined(parts, new, admitted)
    else:
        made = await _begun(request, parts, new, creation)
    return Response(status_code=201, headers=_told(parts, made, dialect))


def _told(parts: Parts, upload: Upload, dialect: Dialect) -> Headers:
    where = tus_headers.location(upload.id, parts.settings.public_url)
    return {"location": where, "cache-control": "no-store", **dialect.progress(upload)}


def life(parts: Parts) -> timedelta:
    return timedelta(seconds=parts.settings.upload_seconds)


async def _begun(request: Request, parts: Parts, new: New, creation: Creation) -> Upload:
    """Reserves its place and makes the upload; bytes that come along are appended."""
    arriving = 0 if creation.body is None else creation.body.length or 0
    length = arriving if creation.length is None else creation.length
    room(parts, length)
    size = tus_state.reserved(length, creation.concat)
    await quotas.reserve(parts.database, new.user_id, size, length, media=new.id)
    try:
        if creation.body is None:
            async with parts.database.connection() as connection:
                return await uploads.create(connection, new, life(parts))
        return await _filled(request, parts, new, creation)
    except BaseException:
        with suppress(Problem):  # nobody has been told where it is; what stays of it expires
            await asyncio.shield(finishing.remove(parts, new.id))
        raise


async def _filled(request: Request, parts: Parts, new: New, creation: Creation) -> Upload:
    async with parts.database.connection() as connection:
        await uploads.create(connection, new, life(parts))
    async with held(parts, new.id, life(parts)) as lease:
        if creation.body is not None:
            await receive(parts, lease, creation.body, request.stream())
        if lease.upload.state == "ingesting":
            await finishing.finish(parts, lease)
        return lease.upload


async def _joined(parts: Parts, new: New, admitted: Posting) -> Upload:
    """Makes the final upload, once: asked for again it is the one that was made of these parts before."""
    async with parts.database.connection() as connection:
        before = await concatenation.made_before(connection, new.user_id, new.parts)
    identifier = before.id if before is not None else await _spent(parts, new)
    async with held(parts, identifier, life(parts)) as lease:
        if lease.upload.state == "ingesting":
            await finishing.finish(parts, lease)
        elif lease.upload.state == "failed":
            raise tus_state.failure(lease.upload)
        return lease.upload


async def _spent(parts: Parts, new: New) -> UUID:
    """One upload, and one reservation, in the place of its parts'."""
    async with parts.database.connection() as connection:
        found = await concatenation.parts(connection, new.app_id, new.user_id, new.parts)
    whole = replace(new, length=tus_state.total(found, parts.settings.max_file_bytes))
    length = whole.length or 0
    room(parts, length)

    async def also(connection: Connection) -> bool:
        return await concatenation.make(connection, whole, life(parts)) is not None

    size = tus_state.reserved(length, "final")
    if not await quotas.merge(parts.database, new.user_id, new.parts, new.id, size, also):
        raise BadRequest("A part is not finished, or was used before.")
    return new.id
