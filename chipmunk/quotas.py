"""Quotas: bytes are reserved before a body is read, settled once they are on disk, released otherwise.

`used_bytes + reserved_bytes` never passes `quota_bytes`: each reservation is one conditional UPDATE of the user's row,
which PostgreSQL serialises. Every change of a reservation changes the user's row in the same transaction, users first.
The same holds for all users of an app that has a quota, whose row a trigger changes after the user's (`apps`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

from chipmunk import apps
from chipmunk.db import Connection, Database
from chipmunk.errors import Busy, QuotaExceeded
from chipmunk.ids import new_id

WAIT_SECONDS = 2.0
POLL_SECONDS = 0.1

# A transaction with this is not waited for to reach the disk. It is for what an upload that has not been answered holds:
# where PostgreSQL crashes and forgets it, that upload loses its place, and one that settles waits for all before it.
SOON = "cross join (select set_config('synchronous_commit', 'off', true)) as soon"
ROOM = "deleted_at is null and (quota_bytes is null or used_bytes + reserved_bytes + {more} <= quota_bytes)"
GRACE = timedelta(minutes=2)
SLOWEST_BYTES_PER_SECOND = 16 * 1024


def lifetime(length: int) -> timedelta:
    """How long an upload of `length` bytes may hold its place: two minutes, and more as 16 KiB/s would need."""
    return GRACE + timedelta(seconds=length / SLOWEST_BYTES_PER_SECOND)


async def reserve(
    database: Database,
    user: int,
    size: int,
    length: int,
    *,
    wait: float = WAIT_SECONDS,
    media: UUID | None = None,
) -> UUID:
    """Reserves `size` bytes for an upload of `length` and returns the id that the media will have.

    Waits up to `wait` seconds where only unsettled reservations stand in the way, then raises Busy; QuotaExceeded where
    what is settled leaves too little.
    """
    media = media or new_id()

    async def attempt(connection: Connection) -> bool:
        made = await connection.fetchval(
            f"""
            with taken as (
                update users set reserved_bytes = reserved_bytes + $3 where id = $2 and {ROOM.format(more="$3")}
                returning id)
            insert into reservations (id, user_id, media_id, bytes, expires_at)
            select $1, taken.id, $1, $3, now() + $4 from taken {SOON} returning 1
            """,
            media, user, size, lifetime(length),
        )  # fmt: skip
        return made is not None

    await _patiently(database, user, size, attempt, wait)
    return media


async def resize(
    database: Database, media: UUID, size: int, *, wait: float = WAIT_SECONDS, shrink: bool = True
) -> bool:
    """Makes an upload's reservation `size` bytes, as `reserve` would, or without `shrink` at least so many. False where it
    has expired: then nothing happens."""
    async with database.connection() as connection:
        held = await connection.fetchrow("select user_id, bytes from reservations where id = $1", media)
    if held is None or held["bytes"] == size or (held["bytes"] > size and not shrink):
        return held is not None
    user, more = held["user_id"], size - held["bytes"]

    async def attempt(connection: Connection) -> bool:
        async with connection.transaction():
            if not await _take(connection, user, more):
                return False
            done = await connection.fetchval(
                "update reservations set bytes = bytes + $2 where id = $1 returning 1", media, more
            )
            if done is None:
                await _take(connection, user, -more)
            return True

    await _patiently(database, user, size, attempt, wait)
    return True


async def extend(connection: Connection, media: UUID, life: timedelta) -> bool:
    """Keeps an upload's place for so long from now; False where it has none."""
    kept = await connection.fetchval(
        "update reservations set expires_at = now() + $2 where id = $1 and expires_at is not null returning 1",
        media,
        life,
    )
    return kept is not None


async def merge(
    database: Database,
    user: int,
    parts: Sequence[UUID],
    media: UUID,
    size: int,
    also: Callable[[Connection], Awaitable[bool]],
    *,
    wait: float = WAIT_SECONDS,
) -> bool:
    """Reserves `size` bytes for `media` in the place of what is reserved for the parts, as `reserve` would.

    `also` is done in the same transaction; where it says no, nothing has happened, and False is returned.
    """
    agreed = True

    async def attempt(connection: Connection) -> bool:
        nonlocal agreed
        try:
            async with connection.transaction():
                await connection.execute("select 1 from users where id = $1 for no key update", user)
                freed = await connection.fetch(
                    "delete from reservations where id = any($1::uuid[]) and user_id = $2 returning bytes",
                    list(parts), user,
                )  # fmt: skip
                if not await _take(connection, user, size - sum(row["bytes"] for row in freed)):
                    raise _Undone
                await connection.execute(
                    """
                    insert into reservations (id, user_id, media_id, bytes, expires_at)
                    values ($1, $2, $1, $3, now() + $4)
                    """,
                    media, user, size, lifetime(size),
                )  # fmt: skip
                agreed = await also(connection)
                if not agreed:
                    raise _Undone
        except _Undone:
            return not agreed
        return True

    await _patiently(database, user, size, attempt, wait)
    return agreed


