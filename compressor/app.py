"""The write side's HTTP: uploads, their pre-check, deleting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from chipmunk import asgi, audit, heartbeats, ids, media, metrics, quotas, revocations
from chipmunk.config import Settings
from chipmunk.errors import (
    BadRequest,
    Busy,
    MethodNotAllowed,
    NotFound,
    Problem,
    QuotaExceeded,
    Unavailable,
)
from compressor import asking, filenames, images, purge, reporting, sharing, variants
from compressor.admission import admit, precheck, recognized
from compressor.asking import Asking
from compressor.doors import data_uri, direct, edited, from_url, multipart, presigned, raw, tus
from compressor.doors.from_url import Tell
from compressor.ingest import Stored, Upload, ingest
from compressor.parts import Parts, assembled
from compressor.waiting import created

DOORS = {"raw": raw.take, "multipart": multipart.take, "json": data_uri.take}


async def livez(_: Request) -> Response:
    return Response("alive\n", media_type="text/plain", headers={"cache-control": "no-store"})


async def check(request: Request) -> Response:
    """nginx asks before it reads a body. It knows 204 and 403 alone, so a refusal's true status travels in headers."""
    parts = _parts(request)
    try:
        asked = asking.of_precheck(asgi.headers(request.scope))
        ticket = await precheck(parts, asked, parts.limiter.counting(request.scope, "uploads"))
    except Problem as e:
        _count_refusal(e)
        metrics.UPLOADS.labels("precheck", e.code).inc()
        fields = {"x-status": str(e.status), "x-problem": e.body().decode(), "cache-control": "no-store"}
        if e.retry_after is not None:
            fields["x-retry-after"] = str(e.retry_after)
        return Response(status_code=403, headers=fields)
    return Response(status_code=204, headers={} if ticket is None else {"x-ticket": ticket.hex})


async def done(request: Request) -> Response:
    """nginx says that a request has ended, however it did: what its pre-check reserved goes, unless it was settled."""
    parts, ticket = _parts(request), ids.parse_id(request.headers.get("x-ticket", ""))
    if ticket is not None and not parts.settled.taken(ticket):
        parts.prechecks.forget(ticket)
        async with parts.database.connection() as connection:
            await quotas.release(connection, ticket)
    return Response(status_code=204)


async def upload(request: Request) -> Response:
    parts, began = _parts(request), time.monotonic()
    asked = asking.of_upload(asgi.headers(request.scope), request.method, asgi.query(request.scope))
    try:
        taken, stored = await _received(parts, asked, request)
    except Problem as e:
        _count_refusal(e)
        metrics.UPLOADS.labels(asked.door, e.code).inc()
        raise
    except ClientDisconnect:
        metrics.UPLOADS.labels(asked.door, "aborted").inc()
        raise BadRequest("The body ended early.") from None
    metrics.UPLOADS.labels(asked.door, "replayed" if stored.replayed else "stored").inc()
    if not stored.replayed:
        metrics.UPLOAD_BYTES.labels(asked.door).inc(taken.length)
    metrics.UPLOAD_SECONDS.labels(asked.door).observe(time.monotonic() - began)
    return await created(parts, asked, taken.app, stored)


async def _received(parts: Parts, asked: Asking, request: Request) -> tuple[Upload, Stored]:
    """Takes the body in by its door and ingests it. What nginx has not checked before is checked here."""
    checked = asked.spool is not None or asked.ticket is not None
    counting = None if asked.counted else parts.limiter.counting(request.scope, "uploads")
    ticket = asked.ticket if checked else await precheck(parts, asked, counting)
    try:
        async with parts.inbox.folder() as folder:
            arrived = await DOORS[asked.door](parts.settings, parts.inbox, asked, request.stream(), folder)
            joined = asked.with_body(arrived.fields)
            taken = await _upload(parts, joined, folder, arrived.length, ticket)
            if arrived.url is None:
                stored = await ingest(parts, taken)
            else:
                taken, stored = await from_url.take(parts, taken, arrived.url, _while_waited_for(request))
            if ticket is not None and not stored.replayed:
                parts.settled.add(ticket)
            return taken, stored
    except BaseException:
        if ticket is not None:
            await asyncio.shield(_release(parts, ticket))
        raise


def _while_waited_for(request: Request) -> Tell:
    async def tell(_: int, __: int | None) -> None:
        if await request.is_disconnected():
            raise ClientDisconnect

    return tell


async def _upload(parts: Parts, asked: Asking, folder: Path, length: int, ticket: UUID | None) -> Upload:
    checked = None if ticket is None else parts.prechecks.take(ticket, asked)
    admitted = await admit(parts, asked) if checked is None else checked.posting
    if admitted.user is None:
        raise BadRequest("With an API key the query or the body names the user.")
    return Upload(
        folder=folder,
        length=length,
        app=admitted.app,
        user=admitted.user,
        flows=admitted.flows,
        by=admitted.by,
        filename=filenames.clean(asked.fields.filename),
        ticket=ticket,
        held=None if checked is None else checked.held,
        key=asked.key,
    )


async def delete(request: Request) -> Response:
    parts = _parts(request)
    identifier = ids.parse_id(request.path_params["media"])
    caller = await recognized(parts, request, "manage")
    if identifier is None:
        raise NotFound("There is no such media.")
    async with parts.database.transaction() as connection:
        job = await media.delete(connection, caller.app_id, identifier, caller.user_id, audit.by(caller))
    await revocations.publish(parts.redis, f"media:{identifier.hex}")
    await purge.now(parts, identifier, job)
    return Response(status_code=204, headers={"cache-control": "no-store"})


async def _release(parts: Parts, ticket: UUID) -> None:
    with suppress(Unavailable):
        async with parts.database.connection() as connection:
            await quotas.release(connection, ticket)


def _count_refusal(problem: Problem) -> None:
    if isinstance(problem, QuotaExceeded | Busy):
        metrics.QUOTA_REFUSALS.labels(problem.code).inc()


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _unknown(_: Request, error: Exception) -> Response:
    """Starlette's own refusals, as problems."""
    if getattr(error, "status_code", 404) != 405:
        raise NotFound()
    allowed = (getattr(error, "headers", None) or {}).get("Allow", "")
    raise MethodNotAllowed(allow=sorted(allowed.split(", ")))


ROUTES = [
    Route("/livez", livez),
    Route("/-/precheck", check),
    Route("/-/done", done),
    Route("/v1/media", upload, methods=["POST", "PUT"]),
    Route("/v1/media/{media}", delete, methods=["DELETE"]),
    *tus.ROUTES,
    *presigned.ROUTES,
    *direct.ROUTES,
    *images.ROUTES,
    *edited.ROUTES,
    *variants.ROUTES,
    *reporting.ROUTES,
    *sharing.ROUTES,
]


def create(settings: Settings) -> Starlette:
    """The write side's ASGI app."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with assembled(settings, plain=True) as parts, heartbeats.beating(parts.database, "compressor"):
            app.state.parts = parts
            yield

    return Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[Middleware(asgi.Edge, service="compressor"), Middleware(tus.Overriding)],
        exception_handlers={404: _unknown, 405: _unknown},
    )
