"""API keys: an app has several, each with scopes of its own. Only their SHA-256 is kept.

The first app's key of CHIPMUNK_API_KEY is one of them, and changed by that setting alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from chipmunk import apps, revocations
from chipmunk.db import Connection
from chipmunk.errors import Conflict, NotFound
from chipmunk.ids import new_id
from chipmunk.signing import digest

PREFIX = "cmk_"
MOST = 100  # keys of an app
REVOKED = "keys"  # the tag under which gateways know all keys

KeyScope = Literal["read", "upload", "admin"]
# What a key may do, in the scopes of sessions.
MAY: dict[str, frozenset[str]] = {
    "read": frozenset({"view"}),
    "upload": frozenset({"upload"}),
    "admin": frozenset({"view", "upload", "manage"}),
}
VALID = "(k.expires_at is null or k.expires_at > now())"


@dataclass(frozen=True, slots=True)
class Key:
    """`id` is a handle that opens nothing. `expires_at` is when a key ends whose place another has taken."""

    id: UUID
    scopes: list[str]
    description: str
    from_settings: bool
    expires_at: datetime | None
    created_at: datetime


COLUMNS = "id, scopes, description, from_settings, expires_at, created_at"


def may(scopes: Sequence[str]) -> frozenset[str]:
    """The scopes of sessions that these scopes of a key stand for."""
    return frozenset().union(*(MAY[scope] for scope in scopes))


async def make(connection: Connection, app: int, scopes: Sequence[str], description: str) -> tuple[Key, str]:
    """A new key of the app, and its text, which nobody will be told again."""
    count = await connection.fetchval(
        "select count(*) from api_keys k where app_id = (select id from apps where id = $1 for no key update)"
        f" and {VALID}",
        app,
    )
    if count >= MOST:
        raise Conflict(f"An app has {MOST} keys at most: revoke one first.")
    text = PREFIX + secrets.token_urlsafe(32)
    row = await connection.fetchrow(
        f"insert into api_keys (hash, id, app_id, scopes, description) values ($1, $2, $3, $4, $5) returning {COLUMNS}",
        digest(text), new_id(), app, list(scopes), description,
    )  # fmt: skip
    await revocations.revoke(connection, REVOKED)
    return Key(*row), text


async def rotate(connection: Connection, app: int, key: UUID, grace: timedelta) -> tuple[Key, str]:
    """A new key with the scopes of this one, which ends after `grace`."""
    before = await _own(connection, app, key)
    if before.expires_at is not None:
        raise Conflict("This key has been rotated already.", key=key.hex)
    made = await make(connection, app, before.scopes, before.description)
    await connection.execute("update api_keys set expires_at = now() + $2 where id = $1", key, grace)
    return made


async def revoke(connection: Connection, app: int, key: UUID) -> None:
    """Ends a key at once."""
    await _own(connection, app, key)
    await connection.execute("delete from api_keys where id = $1", key)
    await revocations.revoke(connection, REVOKED)


async def _own(connection: Connection, app: int, key: UUID) -> Key:
    """The app's key, held until the transaction ends, which is not that of the settings."""
    row = await connection.fetchrow(
        f"select {COLUMNS} from api_keys k where id = $1 and app_id = $2 and {VALID} for update", key, app
    )
    if row is None:
        raise NotFound("There is no such key.", key=key.hex)
    if row["from_settings"]:
        raise Conflict("This is the key of CHIPMUNK_API_KEY: it is changed there.", key=key.hex)
    return Key(*row)


async def page(connection: Connection, app: int, before: UUID | None, limit: int) -> list[Key]:
    """The app's keys that are good, newest first, from just below `before` on."""
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from api_keys k
        where app_id = $1 and {VALID} and ($2::uuid is null or id < $2) order by id desc limit $3
        """,
        app, before, limit,
    )  # fmt: skip
    return [Key(*row) for row in rows]


async def keep_that_of_settings(connection: Connection, text: str) -> None:
    """Makes `text` the default app's key of the settings; the one that it replaces is revoked."""
    app = await apps.default_app(connection)
    async with connection.transaction():
        gone = await connection.fetch(
            "delete from api_keys where app_id = $1 and from_settings and hash <> $2 returning 1", app, digest(text)
        )
        await connection.execute(
            """
            insert into api_keys (hash, id, app_id, from_settings) values ($1, $2, $3, true) on conflict do nothing
            """,
            digest(text), new_id(), app,
        )  # fmt: skip
        if gone:
            await revocations.revoke(connection, REVOKED)


async def forget_expired(connection: Connection) -> None:
    """Takes the rows of keys that ended a day ago or longer."""
    await connection.execute("delete from api_keys where expires_at < now() - interval '1 day'")
