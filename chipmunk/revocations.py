"""Revocations: written in the revoking transaction, published after it, polled by every gateway.

A tag names what stopped being as it was: `session:<hex>` `user:<id>` `link:<token hex>` `media:<hex>` `flow:<id>`
`app:<id>` `keys` (one of all API keys) `variants:<hex>` (of a media that has any and is gone). The outbox is the truth; Redis
only makes it quicker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from redis.exceptions import RedisError

from chipmunk.db import Connection, Database

CHANNEL = "chipmunk:revocations"
PUBLISH_SECONDS = 0.3
KEPT = timedelta(minutes=10)
log = structlog.get_logger()


async def revoke(connection: Connection, *tags: str) -> None:
    """Notes, in the caller's transaction, that whatever was believed under these tags no longer holds."""
    await connection.execute("insert into revocations (tag) select unnest($1::text[])", list(tags))


async def publish(redis: Any, *tags: str) -> None:
    """Tells every gateway, once the transaction has committed. Without Redis it gives up after 0.3 s."""
    try:
        await asyncio.wait_for(redis.publish(CHANNEL, json.dumps(tags)), PUBLISH_SECONDS)
    except (RedisError, OSError, TimeoutError):
        log.warning("revocation not published; gateways find it in the outbox", count=len(tags))


@asynccontextmanager
async def revoking(database: Database, redis: Any) -> AsyncIterator[Connection]:
    """A transaction; whatever was revoked in it is published once it has committed."""
    async with database.transaction() as connection:
        yield connection
        rows = await connection.fetch(
            "select distinct tag from revocations where xid = pg_current_xact_id_if_assigned()"
        )
    if rows:
        await publish(redis, *(r["tag"] for r in rows))


@dataclass
class Outbox:
    """Reads each revocation at least once, in whatever order transactions commit.

    A poll returns all rows whose transaction had not ended when the poll before it looked (`pg_snapshot_xmin`), so that
    a long transaction with a low number is not missed; hence rows may come twice.
    """

    database: Database
    _xmin: int | None = field(default=None, repr=False)

    async def poll(self) -> list[str]:
        """Tags since the last poll; the first poll returns none, as nothing is believed before it."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                """
                with seen as materialized (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin)
                select seen.xmin, r.tag from seen
                left join revocations r on r.xid >= $1::text::xid8
                """,
                str(self._xmin if self._xmin is not None else 2**63 - 1),
            )
        self._xmin = int(rows[0]["xmin"])
        return [r["tag"] for r in rows if r["tag"] is not None]


async def recent(connection: Connection) -> list[str]:
    """The tags of the last minutes: for what outlives a process that should have heard of them."""
    return [r["tag"] for r in await connection.fetch("select distinct tag from revocations")]


async def forget_old(connection: Connection) -> None:
    """Rows that every gateway has long polled."""
    await connection.execute("delete from revocations where at < now() - $1::interval", KEPT)
