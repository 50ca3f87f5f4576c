"""A call: who makes it, with what, and how an answer is put; every handler gets one."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from chipmunk import asgi, events, guards, ids, metrics
from chipmunk.config import Settings
from chipmunk.credentials import Authenticator, Caller, Scope, presented
from chipmunk.db import Connection, Database
from chipmunk.errors import BadCursor, BadRequest, NotFound, Problem, TooLarge, Unprocessable, Unsupported
from chipmunk.signing import Seal

COOKIE = "chipmunk_session"
LARGEST_BODY = 64 * 1024
DEFAULT_LIMIT, LARGEST_LIMIT = 50, 200
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process holds open."""

    settings: Settings
    database: Database
    redis: Any
    authenticator: Authenticator
    links: Seal
    sessions: Seal


class Call:
    """One request and its caller. `key` is the caller's user row, None for the app's backend."""

    def __init__(self, request: Request, parts: Parts, headers: dict[str, str], caller: Caller) -> None:
        self.request, self.parts, self.headers, self.caller = request, parts, headers, caller

    @property
    def app(self) -> int:
        return self.caller.app_id

    @property
    def key(self) -> int | None:
        return self.caller.user_id

    def need(self, scope: Scope) -> None:
        self.caller.need(scope)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        return self.parts.database.transaction()

    async def publish(self, *tags: str) -> None:
        """After the commit: tells every gateway what no longer holds."""
        await events.publish(self.parts.redis, *tags)

    def name(self, what: str) -> str:
        """A user's or flow's name in the path; one that cannot be is BadRequest where it would be made, else NotFound."""
        text = self.request.path_params[what]
        try:
            return ids.name(text, what)
        except BadRequest:
            if self.request.method == "PUT":
                raise
            raise NotFound(f"There is no such {what}.") from None

    def id(self, what: str) -> UUID:
        """An id in the path, or NotFound."""
        found = ids.parse_id(self.request.path_params[what])
        if found is None:
            raise NotFound(f"There is no such {what}.")
        return found

    def query(self, name: str) -> str | None:
        values = self.request.query_params.getlist(name)
        if len(values) > 1:
            raise BadRequest(f"The parameter {name} is there twice.")
        return values[0] if values else None

    def limit(self) -> int:
        text = self.query("limit") or str(DEFAULT_LIMIT)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_LIMIT:
            raise BadRequest(f"limit is a number from 1 to {LARGEST_LIMIT}.")
        return int(text)

    def cursor(self) -> str:
        """What the page before ended with; empty at the first page."""
        text = self.query("cursor")
        if not text:
            return ""
        try:
            return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
        except ValueError:
            raise BadCursor() from None

    def name_cursor(self) -> str:
        text = self.cursor()
        if text and not ids.NAME.fullmatch(text):
            raise BadCursor()
        return text

    def id_cursor(self) -> UUID | None:
        text = self.cursor()
        found = ids.parse_id(text)
        if text and found is None:
            raise BadCursor()
        return found

    async def body(self, model: type[Model]) -> Model:
        """The JSON body in this shape. BadRequest where it is no JSON, Unprocessable where a field is not as it must be."""
        kind = self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Unsupported("This call takes application/json.")
        data = await self._read()
        try:
            return model.model_validate_json(data or b"{}")
        except ValidationError as e:
            first = e.errors(include_input=False, include_url=False, include_context=False)[0]
            if first["type"] == "json_invalid":
                raise BadRequest("The body is not JSON.") from None
            field = ".".join(str(step) for step in first["loc"])[:100]
            raise Unprocessable(f"{first['msg']}.", field=field.encode("ascii", "replace").decode()) from None

    async def _read(self) -> bytes:
        data = b""
        try:
            async for chunk in self.request.stream():
                data += chunk
                if len(data) > LARGEST_BODY:
                    raise TooLarge(most_bytes=LARGEST_BODY)
        except ClientDisconnect:
            raise BadRequest("The body ended early.") from None
        return data


Handler = Callable[[Call], Awaitable[Response]]


def endpoint(name: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Around a handler: finds the caller, guards against forgery, and counts how the call ended."""

    async def answer(request: Request) -> Response:
        status = "500"
        try:
            response = await handler(await _call(request))
            status = str(response.status_code)
            return response
        except Problem as problem:
            status = str(problem.status)
            raise
        finally:
            metrics.REQUESTS.labels(name, status).inc()

    return answer


async def _call(request: Request) -> Call:
    parts: Parts = request.app.state.parts
    headers = asgi.headers(request.scope)
    given = presented(headers.get("authorization"), asgi.cookie(headers, COOKIE))
    origin = headers.get("origin")
    guards.key_in_browser(given, origin)
    caller = await parts.authenticator.need(parts.database, given, time.time())
    guards.forgery(request.method, given, origin, headers.get("sec-fetch-site"), parts.settings.origins)
    return Call(request, parts, headers, caller)


def put(value: dict[str, Any], status: int = 200) -> Response:
    """An answer as JSON, which no cache keeps."""
    return JSONResponse(value, status, {"cache-control": "no-store"})


def nothing() -> Response:
    return Response(status_code=204, headers={"cache-control": "no-store"})


def listed(items: list[dict[str, Any]], last: str | None) -> Response:
    """A page; `last` is what the next one begins after, None where this is the end."""
    cursor = None if last is None else urlsafe_b64encode(last.encode()).rstrip(b"=").decode()
    return put({"items": items, "next": cursor})


def when(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
