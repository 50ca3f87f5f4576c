"""Apps: every user, flow and media belongs to one; one never learns of another's.

The operator makes them. An app's quota is of all its users together and holds as exactly as a user's: see `count_for_app` in
the migrations. Where an app has no limit of its own, the settings have the say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from chipmunk import flows, revocations
from chipmunk.db import Connection
from chipmunk.errors import Conflict, NotFound

DEFAULT = "default"
GENERAL = "Where uploads go that name no flow."
FULL = "CM001"  # the SQLSTATE of a reservation that an app's quota has no room for
LOCK = 0x6170_7073  # "apps"
LIMITS = ("quota_bytes", "user_quota_bytes", "calls_per_minute", "uploads_per_minute", "mails_per_day")
COLUMNS = f"a.id, a.name, {', '.join(f'a.{name}' for name in LIMITS)}, a.created_at"
STANDING = """
    cross join lateral (
        select coalesce(sum(u.used_bytes), 0)::bigint as used_bytes, coalesce(sum(u.reserved_bytes), 0)::bigint as reserved_bytes,
               coalesce(sum(u.media_count), 0)::bigint as media_count, count(*) filter (where u.deleted_at is null) as user_count
        from users u where u.app_id = a.id) s
"""


@dataclass(frozen=True, slots=True)
class App:
    """`key` is the row, `id` the name. A limit that is None is as the settings say, `quota_bytes` none at all."""

    key: int
    id: str
    quota_bytes: int | None
    user_quota_bytes: int | None
    calls_per_minute: int | None
    uploads_per_minute: int | None
    mails_per_day: int | None
    created_at: datetime
    used_bytes: int = 0
    reserved_bytes: int = 0
    media_count: int = 0
    user_count: int = 0


async def default_app(connection: Connection) -> int:
    """The id of the app that CHIPMUNK_API_KEY and the JWT settings belong to."""
    found: int = await connection.fetchval("select id from apps where name = $1 and deleted_at is null", DEFAULT)
    return found


async def known_as(connection: Connection, name: str) -> int | None:
    """The row of the app of that name, where there is one."""
    found: int | None = await connection.fetchval("select id from apps where name = $1 and deleted_at is null", name)
    return found


async def get(connection: Connection, name: str) -> App:
    """The app of that name, with what its users have, or NotFound."""
    row = await connection.fetchrow(
        f"select {COLUMNS}, s.* from apps a {STANDING} where a.name = $1 and a.deleted_at is null", name
    )
    if row is None:
        raise NotFound("There is no such app.", app=name)
    return App(*row)


async def page(connection: Connection, after: str, limit: int) -> list[App]:
    """Apps in the order of their names, those after `after`."""
    rows = await connection.fetch(
        f"""
        select {COLUMNS}, s.* from (
            select * from apps where name collate "C" > $1 and deleted_at is null order by name collate "C" limit $2) a
        {STANDING} order by a.name collate "C"
        """,
        after, limit,
    )  # fmt: skip
    return [App(*row) for row in rows]


async def put(connection: Connection, name: str, given: Mapping[str, int | None]) -> tuple[App, bool]:
    """Makes the app, with its flow `general`, or changes the limits that are given. Returns whether it is new."""
    await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
    app = await known_as(connection, name)
    new = app is None
    if app is None:
        app = await connection.fetchval("insert into apps (name) values ($1) returning id", name)
        await flows.put(connection, app, flows.GENERAL, posting="users", description=GENERAL)
    if "quota_bytes" in given:  # before the app's row is locked for anything else
        await _limit(connection, app, given["quota_bytes"])
    for limit in LIMITS:
        if limit in given and limit != "quota_bytes":
            await connection.execute(f"update apps set {limit} = $2 where id = $1", app, given[limit])
    return await get(connection, name), new


async def _limit(connection: Connection, app: int, quota: int | None) -> None:
    """Sets the quota. Where there was none its users are counted from now on; uploads of theirs wait until this commits.

    Rows are locked as uploads lock them, users before their app, so that neither waits for the other for ever. A user who is
    made meanwhile is counted by the second look: see `users.put`.
    """
    if quota is None:
        await connection.execute("update users set counted = false where app_id = $1 and counted", app)
        await connection.execute("update apps set quota_bytes = null where id = $1", app)
        return
    counting = "update users set counted = true where app_id = $1 and not counted"
    await connection.execute(counting, app)
    await connection.execute("update apps set quota_bytes = $2 where id = $1", app, quota)
    await connection.execute(counting, app)
    await connection.execute(
        """
        update apps set used_bytes = s.used, reserved_bytes = s.reserved
        from (select coalesce(sum(used_bytes), 0) as used, coalesce(sum(reserved_bytes), 0) as reserved
              from users where app_id = $1) s
        where id = $1
        """,
        app,
    )


@contextmanager
def perhaps_full() -> Iterator[None]:
    """Goes on where what was tried inside is undone, since the app's quota has no room for it."""
    try:
        yield
    except asyncpg.PostgresError as e:
        if e.sqlstate != FULL:
            raise


async def user_quota(connection: Connection, app: int, default: int) -> int:
    """The quota of a user of this app who is made without one."""
    found: int | None = await connection.fetchval("select user_quota_bytes from apps where id = $1", app)
    return default if found is None else found


async def delete(connection: Connection, name: str) -> tuple[int, UUID]:
    """Takes the app away at once, and everything of its users by a job. The name is free and inherits nothing."""
    from chipmunk import jobs  # with the queue, which the authorizer has no use for

    if name == DEFAULT:
        raise Conflict("The first app is that of the settings and stays.", app=name)
    app = await connection.fetchval(
        "update apps set deleted_at = now() where name = $1 and deleted_at is null returning id", name
    )
    if app is None:
        raise NotFound("There is no such app.", app=name)
    await connection.execute("delete from api_keys where app_id = $1", app)
    await connection.execute("update users set deleted_at = now() where app_id = $1 and deleted_at is null", app)
    await connection.execute("delete from webhooks where app_id = $1", app)
    await connection.execute("delete from sessions s using users u where u.id = s.user_id and u.app_id = $1", app)
    await revocations.revoke(connection, f"app:{app}")
    return app, await jobs.enqueue(connection, jobs.PURGE_APP, app=None, payload={"app": app})


async def forget(connection: Connection, app: int) -> bool:
    """Takes what is left of a deleted app once none of its users is; its row stays, for the audit log. False until then."""
    if await connection.fetchval("select exists (select from users where app_id = $1)", app):
        return False
    for table in ("flows", "departures"):
        await connection.execute(f"delete from {table} where app_id = $1", app)
    return True
