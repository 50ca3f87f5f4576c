"""Resumable uploads: what is said of them, how far they are, and who appends to them now.

An upload has one holder at a time, by a lease that runs out on its own. Everything that a holder writes names the holder,
so one that was overtaken changes nothing. Its id is that of its reservation and of the media that it becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.errors import NotFound, TooManyUploads

LEASE = timedelta(seconds=3)
MOST_OPEN = 1000  # of a user
KIND = "tus"

Concat = Literal["partial", "final"]
COLUMNS = """
    id, app_id, user_id, by_app, state, flows, filename, metadata, length, "offset", concat, parts, media_id, problem,
    holder, held_until, coalesce(held_until > now(), false) as held, created_at, expires_at,
    (select suspended from users owner where owner.id = user_id) as suspended
"""
FREE = "(holder is null or held_until < now())"
LIVE = "state in ('open', 'ingesting')"
WHOLE = "length and concat is distinct from 'partial'"


@dataclass(frozen=True, slots=True)
class Upload:
    """`length` None: not known yet. Once all its bytes are there it is `ingesting`; a partial one waits, open.

    `problem` is the document of what it failed with. `by_app`: made with the app's key, so that any flow may take it.
    """

    id: UUID
    app_id: int
    user_id: int
    by_app: bool
    state: Literal["open", "ingesting", "stored", "failed"]
    flows: list[str]
    filename: str | None
    metadata: str
    length: int | None
    offset: int
    concat: Concat | None
    parts: list[UUID]
    media_id: UUID | None
    problem: dict[str, Any] | None
    holder: UUID | None
    held_until: datetime | None
    held: bool
    created_at: datetime
    expires_at: datetime
    suspended: bool

    @property
    def whole(self) -> bool:
        return self.offset == self.length


@dataclass(frozen=True, slots=True)
class New:
    """An upload to be. It begins with no byte, held by `holder` where one is named."""

    id: UUID
    app_id: int
    user_id: int
    by_app: bool
    flows: tuple[str, ...]
    filename: str | None
    metadata: str
    length: int | None
    concat: Concat | None = None
    parts: tuple[UUID, ...] = ()
    holder: UUID | None = None


def of_row(row: object) -> Upload:
    return Upload(*row)  # type: ignore[misc]


async def create(connection: Connection, new: New, life: timedelta) -> Upload:
    """The new upload; what is reserved for it lasts as long. TooManyUploads where the user has enough of them open."""
    async with connection.transaction():
        await connection.execute("select from users where id = $1 for no key update", new.user_id)
        row = await _created(connection, new, life)
    if row is None:
        raise TooManyUploads(limit=MOST_OPEN)
    return of_row(row)


async def _created(connection: Connection, new: New, life: timedelta) -> Any:
    return await connection.fetchrow(
        f"""
        with made as (
            insert into uploads (id, app_id, user_id, kind, by_app, state, flows, filename, metadata, length, concat,
                                 parts, holder, held_until, expires_at)
            select $1, $2, $3, '{KIND}', $4, case when $9 = 'final' then 'ingesting' else 'open' end, $5, $6, $7, $8,
                   $9, $10, $11, case when $11::uuid is not null then now() + $12::interval end, now() + $13
            where (select count(*) from uploads where user_id = $3 and {LIVE}) < $14
            returning *),
        kept as (
            update reservations r set expires_at = now() + 2 * $13::interval from made
            where r.id = made.id and r.expires_at is not null)
        select {COLUMNS} from made
        """,
        new.id, new.app_id, new.user_id, new.by_app, list(new.flows), new.filename, new.metadata, new.length,
        new.concat, list(new.parts), new.holder, LEASE, life, MOST_OPEN,
    )  # fmt: skip


async def get(connection: Connection, app: int, upload: UUID, caller: int | None) -> Upload:
    """The upload, where the app's backend (`caller` None) or its user asks; else NotFound."""
    row = await connection.fetchrow(
        f"""
        select {COLUMNS} from uploads x where id = $1 and app_id = $2 and ($3::bigint is null or user_id = $3)
           and kind = '{KIND}' and expires_at > now()
           and exists (select from users u where u.id = x.user_id and u.deleted_at is null)
        """,
        upload, app, caller,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such upload.", upload=upload.hex)
    return of_row(row)


async def find(connection: Connection, upload: UUID) -> Upload | None:
    """The upload, of whatever kind."""
    row = await connection.fetchrow(f"select {COLUMNS} from uploads where id = $1", upload)
    return None if row is None else of_row(row)


async def take(connection: Connection, upload: UUID, holder: UUID, life: timedelta | None) -> Upload | None:
    """Makes `holder` the one that appends; None where another does, or where nothing is appended any more.

    With a `life` the upload expires so much later than now.
    """
    row = await connection.fetchrow(
        f"""
        update uploads set holder = $2, held_until = now() + $3, expires_at = coalesce(now() + $4, expires_at)
        where id = $1 and {LIVE} and {FREE} and ($4::interval is null or expires_at > now())
        returning {COLUMNS}
        """,
        upload, holder, LEASE, life,
    )  # fmt: skip
    return None if row is None else of_row(row)


async def keep(connection: Connection, upload: UUID, holder: UUID) -> bool:
    """Renews the lease; False where the upload is another's by now, or gone."""
    kept = await connection.fetchval(
        "update uploads set held_until = now() + $3 where id = $1 and holder = $2 returning 1", upload, holder, LEASE
    )
    return kept is not None


async def record(
    connection: Connection, upload: UUID, holder: UUID, before: int, after: int, life: timedelta | None
) -> bool:
    """Says that the bytes up to `after` are on disk for good, and renews the lease; False as with `keep`."""
    done = await connection.fetchval(
        f"""
        update uploads set "offset" = $4, held_until = now() + $5, expires_at = coalesce(now() + $6, expires_at),
                           state = case when $4 = {WHOLE} then 'ingesting' else state end
        where id = $1 and holder = $2 and "offset" = $3 and {LIVE} returning 1
        """,
        upload, holder, before, after, LEASE, life,
    )  # fmt: skip
    return done is not None


async def declare(connection: Connection, upload: UUID, holder: UUID, length: int) -> bool:
    """Says how long an upload is that had been begun without a length; False as with `keep`."""
    done = await connection.fetchval(
        f"""
        update uploads x set length = $3, state = case when "offset" = $3 and concat is distinct from 'partial'
                                                  then 'ingesting' else state end
        where id = $1 and holder = $2 and length is null and "offset" <= $3 and {LIVE} returning 1
        """,
        upload, holder, length,
    )  # fmt: skip
    return done is not None


async def let_go(connection: Connection, upload: UUID, holder: UUID) -> None:
    await connection.execute(
        "update uploads set holder = null, held_until = null where id = $1 and holder = $2", upload, holder
    )


async def stored(connection: Connection, upload: UUID, holder: UUID) -> bool:
    """In the transaction that makes it a media; False where another holds it by now: then it is that one's to make."""
    return await _end(connection, upload, holder, "ingesting", "stored", None)


async def fail(connection: Connection, upload: UUID, holder: UUID, problem: dict[str, Any]) -> bool:
    """Ends the upload with what it was refused for; False as with `keep`."""
    return await _end(connection, upload, holder, "open", "failed", problem)


async def _end(
    connection: Connection, upload: UUID, holder: UUID, least: str, state: str, problem: dict[str, Any] | None
) -> bool:
    """Ends an upload that is `least` (or ingesting); the parts that it was made of have served then."""
    row = await connection.fetchval(
        """
        with ended as (
            update uploads set state = $4, problem = $5, media_id = case when $4 = 'stored' then id end,
                               holder = null, held_until = null
            where id = $1 and holder = $2 and state in ($3, 'ingesting') returning parts),
        spent as (
            update uploads set state = 'stored' where id in (select unnest(parts) from ended))
        select 1 from ended
        """,
        upload, holder, least, state, problem,
    )  # fmt: skip
    return row is not None


async def remove(connection: Connection, upload: UUID) -> list[UUID]:
    """Takes the upload, and the parts that it has spent. Returns the ids of all of them; none while it is ingested, or
    while one that it is a part of has not its bytes yet."""
    rows = await connection.fetch(
        f"""
        with gone as (
            delete from uploads x where id = $1 and (state <> 'ingesting' or {FREE})
               and not exists (select from uploads f where x.concat = 'partial' and f.user_id = x.user_id
                               and f.concat = 'final' and f.state = 'ingesting' and f."offset" < f.length
                               and x.id = any(f.parts))
            returning id, parts)
        , spent as (
            delete from uploads where id in (select unnest(parts) from gone) returning id)
        select id from gone union all select id from spent
        """,
        upload,
    )
    return [row["id"] for row in rows]


async def expired(connection: Connection, most: int) -> list[UUID]:
    """Uploads that nobody has come back to in time."""
    rows = await connection.fetch(
        f"select id from uploads where expires_at < now() and kind = '{KIND}' and {FREE} limit $1", most
    )
    return [row["id"] for row in rows]


async def abandoned(connection: Connection, since: timedelta, most: int) -> list[UUID]:
    """Uploads that have all their bytes and whose ingesting nobody goes on with, for so long."""
    rows = await connection.fetch(
        f"""
        select id from uploads where state = 'ingesting' and kind = '{KIND}' and concat is distinct from 'partial'
           and (holder is null or held_until < now() - $1::interval) and expires_at > now()
        order by id limit $2
        """,
        since, most,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def of_user(connection: Connection, user: int) -> list[UUID]:
    rows = await connection.fetch(f"select id from uploads where user_id = $1 and kind = '{KIND}'", user)
    return [row["id"] for row in rows]


async def without_need(connection: Connection, uploads: Sequence[UUID]) -> list[UUID]:
    """Those of these ids whose bytes no upload needs any more."""
    rows = await connection.fetch(
        f"""
        select id from unnest($1::uuid[]) as given (id)
        where not exists (select from uploads u where u.id = given.id and {LIVE})
        """,
        list(uploads),
    )
    return [row["id"] for row in rows]
