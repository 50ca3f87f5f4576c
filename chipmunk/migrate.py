"""Brings a database to the newest schema: forward only, one transaction a step, one migrator at a time."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from chipmunk import keys
from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.errors import SettingsError

LOCK = 0x6368_6970  # "chip"
OLDEST = 150000

BOOK = """
create table if not exists schema_migrations (
    name text primary key, checksum text not null, applied_at timestamptz not null default now()
)
"""


def steps() -> list[tuple[str, str]]:
    """Name and SQL of every step, in order."""
    found = sorted(f.name for f in files("migrations").iterdir() if f.name.endswith(".sql"))
    return [(name, files("migrations").joinpath(name).read_text()) for name in found]


async def apply(connection: Connection) -> list[str]:
    """Applies the steps that are missing and returns their names. A step that was changed after it ran is an error."""
    if connection.get_server_version()[0] * 10000 < OLDEST:
        raise SettingsError("PostgreSQL 15 or newer is needed.")
    await connection.execute("select pg_advisory_lock($1)", LOCK)
    try:
        await connection.execute(BOOK)
        done = {
            r["name"]: r["checksum"] for r in await connection.fetch("select name, checksum from schema_migrations")
        }
        applied = []
        for name, sql in steps():
            checksum = hashlib.sha256(sql.encode()).hexdigest()
            if name in done:
                if done[name] != checksum:
                    raise SettingsError(f"Migration {name} was changed after this database ran it.")
                continue
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute(
                    "insert into schema_migrations (name, checksum) values ($1, $2)", name, checksum
                )
            applied.append(name)
        queue = Queries(AsyncpgDriver(connection))
        if await queue.schema_is_installed():
            await queue.upgrade()
        else:
            await queue.install()
        return applied
    finally:
        await connection.execute("select pg_advisory_unlock($1)", LOCK)


async def migrate(settings: Settings) -> list[str]:
    """Migrates the database of these settings and makes the first app's key good. Returns the applied steps."""
    connection = await asyncpg.connect(settings.database_url, timeout=10)
    try:
        applied = await apply(connection)
        if settings.api_key:
            await keys.keep_that_of_settings(connection, settings.api_key)
        return applied
    finally:
        await connection.close(timeout=5)
