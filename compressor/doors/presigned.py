"""Uploads that go straight to where the media is to lie: `upload_init` says where to, `upload_complete` that all is there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chipmunk import asgi, bodies, ids, presigned, quotas
from chipmunk.credentials import API_KEY
from chipmunk.errors import (
    BadRequest,
    EmptyFile,
    NotFound,
    QuotaExceeded,
    TooLarge,
)
from chipmunk.operations import answers
from chipmunk.operations.gloflow import UploadComplete
from chipmunk.posting import Posting
from chipmunk.presigned import New, Upload
from chipmunk.storage import PresigningUploads, StoreUnavailable
from compressor import asking, presigned_query
from compressor.admission import admit, recognized, room
from compressor.completing import completed
from compressor.doors.direct import address
from compressor.incoming import chosen, key_of, life, longest, room_of
from compressor.parts import Parts
from compressor.presigned_query import Wanted

NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Sending:
    """How the bytes are to be sent. `multipart` is S3's name of an upload in parts, and `urls` are the parts'."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    multipart: str | None = None
    urls: tuple[str, ...] = ()


async def upload_init(request: Request) -> Response:
    """Says where to send a file. It makes something, so a call by cookie has to come from an allowed page."""
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    wanted = presigned_query.wanted(asgi.query(request.scope))
    asked = replace(asking.of_upload(headers, "POST", ""), fields=wanted.fields)
    counting = parts.limiter.counting(request.scope, "uploads")
    posting = await admit(parts, asked, counting)
    await counting.end()
    if posting.user is None:
        raise BadRequest("With an API key the query names the user.")
    most = await _most(parts, posting.user, wanted.size)
    by_app = asked.given.token.startswith(API_KEY)
    made, sending = await _made(parts, posting, posting.user, wanted, most, by_app)
    return JSONResponse(_told(parts, made, sending), headers=NO_STORE)


async def _most(parts: Parts, user: int, size: int | None) -> int:
    """The longest file that the user may send; what is announced to be longer is refused at once."""
    limit: int = parts.settings.max_file_bytes
    if size == 0:
        raise EmptyFile()
    if size is not None and size > limit:
        raise TooLarge(limit_bytes=limit)
    async with parts.database.connection() as connection:
        left = await quotas.left(connection, user)
    if left is not None and (longest(left) < (size or 1)):
        raise QuotaExceeded(needed_bytes=room_of(size or 1), left_bytes=left)
    return limit if left is None else min(limit, longest(left))


async def _made(
    parts: Parts, posting: Posting, user: int, wanted: Wanted, most: int, by_app: bool
) -> tuple[Upload, Sending]:
    new = New(
        id=ids.new_id(),
        app_id=posting.app,
        user_id=user,
        by_app=by_app,
        flows=tuple(flow.id for flow in posting.flows),
        filename=wanted.fields.filename,
        mime=wanted.mime(parts.settings.allowed_types),
        length=wanted.size,
    )
    found = await chosen(parts, posting.flows[0].key)
    if found is not None:
        backend, store = found
        try:
            sending = await _presigned(parts, store, new, wanted, most)
        except StoreUnavailable:
            parts.stores.failed(backend)
        else:
            new = replace(new, backend=backend, key=key_of(new.id), multipart=sending.multipart)
            try:
                return await _created(parts, new), sending
            except BaseException:
                if sending.multipart is not None:
                    await asyncio.shield(_aborted(store, new.id, sending.multipart))
                raise
    room(parts, wanted.size or 0)
    sending = Sending("PUT", address(parts.settings, new.id), {"Content-Type": new.mime})
    return await _created(parts, new), sending


async def _presigned(parts: Parts, store: PresigningUploads, new: New, wanted: Wanted, most: int) -> Sending:
    key, ttl = key_of(new.id), life(parts)
    if wanted.in_parts and wanted.size is not None:
        count = -(-wanted.size // presigned_query.part_bytes(wanted.size))
        multipart = await store.begin_parts(key, new.mime)
        signed = [await store.presign_part(key, multipart, number, ttl) for number in range(1, count + 1)]
        return Sending("PUT", signed[0].url, signed[0].headers, {}, multipart, tuple(one.url for one in signed))
    if wanted.method == "post":
        told = await store.presign_post(key, new.mime, ttl, wanted.size or most)
    else:
        told = await store.presign_put(key, new.mime, ttl, wanted.size)
    return Sending(told.method, told.url, told.headers, told.fields)


async def _created(parts: Parts, new: New) -> Upload:
    async with parts.database.transaction() as connection:
        return await presigned.create(connection, new, 2 * life(parts), parts.settings.presigned_uploads)


async def _aborted(store: PresigningUploads, upload: UUID, multipart: str) -> None:
    with suppress(StoreUnavailable):
        await store.abort_parts(key_of(upload), multipart)


def _told(parts: Parts, made: Upload, sending: Sending) -> dict[str, Any]:
    info: dict[str, Any] = {
        "upload_gf_image_id_str": made.id.hex,
        "presigned_url_str": sending.url,
        "method": sending.method,
        "headers": sending.headers,
        "fields": sending.fields,
        "expires_at": answers.when(made.created_at + life(parts)),
        "name_str": made.filename or "",
        "flows_names_lst": made.flows,
        "creation_unix_time_f": made.created_at.timestamp(),
        "user_id_str": made.user,
    }
    if sending.urls and made.length is not None:
        info["parts"] = [{"number": n, "presigned_url_str": url} for n, url in enumerate(sending.urls, 1)]
        info["part_bytes"] = presigned_query.part_bytes(made.length)
    return {"upload_info_map": info}


async def upload_complete(request: Request) -> Response:
    """Charges what was sent, and makes the job that stores it; asked for again it is the same job."""
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    caller = await recognized(parts, request, "upload")
    named, flows = presigned_query.completed(asgi.query(request.scope))
    try:
        body = await bodies.read(request.stream(), headers, UploadComplete)
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None
    identifier = ids.parse_id(named)
    if identifier is None:
        raise NotFound("There is no such upload.")
    async with parts.database.connection() as connection:
        upload = await presigned.get(connection, caller.app_id, identifier, caller.user_id)
    presigned_query.agree(flows, upload.flows)
    job = upload.job or await completed(parts, upload, body.meta_map)
    return JSONResponse({"images_job_id_str": job.hex}, headers=NO_STORE)


INIT = Route("/v1/images/upload_init", upload_init, methods=["GET"])
INIT.methods = {"GET"}  # no HEAD, since it makes something
ROUTES = [
    INIT,
    Route("/v1/images/upload_complete", upload_complete, methods=["POST"]),
]
