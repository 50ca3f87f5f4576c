"""The edge of a service: request ids, and every error as application/problem+json. Plain ASGI, for any framework."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, cast

import structlog

from chipmunk import metrics, traces
from chipmunk.errors import BadRequest, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
TOLD = "chipmunk.told"
SINGLE = frozenset({"authorization", "content-length", "content-type", "origin", "idempotency-key", "host"})
log = structlog.get_logger()


def headers(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name, repeated ones joined. BadRequest where one repeats that must not."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in found:
            if name in SINGLE:
                raise BadRequest(f"The header {name} is there twice.")
            value = f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}"
        found[name] = value
    return found


def query(scope: Scope) -> str:
    """The request's query, or BadRequest where it is no text."""
    try:
        return str(scope["query_string"].decode())
    except UnicodeDecodeError:
        raise BadRequest("The query is malformed.") from None


def cookie(values: dict[str, str], name: str) -> str | None:
    """The first cookie of that name, as nginx picks it; None where there is none."""
    for pair in values.get("cookie", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return None


def tell(scope: Scope, fields: Mapping[str, str]) -> None:
    """Adds headers to whatever answer the request will get, a refusal too."""
    scope.setdefault(TOLD, []).extend((name.encode(), value.encode()) for name, value in fields.items())


def problem_response(problem: Problem) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body that say what went wrong."""
    body = problem.body() + b"\n"
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if problem.retry_after is not None:
        fields.append((b"retry-after", str(problem.retry_after).encode()))
    if problem.status == 401:
        fields.append((b"www-authenticate", b'Bearer realm="chipmunk"'))
    if "allow" in problem.ids:
        fields.append((b"allow", ", ".join(cast(list[str], problem.ids["allow"])).encode()))
    return problem.status, fields, body


class Edge:
    """Around an app: binds the request id to the log, answers Problems, and lets nothing else out but its code."""

    def __init__(self, app: App, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        structlog.contextvars.clear_contextvars()
        if REQUEST_ID.fullmatch(given):
            structlog.contextvars.bind_contextvars(request_id=given)
        with traces.beginning(f"{self._service} {scope['method']}", given):
            try:
                await self._answered(scope, receive, send)
            finally:
                if name := getattr(scope.get("endpoint"), "__name__", None):
                    traces.called(name)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(_told(scope, message))

        try:
            await self._app(scope, receive, watched)
        except Problem as problem:
            if begun:
                raise
            await self._answer(problem, scope, send)
        except Exception as e:
            log.exception("unexpected error", error=type(e).__name__)
            if begun:
                raise
            await self._answer(Problem(), scope, send)

    async def _answer(self, problem: Problem, scope: Scope, send: Send) -> None:
        metrics.PROBLEMS.labels(self._service, problem.code).inc()
        status, fields, body = problem_response(problem)
        await send(_told(scope, {"type": "http.response.start", "status": status, "headers": fields}))
        await send({"type": "http.response.body", "body": body})


def _told(scope: Scope, message: Message) -> Message:
    if TOLD not in scope or message["type"] != "http.response.start":
        return message
    return {**message, "headers": [*message.get("headers", ()), *scope[TOLD]]}