async def renew(connection: Connection, user: int, media: UUID) -> int | None:
    """Keeps the place of an upload whose body has arrived for a minute or two; its bytes, None where it has none.

    Nothing is written where it lasts that long anyway. Not in a transaction with anything else.
    """
    row = await connection.fetchrow(
        """
        select bytes, expires_at < now() + $3 as ending from reservations
        where id = $1 and user_id = $2 and expires_at is not null
        """,
        media, user, GRACE / 2,
    )  # fmt: skip
    if row is None or not row["ending"]:
        return None if row is None else int(row["bytes"])
    held: int | None = await connection.fetchval(
        f"""
        update reservations r set expires_at = now() + $3 from (values (1)) as one {SOON}
        where r.id = $1 and r.user_id = $2 and r.expires_at is not null returning r.bytes
        """,
        media, user, GRACE,
    )  # fmt: skip
    return held


class _Undone(Exception):
    """What a transaction did is not to be."""


async def _take(connection: Connection, user: int, size: int) -> bool:
    done = await connection.fetchval(
        f"""
        update users set reserved_bytes = reserved_bytes + $2
        where id = $1 and ($2 <= 0 and deleted_at is null or {ROOM.format(more="$2")}) returning 1
        """,
        user, size,
    )  # fmt: skip
    return done is not None


async def _patiently(
    database: Database, user: int, size: int, attempt: Callable[[Connection], Awaitable[bool]], wait: float
) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait
    while True:
        async with database.connection() as connection:
            with apps.perhaps_full():
                if await attempt(connection):
                    return
            room = await left(connection, user)
        if room is not None and room < size:
            raise QuotaExceeded(needed_bytes=size, left_bytes=room)
        if clock() >= deadline:
            raise Busy(needed_bytes=size)
        await asyncio.sleep(POLL_SECONDS)


async def settle(connection: Connection, user: int, media: UUID, used: int, kept: int, count: int) -> bool:
    """In the transaction that stores the media: charges `used` bytes, keeps `kept` reserved for its job.

    False where the reservation has expired or the user is deleted: the caller must then store nothing and roll back.
    Never waits for quota: `used + kept` is at most what was reserved.
    """
    charged = await connection.fetchval(
        """
        with owner as materialized (
            select id from users where id = $1 and deleted_at is null for no key update),
        held as (
            select r.id, r.bytes from owner join reservations r on r.user_id = owner.id
            where r.id = $2 and r.expires_at is not null and r.bytes >= $3::bigint + $4::bigint for update of r),
        charged as (
            update users u set used_bytes = used_bytes + $3, reserved_bytes = reserved_bytes - held.bytes + $4,
                               media_count = media_count + $5
            from held where u.id = $1 returning held.id)
        update reservations r set bytes = $4, expires_at = null from charged where r.id = charged.id returning 1
        """,
        user, media, used, kept, count,
    )  # fmt: skip
    if charged is not None and not kept:
        await connection.execute("delete from reservations where id = $1", media)
    return charged is not None


async def left(connection: Connection, user: int) -> int | None:
    """What is left of the quotas of the user and of their app but for what is reserved, which may be given back; None where
    there is no limit, 0 where there is no such user."""
    row = await connection.fetchrow(
        """
        select least(u.quota_bytes - u.used_bytes, case when u.counted then a.quota_bytes - a.used_bytes end)
        from users u join apps a on a.id = u.app_id where u.id = $1 and u.deleted_at is null
        """,
        user,
    )
    if row is None:
        return 0
    return None if row[0] is None else max(0, row[0])


async def kept(connection: Connection, media: UUID) -> int:
    """The bytes that are kept for the media's ladder job."""
    return await connection.fetchval("select bytes from reservations where id = $1", media) or 0


async def finish(connection: Connection, user: int, media: UUID, used: int) -> None:
    """When the ladder job ends: charges the `used` bytes of its rungs and releases what was kept for it."""
    await connection.execute("select 1 from users where id = $1 for no key update", user)
    held = await connection.fetchval("delete from reservations where id = $1 returning bytes", media) or 0
    await connection.execute(
        "update users set used_bytes = used_bytes + $2, reserved_bytes = reserved_bytes - $3 where id = $1",
        user, used, held,
    )  # fmt: skip


async def release(connection: Connection, media: UUID) -> None:
    """Gives an upload's reservation back; nothing happens where it was settled, released or has expired."""
    await _release(connection, media, expired=False)


async def release_expired(connection: Connection) -> int:
    """Releases the uploads' reservations whose time has passed; returns how many."""
    rows = await connection.fetch("select id from reservations where expires_at < now() limit 1000")
    return sum([await _release(connection, row["id"], expired=True) for row in rows])


async def _release(connection: Connection, media: UUID, *, expired: bool) -> bool:
    user = await connection.fetchval("select user_id from reservations where id = $1 and expires_at is not null", media)
    if user is None:
        return False
    async with connection.transaction():
        await connection.execute("select 1 from users where id = $1 for no key update", user)
        held = await connection.fetchval(
            """
            delete from reservations where id = $1 and expires_at is not null and (not $2 or expires_at < now())
            returning bytes
            """,
            media, expired,
        )  # fmt: skip
        if held is None:
            return False
        await connection.execute("update users set reserved_bytes = reserved_bytes - $2 where id = $1", user, held)
        return True


async def give_back(connection: Connection, user: int, used: int, count: int) -> None:
    """Gives the bytes and the count of purged media back."""
    await connection.execute(
        "update users set used_bytes = used_bytes - $2, media_count = media_count - $3 where id = $1",
        user,
        used,
        count,
    )
