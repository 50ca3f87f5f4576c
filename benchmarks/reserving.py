"""Reservations by the kernel alone: as many at once as it takes, all on one user."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from chipmunk import quotas
from chipmunk.config import Settings
from chipmunk.db import Database, connect
from chipmunk.errors import Busy, QuotaExceeded

AT_ONCE, RESERVED = 64, 100_000


async def reserved(settings: Settings, name: str, asked: int) -> tuple[float, int]:
    """Reservations per second where all fit, and by how many it is off where half of them do."""
    database = Database(await connect(settings.database_url, least=AT_ONCE, most=AT_ONCE))
    try:
        async with database.connection() as connection:
            user = await connection.fetchval("select id from users where name = $1", name)
            await connection.execute("update users set quota_bytes = null where id = $1", user)
        began = time.perf_counter()
        wrong = abs(asked - await attempts(database, user, asked))
        rate = asked / (time.perf_counter() - began)
        async with database.connection() as connection:
            quota = (asked + asked // 2) * RESERVED + RESERVED // 2
            await connection.execute("update users set quota_bytes = $2 where id = $1", user, quota)
        wrong += abs(asked // 2 - await attempts(database, user, asked))
        async with database.connection() as connection:
            held, rows = await connection.fetchrow(
                "select reserved_bytes, (select count(*) from reservations where user_id = u.id) from users u where id = $1",
                user,
            )
        return rate, wrong + abs(rows - (asked + asked // 2)) + abs(held - rows * RESERVED)
    finally:
        await database.close()


async def attempts(database: Database, user: int, asked: int) -> int:
    """Asks for that many reservations, 64 at once, and returns how many were made."""
    left = iter(range(asked))

    async def some() -> int:
        made = 0
        for _ in left:
            with suppress(Busy, QuotaExceeded):
                await quotas.reserve(database, user, RESERVED, RESERVED, wait=0)
                made += 1
        return made

    return sum(await asyncio.gather(*(some() for _ in range(AT_ONCE))))
