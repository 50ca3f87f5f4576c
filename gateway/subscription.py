"""Hears of revocations: from the outbox in PostgreSQL for sure, through Redis sooner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.exceptions import RedisError

from chipmunk.errors import Unavailable
from chipmunk.revocations import CHANNEL, Outbox
from gateway.memory import Tags

POLL_SECONDS = 0.25
# After so long without a question polls are this far apart, until the next one.
AWAKE_SECONDS, ASLEEP_SECONDS = 10.0, 5.0
POLL_PATIENCE_SECONDS = 2.0
RECONNECT_SECONDS = 1.0
log = structlog.get_logger()


async def poll(outbox: Outbox, tags: Tags, clock: Callable[[], float]) -> None:
    """One poll: what it finds is noted first, and only then counts the outbox as read up to when the poll began."""
    began = clock()
    found = await asyncio.wait_for(outbox.poll(), POLL_PATIENCE_SECONDS)
    tags.arrive(found, clock())
    tags.polled = began


async def _keep_polling(outbox: Outbox, tags: Tags, clock: Callable[[], float], asleep: Callable[[], float]) -> None:
    failing = False
    while True:
        try:
            await poll(outbox, tags, clock)
            failing = False
        except (Unavailable, TimeoutError):
            if not failing:
                log.warning("outbox not read; nothing in memory is believed")
            failing = True
        if clock() - tags.asked < AWAKE_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(tags.wanted.wait(), asleep())
        tags.wanted.clear()


async def _listen(redis: Any, tags: Tags, clock: Callable[[], float]) -> None:
    while True:
        with suppress(RedisError, OSError, TimeoutError):
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                async for message in channel.listen():
                    if message["type"] == "message":
                        tags.arrive(json.loads(message["data"]), clock())
        await asyncio.sleep(RECONNECT_SECONDS)


@asynccontextmanager
async def heard(
    outbox: Outbox,
    redis: Any,
    tags: Tags,
    clock: Callable[[], float],
    asleep: Callable[[], float] = lambda: ASLEEP_SECONDS,
) -> AsyncIterator[None]:
    """While this lasts, revocations arrive at `tags`; `asleep`: seconds between polls while nobody asks anything."""
    tasks = [
        asyncio.create_task(_keep_polling(outbox, tags, clock, asleep)),
        asyncio.create_task(_listen(redis, tags, clock)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
