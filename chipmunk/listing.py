"""Pages of media, newest first, each read off an index: what a page costs does not grow with what lies before it."""

from __future__ import annotations

from uuid import UUID

from chipmunk.db import Connection
from chipmunk.media import COLUMNS, SEEN_BY, SOURCE, Media

NEWEST = UUID(int=2**128 - 1)
SEEN_BY_A_USER = """
    m.id in (
        (select id from media where owner_id = $2 and state <> 'deleted' and id < $3 order by id desc limit $4)
        union
        (select shared.id from flow_members y cross join lateral (
             select n.id from flow_media z join media n on n.id = z.media_id join users p on p.id = n.owner_id
             where z.flow_id = y.flow_id and z.media_id < $3
               and n.state <> 'deleted' and not p.suspended and p.deleted_at is null
             order by z.media_id desc limit $4) shared
         where y.user_id = $2))
"""

# Others' media are not told to be in a flow that the viewer is no member of, though a flow of both may show them.
IN_A_FLOW_OF_THEIRS = """
    ($2::bigint is null or m.owner_id = $2 or exists (
        select 1 from flow_members t where t.flow_id = z.flow_id and t.user_id = $2))
"""


async def page(
    connection: Connection,
    app: int,
    viewer: int | None,
    *,
    owner: int | None = None,
    flow: int | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Media]:
    """What the viewer (None: the app's backend) may see, of one owner or in one flow where given, from just below
    `before` on."""
    given: list[object] = [app, viewer, before or NEWEST, limit]
    source, place, more = SOURCE, "m.id", []
    if owner is not None:
        given.append(owner)
        more.append(f"m.owner_id = ${len(given)}")
    if flow is not None:
        given.append(flow)
        source, place = f"{SOURCE} join flow_media z on z.media_id = m.id and z.flow_id = ${len(given)}", "z.media_id"
        more.append(IN_A_FLOW_OF_THEIRS)
    if owner is None and flow is None and viewer is not None:
        more.append(SEEN_BY_A_USER)
    wanted = " and ".join([SEEN_BY, f"{place} < $3", *more])
    rows = await connection.fetch(
        f"select {COLUMNS} from {source} where {wanted} order by {place} desc limit $4", *given
    )
    return [Media(*r) for r in rows]
