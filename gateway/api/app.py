"""The API's app: what it holds open, and a handler for each of its operations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chipmunk import asgi, db, jwt, logs, metrics, stores, traces
from chipmunk.config import Settings
from chipmunk.credentials import Authenticator
from chipmunk.errors import NotFound
from chipmunk.openings import Openings
from chipmunk.passwords import Passwords
from chipmunk.rates import Limiter
from chipmunk.serving import serve
from chipmunk.signing import Seal
from gateway.api import (
    apps,
    audit,
    backends,
    classify,
    documents,
    enter,
    flows,
    jobs,
    library,
    links,
    mailing,
    media,
    members,
    moving,
    public,
    searching,
    service,
    sessions,
    sharing,
    similar,
    users,
    variants,
    views_log,
    watching,
    webhooks,
)
from gateway.api.call import Handler, Parts
from gateway.api.health import Health
from gateway.api.hub import Hub
from gateway.api.routing import routes
from gateway.api.stored import ROUTE, StoredViews

CONNECTIONS = 10
REDIS_SECONDS = 0.5

HANDLERS: dict[str, Handler] = {
    "put_user": users.put_user,
    "get_user": users.get_user,
    "list_users": users.list_users,
    "delete_user": users.delete_user,
    "create_session": sessions.create_session,
    "delete_session": sessions.delete_session,
    "delete_sessions": sessions.delete_sessions,
    "enter": enter.enter,
    "list_media": media.list_media,
    "get_media": media.get_media,
    "trash_media": media.trash_media,
    "restore_media": media.restore_media,
    "change_media": searching.change_media,
    "search_media": searching.search_media,
    "similar_media": similar.similar_media,
    "create_variant": variants.create_variant,
    "list_variants": variants.list_variants,
    "delete_variant": variants.delete_variant,
    "create_link": links.create_link,
    "list_links": links.list_links,
    "delete_links": links.delete_links,
    "delete_link": links.delete_link,
    "open_link": sharing.open_link,
    "share_page": sharing.page,
    "share": mailing.share,
    "unsubscribe_page": mailing.unsubscribe_page,
    "unsubscribe": mailing.unsubscribe,
    "put_flow": flows.put_flow,
    "get_flow": flows.get_flow,
    "list_flows": flows.list_flows,
    "delete_flow": flows.delete_flow,
    "flow_page": public.html,
    "flow_json_feed": public.json_feed,
    "flow_atom_feed": public.atom_feed,
    "list_flow_media": flows.list_flow_media,
    "put_flow_media": flows.put_flow_media,
    "delete_flow_media": flows.delete_flow_media,
    "list_members": members.list_members,
    "put_member": members.put_member,
    "delete_member": members.delete_member,
    "put_flow_backends": moving.put_flow_backends,
    "move_flow": moving.move_flow,
    "put_app": apps.put_app,
    "get_app": apps.get_app,
    "list_apps": apps.list_apps,
    "delete_app": apps.delete_app,
    "create_key": apps.create_key,
    "list_keys": apps.list_keys,
    "rotate_key": apps.rotate_key,
    "delete_key": apps.delete_key,
    "put_backend": backends.put_backend,
    "get_backend": backends.get_backend,
    "list_backends": backends.list_backends,
    "delete_backend": backends.delete_backend,
    "scrub_backend": backends.scrub_backend,
    "put_webhook": webhooks.put_webhook,
    "get_webhook": webhooks.get_webhook,
    "list_webhooks": webhooks.list_webhooks,
    "delete_webhook": webhooks.delete_webhook,
    "rotate_webhook": webhooks.rotate_webhook,
    "test_webhook": webhooks.test_webhook,
    "list_deliveries": webhooks.list_deliveries,
    "retry_deliveries": webhooks.retry_deliveries,
    "retry_delivery": webhooks.retry_delivery,
    "get_job": jobs.get_job,
    "cancel_job": jobs.cancel_job,
    "retry_job": jobs.retry_job,
    "list_job_images": jobs.list_job_images,
    "list_audit": audit.list_audit,
    "all_flows": library.all_flows,
    "browser_page": library.browser_page,
    "images_exist": library.images_exist,
    "get_image": library.get_image,
    "gif_info": library.gif_info,
    "approve_media": classify.approve,
    "classify_images": classify.classify,
    "upload_metrics": library.upload_metrics,
    "image_by_name": library.image_by_name,
    "images_by_name": library.images_by_name,
    "images_healthz": service.healthz,
    "images_v1_healthz": service.healthz,
    "job_events": watching.job_events,
    "images_job_status": watching.images_job_status,
    "user_events": watching.user_events,
    "healthz": service.healthz,
    "livez": service.livez,
    "metrics": service.exposed,
    "openapi": service.openapi,
    "docs": service.docs,
}


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Parts]:
    """The parts of these settings, open until the end."""
    redis = Redis.from_url(
        settings.redis_url, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS, retry=None
    )
    sessions, passwords = Seal(settings.secret_keys, "session"), Passwords()
    try:
        async with (
            db.opened(settings, most=CONNECTIONS) as database,
            db.opened(settings, most=1) as asking,
            stores.opened(settings, database, settings.store_dir) as opened,
        ):
            yield Parts(
                settings=settings,
                database=database,
                redis=redis,
                authenticator=Authenticator(settings, sessions, jwt.verifier(settings)),
                limiter=Limiter(redis, settings),
                links=Seal(settings.secret_keys, "link"),
                sessions=sessions,
                openings=Openings(settings.secret_keys),
                passwords=passwords,
                health=Health(asking, redis, time.monotonic),
                documents=documents.Documents(settings.base_url),
                stores=opened,
                hub=Hub(database),
                stopping=asyncio.Event(),
            )
    finally:
        passwords.close()
        await redis.aclose()


async def _unknown(_: Request, __: Exception) -> Response:
    """Starlette's own refusal, as a problem."""
    raise NotFound()


def create(settings: Settings) -> Starlette:
    """The API's ASGI app."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with assembled(settings) as parts:
            app.state.parts, app.state.stop = parts, parts.stop
            following = asyncio.create_task(views_log.follow(settings.log_dir / "access.log"))
            try:
                yield
            finally:
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following

    app = Starlette(
        routes=[*routes(HANDLERS), Route(ROUTE, StoredViews())],
        lifespan=lifespan,
        middleware=[Middleware(asgi.Edge, service="api")],
        exception_handlers={404: _unknown},
    )
    app.router.redirect_slashes = False
    return app


def main(settings: Settings) -> None:
    metrics.setup(settings)
    traces.setup(settings, "api", "nginx")
    logs.configure(settings, "api")
    serve(create(settings), settings.address("api"))
