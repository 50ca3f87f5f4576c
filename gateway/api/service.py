"""What operators, balancers and developers ask: health, metrics, documents."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from chipmunk import backends, deliveries, jobs, metrics, whereabouts
from chipmunk.errors import Unavailable
from gateway.api import documents
from gateway.api.call import FRESH, Call, put
from gateway.api.health import POSTGRES, REDIS

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("queued", "running")


async def livez(_: Call) -> Response:
    return Response("alive\n", media_type="text/plain", headers=FRESH)


async def healthz(call: Call) -> Response:
    found = await call.parts.health.found()
    if not found.works:
        raise Unavailable("Not everything behind this address can do its work.", down=found.down)
    return put({"status": "degraded" if found.down else "ok", "down": list(found.down)})


async def exposed(call: Call) -> Response:
    text = await asyncio.to_thread(metrics.expose, await _readings(call))
    return Response(text, headers={**FRESH, "content-type": PROMETHEUS})


async def _readings(call: Call) -> metrics.Readings:
    """What is read at the scrape. Where PostgreSQL is down there is nothing to say of jobs."""
    down = (await call.parts.health.found()).down
    readings: dict[metrics.Gauge, dict[tuple[str, ...], float]] = {
        metrics.UP: {(server,): float(server not in down) for server in (POSTGRES, REDIS)},
        metrics.WATCHERS: {(): float(call.parts.hub.watchers)},
    }
    try:
        async with call.reading() as connection:
            depths = await jobs.depths(connection)
            waiting = await whereabouts.waiting(connection)
            places = await backends.every(connection)
            pending, dead, oldest = await deliveries.waiting(connection)
    except Unavailable:
        return readings
    none: dict[tuple[str, ...], float] = {(kind, state): 0.0 for kind in jobs.KINDS for state in STATES}
    readings[metrics.JOBS_WAITING] = none | {(kind, state): float(n) for kind, state, n, _ in depths}
    readings[metrics.JOBS_OLDEST] = none | {(kind, state): age for kind, state, _, age in depths}
    readings[metrics.COPIES_UNSETTLED] = {(name,): float(n) for name, n in waiting.items()}
    readings[metrics.BACKEND_UP] = {(b.id,): float(b.up is not False) for b in places}
    readings[metrics.DELIVERIES_WAITING] = {("pending",): float(pending), ("dead",): float(dead)}
    readings[metrics.DELIVERIES_OLDEST] = {(): oldest}
    return readings


async def openapi(call: Call) -> Response:
    made = await call.parts.documents()
    return Response(made.openapi, media_type="application/json", headers=documents.HEADERS)


async def docs(call: Call) -> Response:
    made = await call.parts.documents()
    headers = {**documents.HEADERS, "content-security-policy": made.policy}
    return Response(made.page, media_type="text/html", headers=headers)
