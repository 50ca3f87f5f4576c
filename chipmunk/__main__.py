"""`python -m chipmunk migrate` brings the database to the newest schema, and backends to what is pinned; `… heard SERVICE`
tells by its exit code whether a process of the service is at work on this host, for health checks of what answers no
requests."""

from __future__ import annotations

import asyncio
import sys

import asyncpg

from chipmunk import config, heartbeats
from chipmunk.config import Settings
from chipmunk.errors import SettingsError
from chipmunk.migrate import migrate
from chipmunk.pinning import pin


async def heard(settings: Settings, service: str) -> bool:
    connection = await asyncpg.connect(settings.database_url, timeout=3)
    try:
        return await heartbeats.heard(connection, service)
    finally:
        await connection.close(timeout=1)


async def prepare(settings: Settings) -> str:
    """Migrates, and tells what was done in a line."""
    applied = await migrate(settings)
    pinned = await pin(settings)
    said = f"{len(applied)} migrations applied" if applied else "nothing to migrate"
    return f"{said}; backends pinned: {', '.join(pinned)}" if pinned else said


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["migrate"]:
                print(asyncio.run(prepare(config.load())))
            case ["heard", service]:
                sys.exit(not asyncio.run(heard(config.load(), service)))
            case _:
                sys.exit("usage: python -m chipmunk migrate | heard SERVICE")
    except (SettingsError, OSError, asyncpg.PostgresError) as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
