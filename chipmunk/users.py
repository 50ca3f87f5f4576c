"""Users of an app: their quota and what stands against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chipmunk import jobs, revocations
from chipmunk.db import Connection
from chipmunk.errors import NotFound

COLUMNS = "id, name, quota_bytes, used_bytes, reserved_bytes, media_count, suspended, created_at"


@dataclass(frozen=True, slots=True)
class User:
    """`key` is the row, `id` the name that the app chose. `quota_bytes` None: no limit."""

    key: int
    id: str
    quota_bytes: int | None
    used_bytes: int
    reserved_bytes: int
    media_count: int
    suspended: bool
    created_at: datetime


def _user(row: object) -> User:
    return User(*row)  # type: ignore[misc]


async def put(
    connection: Connection,
    app: int,
    name: str,
    *,
    quota: int | None,
    suspended: bool | None,
    given: frozenset[str],
) -> tuple[User, bool, bool]:
    """Makes the user or changes what is `given` (`quota_bytes`, `suspended`).

    `quota` is also the default of a new user. Returns the user, whether it is new, and whether that may end grants.
    """
    row = await connection.fetchrow(
        f"""
        insert into users (app_id, name, quota_bytes, suspended) values ($1, $2, $3, coalesce($4, false))
        on conflict (app_id, name) where deleted_at is null do update
           set quota_bytes = case when $5 then $3 else users.quota_bytes end,
               suspended = coalesce($4, users.suspended)
        returning {COLUMNS}, (xmax = 0) as new
        """,
        app, name, quota, suspended if "suspended" in given else None, "quota_bytes" in given,
    )  # fmt: skip
    user = _user(row[:-1])
    if row["new"]:
        await _count_for_app(connection, app, user.key)
    if not row["new"] and "suspended" in given:
        await revocations.revoke(connection, f"user:{user.key}")
    return user, row["new"], not row["new"] and "suspended" in given


async def _count_for_app(connection: Connection, app: int, user: int) -> None:
    """Where the app has a quota, or gets one just now: the share of its row is waited for."""
    if await connection.fetchval("select quota_bytes is not null from apps where id = $1 for share", app):
        await connection.execute("update users set counted = true where id = $1", user)


async def get(connection: Connection, app: int, name: str) -> User:
    """The app's user of that name, or NotFound."""
    row = await connection.fetchrow(
        f"select {COLUMNS} from users where app_id = $1 and name = $2 and deleted_at is null",
        app,
        name,
    )
    if row is None:
        raise NotFound("There is no such user.", user=name)
    return _user(row)


async def page(connection: Connection, app: int, after: str, limit: int) -> list[User]:
    """Users in the order of their names, those after `after`."""
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from users where app_id = $1 and name > $2 and deleted_at is null order by name limit $3
        """,
        app,
        after,
        limit,
    )
    return [_user(r) for r in rows]


async def delete(connection: Connection, app: int, name: str) -> tuple[User, UUID]:
    """Takes the user away at once, and everything they stored by a job. The name is free and inherits nothing."""
    row = await connection.fetchrow(
        f"""
        update users set deleted_at = now() where app_id = $1 and name = $2 and deleted_at is null returning {COLUMNS}
        """,
        app,
        name,
    )
    if row is None:
        raise NotFound("There is no such user.", user=name)
    user = _user(row)
    await connection.execute("delete from sessions where user_id = $1", user.key)
    await connection.execute("delete from flow_members where user_id = $1", user.key)
    await connection.execute(
        """
        insert into departures (app_id, name_hash) values ($1, sha256(convert_to($2, 'UTF8')))
        on conflict (app_id, name_hash) do update set at = now()
        """,
        app,
        name,
    )
    await revocations.revoke(connection, f"user:{user.key}")
    job = await jobs.enqueue(connection, jobs.PURGE_USER, app=app, user=user.key)
    return user, job


async def forget(connection: Connection, key: int) -> bool:
    """Removes the row of a deleted user once nothing of theirs is left. False where something is."""
    done = await connection.fetchval(
        """
        delete from users u where id = $1 and deleted_at is not null
           and not exists (select from media m where m.owner_id = u.id)
           and not exists (select from reservations r where r.user_id = u.id)
        returning 1
        """,
        key,
    )
    if done is not None:
        await connection.execute("delete from events where user_id = $1", key)
    return done is not None


async def enqueue_purges(connection: Connection, app: int | None = None) -> int:
    """Makes jobs for deleted users (of `app`, where given) whom none will purge, and returns how many."""
    rows = await connection.fetch(
        """
        select u.id, u.app_id from users u
        where u.deleted_at is not null and ($2::integer is null or u.app_id = $2) and not exists (
            select 1 from jobs j where j.user_id = u.id and j.kind = $1 and j.state in ('queued', 'running'))
        limit 1000
        """,
        jobs.PURGE_USER,
        app,
    )
    for row in rows:
        await jobs.enqueue(connection, jobs.PURGE_USER, app=row["app_id"], user=row["id"])
    return len(rows)
