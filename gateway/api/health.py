"""Health and metrics: what an operator, a balancer or an alarm asks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from chipmunk import asgi, guards, heartbeats, jobs, metrics
from chipmunk.credentials import presented
from chipmunk.db import Database
from chipmunk.errors import Unavailable
from gateway.api.call import COOKIE, Parts

PATIENCE_SECONDS = 1.0
FRESH = {"cache-control": "no-store"}


async def livez(_: Request) -> Response:
    return JSONResponse({"status": "ok", "down": []}, headers=FRESH)


async def healthz(request: Request) -> Response:
    """200 where everything can do its work, `degraded` where only Redis is down; else 503 with the names of what is."""
    parts: Parts = request.app.state.parts
    down, without_redis = await asyncio.gather(_missing(parts.database), _lost(parts.redis))
    if down:
        raise Unavailable("Not everything behind this address is at work.", down=down + ["redis"] * without_redis)
    status = "degraded" if without_redis else "ok"
    return JSONResponse({"status": status, "down": ["redis"] if without_redis else []}, headers=FRESH)


async def _missing(database: Database) -> list[str]:
    async def ask() -> list[str]:
        async with database.connection() as connection:
            return await heartbeats.missing(connection)

    try:
        return await asyncio.wait_for(ask(), PATIENCE_SECONDS)
    except (Unavailable, TimeoutError):
        return ["postgres"]


async def _lost(redis: Any) -> bool:
    try:
        await asyncio.wait_for(redis.ping(), PATIENCE_SECONDS)
    except (RedisError, OSError, TimeoutError):
        return True
    return False


async def exposed(request: Request) -> Response:
    """Prometheus' text, for the operator's key alone."""
    parts: Parts = request.app.state.parts
    headers = asgi.headers(request.scope)
    given = presented(headers.get("authorization"), asgi.cookie(headers, COOKIE))
    guards.key_in_browser(given, headers.get("origin"))
    (await parts.authenticator.need(parts.database, given, time.time())).need_operator()
    text = await asyncio.to_thread(metrics.expose)
    gauges = await _gauges(parts)
    return PlainTextResponse(text + gauges.encode(), headers=FRESH, media_type="text/plain; version=0.0.4")


async def _gauges(parts: Parts) -> str:
    """What is read at the scrape: queues, and whether PostgreSQL and Redis are there."""
    without_redis, lines = await _lost(parts.redis), []
    depths: list[tuple[str, str, int, float]] = []
    postgres = 1
    try:
        async with parts.database.connection() as connection:
            depths = await jobs.depths(connection)
    except Unavailable:
        postgres = 0
    lines += ["# HELP chipmunk_up Whether a server that this one needs can be reached.", "# TYPE chipmunk_up gauge"]
    lines += [f'chipmunk_up{{server="postgres"}} {postgres}', f'chipmunk_up{{server="redis"}} {int(not without_redis)}']
    lines += [
        "# HELP chipmunk_jobs_waiting Jobs that have not ended, by kind and state.",
        "# TYPE chipmunk_jobs_waiting gauge",
    ]
    lines += [f'chipmunk_jobs_waiting{{kind="{k}",state="{s}"}} {count}' for k, s, count, _ in depths]
    lines += [
        "# HELP chipmunk_jobs_oldest_seconds Age of the oldest of them.",
        "# TYPE chipmunk_jobs_oldest_seconds gauge",
    ]
    lines += [f'chipmunk_jobs_oldest_seconds{{kind="{k}",state="{s}"}} {age:.3f}' for k, s, _, age in depths]
    return "\n".join(lines) + "\n"
