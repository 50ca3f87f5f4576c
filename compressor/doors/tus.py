"""Resumable uploads at `/v1/uploads/`: what a request asks is in a dialect's headers, what follows in `tus_state`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chipmunk import asgi, ids, metrics, quotas, uploads
from chipmunk.asgi import App, Receive, Scope, Send
from chipmunk.errors import BadRequest, Busy, Forbidden, NotFound, OtherOffset, OtherVersion, Problem, QuotaExceeded
from chipmunk.operations import answers
from chipmunk.uploads import Upload
from compressor import dialects, draft_headers, finishing, tus_headers, tus_state
from compressor.admission import recognized
from compressor.appending import receive
from compressor.doors.tus_creation import create, life
from compressor.leases import Lease, held, released
from compressor.parts import Parts
from compressor.tus_headers import Headers, Patch

NO_STORE = {"cache-control": "no-store"}
Handler = Callable[[Request, Parts, Headers], Awaitable[Response]]


class Overriding:
    """Around the app: `X-HTTP-Method-Override` of requests for resumable uploads."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(tus_headers.PATH):
            scope["method"] = tus_headers.method(scope["method"], asgi.headers(scope))
        await self._app(scope, receive, send)


async def options(_: Request, parts: Parts, __: Headers) -> Response:
    most = parts.settings.max_file_bytes
    return Response(status_code=204, headers={**tus_headers.options(most), **draft_headers.options(most)})


async def head(request: Request, parts: Parts, headers: Headers) -> Response:
    """How far it is. Where all is there and nobody has made a media of it, that is done first."""
    upload = await _asked_for(request, parts)
    if upload.state == "ingesting" and upload.concat != "partial":
        upload = await _finished(parts, upload)
    upload = await released(parts, upload)
    if upload.state == "failed":
        raise tus_state.failure(upload)
    return Response(
        status_code=200, headers={**NO_STORE, **dialects.spoken(headers).shown(upload, parts.settings.public_url)}
    )


async def get(request: Request, parts: Parts, headers: Headers) -> Response:
    """The same for people and programs that speak neither."""
    upload = await _asked_for(request, parts)
    if upload.state == "ingesting" and upload.concat != "partial" and not upload.held:
        try:
            upload = await _finished(parts, upload)
        except Problem:
            async with parts.database.connection() as connection:
                upload = await uploads.find(connection, upload.id) or upload
    return JSONResponse(answers.resumable(upload), headers=NO_STORE)


async def patch(request: Request, parts: Parts, headers: Headers) -> Response:
    upload = await _asked_for(request, parts)
    dialect = dialects.spoken(headers)
    asked = dialect.patch(headers)
    tus_state.check_open(upload)
    if upload.suspended:
        raise Forbidden("This user is suspended.")
    async with held(parts, upload.id, life(parts)) as lease:
        length = tus_state.length_after(lease.upload, asked, parts.settings.max_file_bytes)
        if lease.upload.state == "open":
            try:
                await _place(parts, lease, asked, length)
                await receive(parts, lease, asked.body, request.stream())
            except QuotaExceeded as e:
                await finishing.refuse(parts, lease, e)
                raise
        if lease.upload.state == "ingesting":
            await finishing.finish(parts, lease)
        return Response(status_code=204, headers={**NO_STORE, **dialect.progress(lease.upload)})


async def delete(request: Request, parts: Parts, headers: Headers) -> Response:
    upload = await _asked_for(request, parts)
    await finishing.remove(parts, upload.id)
    return Response(status_code=204, headers=NO_STORE)


async def _asked_for(request: Request, parts: Parts) -> Upload:
    """The upload, where it is the caller's or the caller's app's."""
    caller = await recognized(parts, request, "upload")
    identifier = ids.parse_id(request.path_params["upload"])
    if identifier is None:
        raise NotFound("There is no such upload.")
    async with parts.database.connection() as connection:
        return await uploads.get(connection, caller.app_id, identifier, caller.user_id)


async def _finished(parts: Parts, upload: Upload) -> Upload:
    """The upload once it is a media, whoever makes it one."""
    async with held(parts, upload.id) as lease:
        if lease.upload.state == "ingesting":
            await finishing.finish(parts, lease)
        return lease.upload


async def _place(parts: Parts, lease: Lease, asked: Patch, length: int | None) -> None:
    """Reserves what the request lets expect of an upload whose length was not known."""
    upload = lease.upload
    if upload.length is None:
        expected = length if length is not None else upload.offset + (asked.body.length or 0)
        await quotas.resize(parts.database, upload.id, tus_state.reserved(expected, upload.concat))
        if length is not None:
            await lease.declare(length)
    if datetime.now(UTC) - upload.created_at > life(parts):
        async with parts.database.connection() as connection:
            await quotas.extend(connection, upload.id, 2 * life(parts))


async def _answered(request: Request, handlers: dict[str, Handler]) -> Response:
    parts: Parts = request.app.state.parts
    headers = asgi.headers(request.scope)
    asgi.tell(request.scope, dialects.named(headers))
    try:
        if request.method not in ("OPTIONS", "GET"):
            dialects.spoken(headers)
        return await handlers[request.method](request, parts, headers)
    except OtherVersion:
        asgi.tell(request.scope, {"tus-version": tus_headers.VERSION})
        raise
    except OtherOffset as e:
        asgi.tell(request.scope, {"upload-offset": str(e.ids["offset"])})
        raise
    except ClientDisconnect:
        metrics.UPLOADS.labels(finishing.DOOR, "aborted").inc()
        raise BadRequest("The body ended early.") from None
    except (QuotaExceeded, Busy) as e:
        metrics.QUOTA_REFUSALS.labels(e.code).inc()
        raise


MANY: dict[str, Handler] = {"POST": create, "OPTIONS": options}
ONE: dict[str, Handler] = {"HEAD": head, "GET": get, "PATCH": patch, "DELETE": delete, "OPTIONS": options}


async def many(request: Request) -> Response:
    return await _answered(request, MANY)


async def one(request: Request) -> Response:
    return await _answered(request, ONE)


ROUTES = [
    Route(tus_headers.PATH, many, methods=list(MANY)),
    Route(tus_headers.PATH + "{upload}", one, methods=list(ONE)),
]
