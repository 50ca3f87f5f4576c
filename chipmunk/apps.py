"""Apps: every user, flow and media belongs to one; one never learns of another's."""

from __future__ import annotations

from chipmunk.db import Connection

DEFAULT = "default"


async def default_app(connection: Connection) -> int:
    """The id of the app that CHIPMUNK_API_KEY and the JWT settings belong to."""
    found: int = await connection.fetchval("select id from apps where name = $1", DEFAULT)
    return found
