"""`python -m chipmunk migrate` brings the database to the newest schema; `… heard SERVICE` tells by its exit code
whether a process of the service is at work on this host, for health checks of what answers no requests."""

from __future__ import annotations

import asyncio
import sys

import asyncpg

from chipmunk import config, heartbeats
from chipmunk.config import Settings
from chipmunk.errors import SettingsError
from chipmunk.migrate import migrate


async def heard(settings: Settings, service: str) -> bool:
    connection = await asyncpg.connect(settings.database_url, timeout=3)
    try:
        return await heartbeats.heard(connection, service)
    finally:
        await connection.close(timeout=1)


def main() -> None:
    try:
        match sys.argv[1:]:
            case ["migrate"]:
                applied = asyncio.run(migrate(config.load()))
                print(f"{len(applied)} migrations applied" if applied else "nothing to migrate")
            case ["heard", service]:
                sys.exit(not asyncio.run(heard(config.load(), service)))
            case _:
                sys.exit("usage: python -m chipmunk migrate | heard SERVICE")
    except (SettingsError, OSError, asyncpg.PostgresError) as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
