"""Routes from the table of operations; what stands before every handler."""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chipmunk import asgi, guards, metrics, traces
from chipmunk.asgi import Receive, Scope, Send
from chipmunk.credentials import COOKIE, Caller, Presented, presented
from chipmunk.errors import MethodNotAllowed, NotFound, Problem
from chipmunk.operations.table import OPERATIONS, Operation
from gateway.api import bodies
from gateway.api.call import Call, Handler, Parts


def routes(handlers: Mapping[str, Handler]) -> list[Route]:
    """One route for each path, with all its methods. KeyError where an operation of the API has no handler."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        if operation.side != "nginx":
            paths.setdefault(operation.path, {})[operation.method] = operation
    return [
        Route(path, Path(operations, {n: handlers[o.name] for n, o in operations.items() if o.side == "api"}))
        for path, operations in paths.items()
    ]


class Path:
    """The operations of one path."""

    def __init__(self, operations: Mapping[str, Operation], handlers: Mapping[str, Handler]) -> None:
        self._operations = operations
        self._handlers = handlers
        self.allowed = sorted({*operations, "OPTIONS"} | ({"HEAD"} if "GET" in operations else set()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await self._answer(request)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if b"%2f" in request.scope.get("raw_path", b"").lower():
            raise NotFound()
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": ", ".join(self.allowed)})
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self._handlers:
            raise MethodNotAllowed(allow=self.allowed)
        return await _counted(self._operations[method], self._handlers[method], request)


async def _counted(operation: Operation, handler: Handler, request: Request) -> Response:
    status = 500
    traces.called(operation.name)
    try:
        response = await handler(await _call(operation, request))
        status = response.status_code
        return response
    except Problem as problem:
        status = problem.status
        raise
    finally:
        metrics.REQUESTS.labels(operation.name, str(status)).inc()


async def _call(operation: Operation, request: Request) -> Call:
    parts: Parts = request.app.state.parts
    headers = asgi.headers(request.scope)
    known = operation.access != "anyone" and (operation.access != "guest" or bool(_given(headers).token))
    caller = await _caller(operation, request, parts, headers) if known else None
    shape, forms = operation.body, operation.takes_forms
    body = None if shape is None else await bodies.read(request, headers, shape, forms=forms)
    return Call(request, parts, headers, caller, body)


def _given(headers: dict[str, str]) -> Presented:
    return presented(headers.get("authorization"), asgi.cookie(headers, COOKIE))


async def _caller(operation: Operation, request: Request, parts: Parts, headers: dict[str, str]) -> Caller:
    given = _given(headers)
    origin = headers.get("origin")
    guards.key_in_browser(given, origin)
    caller = await parts.authenticator.need(parts.database, given, time.time())
    guards.forgery(request.method, given, origin, headers.get("sec-fetch-site"), parts.settings.origins)
    await parts.limiter.count(request.scope, operation.counts, given, caller)
    match operation.access:
        case "operator":
            caller.need_operator()
        case "app":
            caller.need_app()
            caller.need("view" if operation.method == "GET" else "manage")
        case _ if operation.operator and caller.kind == "operator":
            pass
        case _ if operation.scope is not None:
            caller.need(operation.scope)
    return caller
