"""Pages of media, newest first, each read off an index: what a page costs does not grow with what lies before it.

A query walks one index down from where the page begins and looks at the media that it meets one by one. PostgreSQL is
left no other way, since its plans for any values guess a page to be a tenth of all there is, and since it takes every
owner and flow for as large as the others:
- the order names the index's first column too, of which there is one value (`= any`, as `=` would strike it out);
- each look is a lateral of its own (`offset 0` keeps it one) or a value: what is joined, it may merge with an index that
  it reads from the newest media on, or hash and sort.
"""

from __future__ import annotations

from uuid import UUID

from chipmunk import flows
from chipmunk.db import Connection
from chipmunk.media import COLUMNS, LIVE, SEEN_BY, SHOWN, SOURCE, Media

NEWEST = UUID(int=2**128 - 1)
OF_THE_APP = "select id, app_id as place from media where app_id = any(array[$1::integer]) and id < $3"
OF_AN_OWNER = "select id, owner_id as place from media where owner_id = any(array[$5::bigint]) and id < $3"
OF_AN_OWNER_IN_A_FLOW = f"""
    {OF_AN_OWNER} and (select true from flow_media z where z.flow_id = $6 and z.media_id = media.id)
"""
# As the key of flow_media has it: both columns fall.
IN_A_FLOW = """
    select media_id as id, flow_id as place from flow_media where flow_id = any(array[$5::bigint]) and media_id < $3
"""
SEEN_BY_A_USER = f"""
    select id, 0 as place from (
        (select id from media
         where owner_id = any(array[$2::bigint]) and {LIVE} and id < $3
         order by owner_id, id desc limit $4)
        union
        (select shared.id from flow_members y cross join lateral (
             select z.media_id as id from flow_media z cross join lateral (
                 select 1 from media n join users p on p.id = n.owner_id
                 where n.id = z.media_id and n.{LIVE} and {SHOWN.replace("m.", "n.")} and not p.suspended and p.deleted_at is null
                 offset 0) shown
             where z.flow_id = any(array[y.flow_id]) and z.media_id < $3
             order by z.flow_id desc, z.media_id desc limit $4) shared
         where y.user_id = $2)) own_and_shared
    order by id desc limit $4
"""


async def public_page(connection: Connection, flow: int, before: UUID | None, limit: int) -> list[Media]:
    """What anybody may see in a public flow, from just below `before` on: of users who are suspended nothing."""
    rows = await connection.fetch(
        f"""
        select found.* from (
            select media_id as id, flow_id as place from flow_media where flow_id = any(array[$1::bigint]) and media_id < $2
        ) walked cross join lateral (
            select {COLUMNS} from {SOURCE} where m.id = walked.id and m.{LIVE} and {SHOWN} and s.token is not null
               and not o.suspended and o.deleted_at is null offset 0) found
        order by walked.place desc, walked.id desc limit $3
        """,
        flow, before or NEWEST, limit,
    )  # fmt: skip
    return [Media(*r) for r in rows]


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
    if flow is not None and viewer is not None and await flows.role(connection, flow, viewer) is None:
        # Others' media are not told to be in a flow that the viewer is no member of, though a flow of both may show them.
        if owner not in (None, viewer):
            return []
        owner = viewer
    walk, order, given = _walk(viewer, owner, flow)
    rows = await connection.fetch(
        f"""
        select found.* from ({walk}) walked cross join lateral (
            select {COLUMNS} from {SOURCE} where m.id = walked.id and {SEEN_BY} offset 0) found
        order by walked.place {order}, walked.id desc limit $4
        """,
        app, viewer, before or NEWEST, limit, *given,
    )  # fmt: skip
    return [Media(*r) for r in rows]


def _walk(viewer: int | None, owner: int | None, flow: int | None) -> tuple[str, str, list[int]]:
    """A query of the ids among which the page lies, the order of its places, and its values from the fifth on."""
    if owner is not None:
        return (OF_AN_OWNER, "asc", [owner]) if flow is None else (OF_AN_OWNER_IN_A_FLOW, "asc", [owner, flow])
    if flow is not None:
        return IN_A_FLOW, "desc", [flow]
    return (OF_THE_APP if viewer is None else SEEN_BY_A_USER), "asc", []
