"""The API's app: routes from the table of operations, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import redis.asyncio as aioredis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from chipmunk import asgi, db, jwt, logs, metrics
from chipmunk.config import Settings
from chipmunk.credentials import Authenticator
from chipmunk.errors import MethodNotAllowed, NotFound
from chipmunk.operations.table import OPERATIONS
from chipmunk.serving import serve
from chipmunk.signing import Seal
from gateway.api import documents, enter, flows, health, jobs, media, users
from gateway.api.call import Handler, Parts, endpoint
from gateway.api.views_log import ViewsLog, follow

CALLS: dict[str, Handler] = {
    "put_user": users.put_user,
    "get_user": users.get_user,
    "list_users": users.list_users,
    "delete_user": users.delete_user,
    "delete_sessions": users.delete_sessions,
    "post_session": users.post_session,
    "delete_session": users.delete_session,
    "list_media": media.list_media,
    "get_media": media.get_media,
    "post_link": media.post_link,
    "list_links": media.list_links,
    "delete_links": media.delete_links,
    "delete_link": media.delete_link,
    "put_flow": flows.put_flow,
    "get_flow": flows.get_flow,
    "list_flows": flows.list_flows,
    "delete_flow": flows.delete_flow,
    "list_flow_media": flows.list_flow_media,
    "put_flow_media": flows.put_flow_media,
    "delete_flow_media": flows.delete_flow_media,
    "list_members": flows.list_members,
    "put_member": flows.put_member,
    "delete_member": flows.delete_member,
    "get_job": jobs.get_job,
    "delete_job": jobs.delete_job,
}
OPEN: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "enter": enter.enter,
    "healthz": health.healthz,
    "livez": health.livez,
    "openapi": documents.openapi,
    "docs": documents.docs,
    "metrics": health.exposed,
}


def routes() -> list[Route]:
    """A route for each operation that this side answers."""
    return [
        Route(o.path, OPEN[o.name] if o.name in OPEN else endpoint(o.name, CALLS[o.name]), methods=[o.method])
        for o in OPERATIONS
        if o.side == "api"
    ]


async def _refuse(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, as problems."""
    if getattr(error, "status_code", 404) != 405:
        raise NotFound()
    matching = (r for r in request.app.routes if r.matches(request.scope)[0] is not Match.NONE)
    raise MethodNotAllowed(allow=sorted({m for route in matching for m in route.methods}))


def create(settings: Settings) -> Starlette:
    """The API's ASGI app; everything it holds open lives as long as it does."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        links, sessions = Seal(settings.secret_keys, "link"), Seal(settings.secret_keys, "session")
        redis = aioredis.from_url(settings.redis_url)
        async with db.opened(settings) as database:
            authenticator = Authenticator(settings, sessions, jwt.verifier(settings))
            app.state.parts = Parts(settings, database, redis, authenticator, links, sessions)
            following = asyncio.create_task(follow(ViewsLog(settings.log_dir / "access.log")))
            try:
                yield
            finally:
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following
                await redis.aclose()

    app = Starlette(
        routes=routes(),
        lifespan=lifespan,
        middleware=[Middleware(asgi.Edge, service="api")],
        exception_handlers={404: _refuse, 405: _refuse},
    )
    app.router.redirect_slashes = False
    return app


def main(settings: Settings) -> None:
    metrics.setup(settings)
    logs.configure(settings, "api")
    serve(create(settings), settings.address("api"))
