"""Sessions: a user is logged in for a while, with scopes. Tokens are kept as hashes only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from chipmunk import audit, credentials, revocations
from chipmunk.audit import Actor
from chipmunk.db import Connection
from chipmunk.ids import new_id
from chipmunk.signing import Seal, digest, random_identifier

ENTRANCE_SECONDS = 60
LONGEST_SECONDS = 366 * 86400


@dataclass(frozen=True, slots=True)
class Opened:
    """A session as its maker sees it; `token` and `entrance` are told once."""

    id: UUID
    token: str
    entrance: str
    expires_at: datetime


def _token(seal: Seal) -> str:
    return credentials.SESSION + seal.sign(random_identifier())


async def create(connection: Connection, seal: Seal, user: int, ttl: timedelta, scopes: Sequence[str]) -> Opened:
    """Opens a session of the user with the row `user`, in the caller's transaction."""
    session, token, entrance = new_id(), _token(seal), seal.sign(random_identifier())
    expires: datetime = await connection.fetchval(
        """
        insert into sessions (id, user_id, scopes, expires_at) values ($1, $2, $3, now() + $4::interval)
        returning expires_at
        """,
        session, user, list(scopes), ttl,
    )  # fmt: skip
    await connection.execute("insert into session_tokens (hash, session_id) values ($1, $2)", digest(token), session)
    await connection.execute(
        "insert into entrances (hash, session_id, expires_at) values ($1, $2, now() + make_interval(secs => $3))",
        digest(entrance), session, ENTRANCE_SECONDS,
    )  # fmt: skip
    return Opened(session, token, entrance, expires)


async def enter(connection: Connection, seal: Seal, entrance: str) -> tuple[str, datetime] | None:
    """Uses an entrance up: a token of its own for the browser and when it expires; None where it opens nothing. The log
    says that the session's user did it."""
    if seal.open(entrance) is None:
        return None
    row = await connection.fetchrow(
        """
        delete from entrances e using sessions s join users u on u.id = s.user_id
        where e.hash = $1 and s.id = e.session_id and e.expires_at > now() and s.expires_at > now()
          and not u.suspended and u.deleted_at is null
        returning s.id, s.expires_at, u.id as user, u.app_id
        """,
        digest(entrance),
    )
    if row is None:
        return None
    token = _token(seal)
    await connection.execute("insert into session_tokens (hash, session_id) values ($1, $2)", digest(token), row["id"])
    user, entered = row["user"], {"session": row["id"].hex}
    await audit.note(
        connection, Actor("user", user, row["id"]), "session.entered", app=row["app_id"], user=user, changes=entered
    )
    return token, row["expires_at"]


async def delete(connection: Connection, app: int, session: UUID, user: int | None) -> int | None:
    """Ends the app's session (of `user` only, where given). Returns the row of its user; None where there is none."""
    owner: int | None = await connection.fetchval(
        """
        delete from sessions s using users u
        where s.id = $1 and u.id = s.user_id and u.app_id = $2 and ($3::bigint is null or u.id = $3)
        returning u.id
        """,
        session, app, user,
    )  # fmt: skip
    if owner is not None:
        await revocations.revoke(connection, f"session:{session.hex}")
    return owner


async def delete_all(connection: Connection, user: int) -> None:
    """Ends every session of the user, and refuses their JWTs issued before now."""
    await connection.execute("delete from sessions where user_id = $1", user)
    await connection.execute("update users set jwt_not_before = now() where id = $1", user)
    await revocations.revoke(connection, f"user:{user}")


async def forget_expired(connection: Connection) -> None:
    """Expired sessions and entrances open nothing already; this takes their rows."""
    await connection.execute("delete from sessions where expires_at < now()")
    await connection.execute("delete from entrances where expires_at < now()")
