"""Whereabouts: what of a flow or of a backend lies where, in pages."""

from __future__ import annotations

from uuid import UUID

from chipmunk.backends import LOCAL
from chipmunk.copies import UNSETTLED
from chipmunk.db import Connection


async def count_of_flow(connection: Connection, flow: int) -> int:
    """How many media are in a flow."""
    found: int = await connection.fetchval("select count(*) from flow_media where flow_id = $1", flow)
    return found


async def of_flow(
    connection: Connection, flow: int, after: UUID, limit: int, *, only_unsettled: bool = False
) -> list[UUID]:
    """The live media in a flow, oldest first, from just above `after` on; those that something is left to do for."""
    left = f"and exists (select from copies c where c.media_id = m.id and {UNSETTLED})" if only_unsettled else ""
    rows = await connection.fetch(
        f"""
        select m.id from flow_media f join media m on m.id = f.media_id
        where f.flow_id = $1 and f.media_id > $2 and m.state <> 'deleted' {left} order by f.media_id limit $3
        """,
        flow, after, limit,
    )  # fmt: skip
    return [r["id"] for r in rows]


async def on_backend(connection: Connection, backend: int, after: UUID, limit: int) -> list[UUID]:
    """The live media that a backend holds, oldest first, from just above `after` on."""
    elsewhere = """
        select c.media_id as id from copies c join media m on m.id = c.media_id
        where c.backend_id = $1 and c.media_id > $2 and c.state = 'stored' and m.state <> 'deleted'
        order by c.media_id limit $3
    """
    here = """
        select m.id from media m
        where m.id > $2 and m.state <> 'deleted' and (
            exists (select from copies c where c.media_id = m.id and c.backend_id = $1 and c.state = 'stored')
            or not exists (select from copies c where c.media_id = m.id))
        order by m.id limit $3
    """
    rows = await connection.fetch(here if backend == LOCAL else elsewhere, backend, after, limit)
    return [r["id"] for r in rows]


async def strangers(connection: Connection, backend: int, identifiers: list[UUID]) -> list[UUID]:
    """Those of these that are no media with a copy on this backend, nor uploads that are about to make one."""
    rows = await connection.fetch(
        """
        select id from unnest($2::uuid[]) as given (id)
        where not exists (select from copies c where c.media_id = given.id and c.backend_id = $1)
          and not exists (select from reservations r where r.id = given.id)
        """,
        backend, identifiers,
    )  # fmt: skip
    return [r["id"] for r in rows]


async def waiting(connection: Connection) -> dict[str, int]:
    """For each backend by name, how many copies have to be made there or taken away."""
    rows = await connection.fetch(
        f"""
        select b.name, count(c.media_id) from backends b left join copies c on c.backend_id = b.id and {UNSETTLED}
        group by b.name
        """
    )
    return {r[0]: r[1] for r in rows}
