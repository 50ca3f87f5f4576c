"""Heartbeats: how the health check knows that the processes behind this address are at work."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from chipmunk.db import Connection, Database
from chipmunk.errors import Unavailable

EVERY_SECONDS = 3.0
STALE_SECONDS = 12.0
SERVICES = ("authorizer", "compressor", "worker")


@asynccontextmanager
async def beating(database: Database, service: str) -> AsyncIterator[None]:
    """Says every 3 s that this process of `service` is alive, and at the end that it is not."""
    instance = f"{socket.gethostname()}-{os.getpid()}"

    async def beat() -> None:
        while True:
            with suppress(Unavailable):
                async with database.connection() as connection:
                    await connection.execute(
                        """
                        insert into heartbeats (service, instance) values ($1, $2)
                        on conflict (service, instance) do update set seen_at = now()
                        """,
                        service, instance,
                    )  # fmt: skip
            await asyncio.sleep(EVERY_SECONDS)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(Unavailable):
            async with database.connection() as connection:
                await connection.execute(
                    "delete from heartbeats where service = $1 and instance = $2", service, instance
                )


async def missing(connection: Connection) -> list[str]:
    """The services of which no process has been heard of for 12 s."""
    rows = await connection.fetch(
        "select distinct service from heartbeats where seen_at > now() - make_interval(secs => $1)",
        STALE_SECONDS,
    )
    alive = {r["service"] for r in rows}
    return [s for s in SERVICES if s not in alive]


async def heard(connection: Connection, service: str) -> bool:
    """Whether a process of `service` on this host has been heard of within 12 s."""
    found: bool = await connection.fetchval(
        """
        select exists (
            select from heartbeats
            where service = $1 and starts_with(instance, $2) and seen_at > now() - make_interval(secs => $3)
        )
        """,
        service, f"{socket.gethostname()}-", STALE_SECONDS,
    )  # fmt: skip
    return found


async def forget_old(connection: Connection) -> None:
    await connection.execute("delete from heartbeats where seen_at < now() - interval '1 hour'")
