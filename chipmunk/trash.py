"""The trash: media that nobody can view, and that their owner has back at will until they are purged."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from chipmunk import audit, jobs, media, revocations
from chipmunk.audit import Actor
from chipmunk.db import Connection
from chipmunk.listing import NEWEST
from chipmunk.media import COLUMNS, DELETED, SOURCE, Media

PURGED_AT_ONCE = 500
OF_THE_APP = (
    "select id, app_id as place from media where state = 'trashed' and app_id = any(array[$1::integer]) and id < $2"
)
OF_AN_OWNER = (
    "select id, owner_id as place from media where state = 'trashed' and owner_id = any(array[$1::bigint]) and id < $2"
)


async def put(
    connection: Connection, app: int, identifier: UUID, caller: int | None, life: timedelta, by: Actor
) -> Media:
    """From the commit on nobody can view the media; it is purged once it has been there for `life`. Again is fine, and
    changes nothing."""
    row = await connection.fetchrow(
        f"""
        update media set state = 'trashed', restores_to = state, trashed_at = now(), purge_at = now() + $4::interval
        where id = $1 and app_id = $2 and {media.LIVE} and ($3::bigint is null or owner_id = $3)
        returning owner_id, purge_at
        """,
        identifier, app, caller, life,
    )  # fmt: skip
    if row is not None:
        changes = {"purge_at": row["purge_at"].isoformat()}
        await audit.note(
            connection, by, "media.trashed", app=app, user=row["owner_id"], media=identifier, changes=changes
        )
        await revocations.revoke(connection, f"media:{identifier.hex}")
    return await media.owned(connection, app, identifier, caller, trashed=True)


async def restore(connection: Connection, app: int, identifier: UUID, caller: int | None, by: Actor) -> Media:
    """From the commit on the media is what it was, its links too. Again is fine, and changes nothing."""
    owner = await connection.fetchval(
        """
        update media set state = restores_to, restores_to = null, trashed_at = null, purge_at = null
        where id = $1 and app_id = $2 and state = 'trashed' and ($3::bigint is null or owner_id = $3) returning owner_id
        """,
        identifier, app, caller,
    )  # fmt: skip
    if owner is not None:
        await audit.note(connection, by, "media.restored", app=app, user=owner, media=identifier)
        await revocations.revoke(connection, f"media:{identifier.hex}")
    return await media.owned(connection, app, identifier, caller, trashed=True)


async def page(connection: Connection, app: int, owner: int | None, before: UUID | None, limit: int) -> list[Media]:
    """What is in the trash, of one owner where given, newest first, from just below `before` on."""
    walk, place = (OF_THE_APP, app) if owner is None else (OF_AN_OWNER, owner)
    rows = await connection.fetch(
        f"""
        select found.* from ({walk}) walked cross join lateral (
            select {COLUMNS} from {SOURCE} where m.id = walked.id and o.deleted_at is null and m.app_id = $4 offset 0) found
        order by walked.place desc, walked.id desc limit $3
        """,
        place, before or NEWEST, limit, app,
    )  # fmt: skip
    return [Media(*row) for row in rows]


async def purge_due(connection: Connection) -> int:
    """Deletes media whose time is over, as a call would, some at a time; how many."""
    rows = await connection.fetch(
        f"""
        with due as (
            select id from media where state = 'trashed' and purge_at <= now() order by purge_at limit $1
            for update skip locked),
        gone as (delete from links where media_id in (select id from due)),
        deleted as (
            update media set {DELETED} where id in (select id from due) returning id, app_id, owner_id),
        noted as (
            insert into audit (app_id, actor, action, user_id, media_id, changes)
            select app_id, 'system', 'media.deleted', owner_id, id, '{{"why": "trash"}}' from deleted)
        select id, app_id, owner_id from deleted
        """,
        PURGED_AT_ONCE,
    )
    for row in rows:
        await jobs.enqueue(connection, jobs.PURGE_MEDIA, app=row["app_id"], user=row["owner_id"], media=row["id"])
    if rows:
        await revocations.revoke(connection, *(f"media:{row['id'].hex}" for row in rows))
    return len(rows)
