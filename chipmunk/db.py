"""PostgreSQL: the pool, transactions, and what its failures mean to a caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import structlog

from chipmunk.config import Settings
from chipmunk.errors import Unavailable

Connection = Any  # asyncpg.Connection or the pool's proxy of one: asyncpg ships no types
T = TypeVar("T")

GONE = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was lost between two statements
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
)
ACQUIRE_SECONDS = 5.0
STATEMENT_SECONDS = 10.0
log = structlog.get_logger()


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


class Database:
    """A pool of connections. PostgreSQL that cannot be reached is `Unavailable`, never a stack trace."""

    def __init__(self, pool: Any, acquire_seconds: float = ACQUIRE_SECONDS) -> None:
        self.pool = pool
        self._acquire_seconds = acquire_seconds

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        try:
            async with self.pool.acquire(timeout=self._acquire_seconds) as connection:
                yield connection
        except GONE as e:
            log.warning("the database failed", error=type(e).__name__)
            raise Unavailable("The database cannot be reached.") from e

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Waits 3 s for what is under way, then cuts."""
        try:
            await asyncio.wait_for(self.pool.close(), 3)
        except (TimeoutError, *GONE):
            self.pool.terminate()


async def _keep_session(connection: Connection) -> None:
    pass


async def connect(
    url: str,
    *,
    least: int = 1,
    most: int = 10,
    command_seconds: float = STATEMENT_SECONDS,
    plain: bool = False,
) -> Any:
    """A pool to the database at `url`. `plain` says that nobody changes the session (locks, settings, cursors), so that
    nothing has to be asked of the server when a connection is given back; transactions end either way."""
    return await asyncpg.create_pool(
        url,
        min_size=least,
        max_size=most,
        init=_prepare,
        reset=_keep_session if plain else None,
        command_timeout=command_seconds,
        max_inactive_connection_lifetime=300,
        server_settings={"application_name": "chipmunk", "timezone": "UTC", "jit": "off"},
    )


@asynccontextmanager
async def opened(settings: Settings, *, most: int = 10, plain: bool = False) -> AsyncIterator[Database]:
    database = Database(await connect(settings.database_url, most=most, plain=plain))
    try:
        yield database
    finally:
        await database.close()


async def retry_serialization(attempt: Callable[[], Awaitable[T]], tries: int = 3) -> T:
    """Runs a transaction again that lost to a deadlock: PostgreSQL picked it as the victim."""
    for _ in range(tries - 1):
        try:
            return await attempt()
        except asyncpg.DeadlockDetectedError:
            await asyncio.sleep(0.02)
    return await attempt()
