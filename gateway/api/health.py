"""Health: whether everything behind this address can do its work. Asked by balancers, and by anyone else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from chipmunk import backends, heartbeats
from chipmunk.db import Database
from chipmunk.errors import Unavailable

PATIENCE_SECONDS = 1.0
KEPT_SECONDS = 0.25
POSTGRES, REDIS, BACKENDS = "postgres", "redis", "backends"


@dataclass(frozen=True, slots=True)
class Found:
    """What is down, by name. Without PostgreSQL nothing is known of the processes that announce themselves there.

    Of backends only that one is: what they are called is for the operator, and views are served from another copy, where
    there is one.
    """

    down: tuple[str, ...]

    @property
    def works(self) -> bool:
        return set(self.down) <= {REDIS, BACKENDS}


class Health:
    """Asks with a connection of its own, and all who ask within a quarter of a second at once."""

    def __init__(self, database: Database, redis: Any, clock: Callable[[], float]) -> None:
        self._database, self._redis, self._clock = database, redis, clock
        self._asked = float("-inf")
        self._asking: asyncio.Task[Found] | None = None

    async def found(self) -> Found:
        if self._asking is None or self._clock() - self._asked >= KEPT_SECONDS:
            self._asked = self._clock()
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Found:
        missing, lost = await asyncio.gather(self._missing(), self._lost())
        return Found((*missing, REDIS) if lost else tuple(missing))

    async def _missing(self) -> list[str]:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._database.connection() as connection:
                missing = await heartbeats.missing(connection)
                return [*missing, BACKENDS] if await backends.any_down(connection) else missing
        except (Unavailable, TimeoutError):
            return [POSTGRES]

    async def _lost(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return True
        return False
