"""Streams of events (https://html.spec.whatwg.org/multipage/server-sent-events.html): of a job until it ends, and of all that is
a user's for as long as they watch.

What is sent is read from the database a page at a time, when the one before has been taken: however many watch, however
slowly they read, and whichever process they ask, nothing is kept for them and nothing is lost.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from starlette.responses import Response, StreamingResponse

from chipmunk import events, ids, jobs, users
from chipmunk.asgi import cookie
from chipmunk.credentials import COOKIE, Presented, presented
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, Forbidden, NotFound, Unavailable
from chipmunk.events import Event, Position
from gateway.api.call import Call

HEARTBEAT_SECONDS = 15.0
BELIEVED_SECONDS = 2.0  # how long a credential is that was just looked at
PAGE = 100
RETRY_MS = 1000
FIELDS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}
HEARTBEAT = ": \n\n"


async def job_events(call: Call) -> Response:
    return await _of_job(call, call.id("job"), _plain)


async def images_job_status(call: Call) -> Response:
    """The same by the names of the images library."""
    found = ids.parse_id(call.query("images_job_id_str") or "")
    if found is None:
        raise NotFound("There is no such job.")
    return await _of_job(call, found, _documented)


async def _of_job(call: Call, job: UUID, show: Callable[[Event], dict[str, Any]]) -> Response:
    async with call.reading() as connection:
        await jobs.get(connection, call.within, job, call.key)
        after = await _after(call, connection)

    async def is_over(position: Position) -> bool:
        async with call.reading() as connection:
            return await events.is_over(connection, job, position)

    async def page(position: Position) -> list[Event]:
        async with call.reading() as connection:
            return await events.of_job(connection, job, position, PAGE)

    def frame(event: Event) -> str:
        return _frame(event, show(event))

    if after is not None and await is_over(after):
        return Response(status_code=204, headers=FIELDS)  # which tells a browser not to ask again
    return _stream(call, job, after or Position(), page, frame, is_over)


async def user_events(call: Call) -> Response:
    """From now on, or from just after the last that was got."""
    name = call.query("user")
    if call.key is not None and name not in (None, call.user):
        raise Forbidden("A session watches for its own user only.")
    if call.key is None and name is None:
        raise BadRequest("With an API key the query names the user.")
    async with call.reading() as connection:
        user = call.key or (await users.get(connection, call.app, ids.name(name or "", "user"))).key
        after = await _after(call, connection) or await events.now(connection)

    async def page(position: Position) -> list[Event]:
        async with call.reading() as connection:
            return await events.of_user(connection, user, position, PAGE)

    def frame(event: Event) -> str:
        return _frame(event, {"job": event.job.hex if event.job else None, **_plain(event)}, event.kind)

    return _stream(call, user, after, page, frame)


async def _after(call: Call, connection: Connection) -> Position | None:
    text = call.headers.get("last-event-id", "")
    return await events.known(connection, Position.read(text)) if text else None


def _stream(
    call: Call,
    of: UUID | int,
    after: Position,
    page: Callable[[Position], Awaitable[list[Event]]],
    frame: Callable[[Event], str],
    is_over: Callable[[Position], Awaitable[bool]] | None = None,
) -> Response:
    async def frames() -> AsyncIterator[str]:
        position, looked = after, time.monotonic()
        yield f"retry: {RETRY_MS}\n\n"
        async with call.parts.hub.watching(of) as woken:
            while not call.parts.stopping.is_set():
                woken.clear()
                if time.monotonic() - looked > BELIEVED_SECONDS:
                    looked = time.monotonic()
                    if not await _still(call):
                        return
                found = await page(position)
                if found:
                    position = found[-1].position
                    yield "".join(map(frame, found))
                if len(found) == PAGE:
                    continue
                if is_over is not None and await is_over(position):
                    return
                try:
                    await asyncio.wait_for(woken.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield HEARTBEAT

    if call.request.method == "HEAD":
        return Response(headers={**FIELDS, "content-type": "text/event-stream"})
    return StreamingResponse(_until_it_fails(frames()), media_type="text/event-stream", headers=FIELDS)


async def _until_it_fails(frames: AsyncIterator[str]) -> AsyncIterator[str]:
    """Without the database a stream ends; who watches comes back, and goes on where it was."""
    with suppress(Unavailable):
        async for frame in frames:
            yield frame


async def _still(call: Call) -> bool:
    """Whether who watches still may: nobody sees anything by a session that has ended."""
    given: Presented = presented(call.headers.get("authorization"), cookie(call.headers, COOKIE))
    now = await call.parts.authenticator.caller(call.parts.database, given.token, time.time())
    return now is not None and (now.app_id, now.user_id) == (call.known.app_id, call.known.user_id)


def _frame(event: Event, data: dict[str, Any], name: str | None = None) -> str:
    named = f"event: {name}\n" if name else ""
    return f"id: {event.position}\n{named}data: {json.dumps(data, separators=(',', ':'))}\n\n"


def _plain(event: Event) -> dict[str, Any]:
    return {"event": event.kind, **event.data, "at": event.at.isoformat()}


def _documented(event: Event) -> dict[str, Any]:
    data = event.data
    if event.kind == "job":
        return {
            "name_str": "job",
            "type_str": "completed",
            "job_status_str": data["state"],
            "image_id_str": data["media"],
        }
    if event.kind == "progress":
        return {"name_str": "progress", "type_str": "ok", "progress": data}
    told = {
        "name_str": data["step"],
        "type_str": "error" if "error" in data else "ok",
        "image_id_str": data["media"],
        "image_source_url_str": data["source"] or "",
    }
    return told | ({"err_str": data["error"]} if "error" in data else {})
