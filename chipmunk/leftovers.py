"""What is left of media: files without a row, ladders that nobody climbs, purges that nobody does, a deleted user's."""

from __future__ import annotations

from uuid import UUID

from chipmunk import jobs, revocations
from chipmunk.db import Connection
from chipmunk.media import DELETED


async def unknown(connection: Connection, identifiers: list[UUID]) -> list[UUID]:
    """Those of these that are no media, in whatever state, and that no upload is about to make one."""
    rows = await connection.fetch(
        """
        select id from unnest($1::uuid[]) as given (id)
        where not exists (select 1 from media m where m.id = given.id)
          and not exists (select 1 from reservations r where r.id = given.id)
        """,
        identifiers,
    )
    return [r["id"] for r in rows]


async def stranded(connection: Connection) -> list[tuple[UUID, int, bool]]:
    """Media whose ladder's reservation nobody will finish: id, owner, and whether it still waits for its ladder."""
    rows = await connection.fetch(
        """
        select r.media_id, r.user_id, coalesce('processing' in (m.state, m.restores_to), false)
        from reservations r left join media m on m.id = r.media_id left join jobs j on j.id = m.job_id
        where r.expires_at is null
          and (m.id is null or coalesce(m.restores_to, m.state) <> 'processing' or j.id is null
               or j.state not in ('queued', 'running'))
        limit 1000
        """
    )
    return [(r[0], r[1], r[2]) for r in rows]


async def enqueue_purges(connection: Connection) -> int:
    """Makes jobs for deleted media that none will purge, and returns how many."""
    rows = await connection.fetch(
        """
        select m.id, m.app_id, m.owner_id from media m join users o on o.id = m.owner_id
        where m.state = 'deleted' and o.deleted_at is null and not exists (
            select 1 from jobs j where j.media_id = m.id and j.kind = $1 and j.state in ('queued', 'running'))
        limit 1000
        """,
        jobs.PURGE_MEDIA,
    )
    for row in rows:
        await jobs.enqueue(connection, jobs.PURGE_MEDIA, app=row["app_id"], user=row["owner_id"], media=row["id"])
    return len(rows)


async def deleted_of(connection: Connection, owner: int, limit: int, after: UUID) -> list[UUID]:
    """Marks up to `limit` media of a deleted user as deleted too, from just above `after` on, and returns these."""
    rows = await connection.fetch(
        f"""
        with chosen as (select id, app_id, state from media where owner_id = $1 and id > $3 order by id limit $2),
             gone as (delete from links where media_id in (select id from chosen)),
             noted as (insert into audit (app_id, actor, action, user_id, media_id, changes)
                       select app_id, 'system', 'media.deleted', $1, id, '{{"why": "user"}}'
                       from chosen where state <> 'deleted')
        update media set {DELETED} where id in (select id from chosen) returning id
        """,
        owner, limit, after,
    )  # fmt: skip
    if rows:
        await revocations.revoke(connection, *(f"media:{r['id'].hex}" for r in rows))
    return sorted(r["id"] for r in rows)
