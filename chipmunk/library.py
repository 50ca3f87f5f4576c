"""What flows hold, as the images library asks: how many, which of these, and which is called that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.media import COLUMNS, LIVE, SEEN_BY, SHOWN, SOURCE, Media

COUNTED = """
    coalesce((select media from flow_counts c where c.flow_id = f.id), 0)
    + coalesce((select sum(n) from flow_changes x where x.flow_id = f.id), 0)
"""
SUMMED_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class Held:
    """A flow's name, and of its live media how many the one who asks may see there."""

    flow: str
    media: int


def storable(text: str) -> bool:
    """Whether PostgreSQL could hold it at all."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


async def counts(connection: Connection, app: int, viewer: int | None) -> list[Held]:
    """Of the flows that the viewer may see, by name: all to the app's backend; to a user those they are a member of,
    public ones, and those where media of their own lie, of which these alone count."""
    rows = await connection.fetch(
        f"""
        with own as (
            select z.flow_id, count(*) as n from media m join flow_media z on z.media_id = m.id
            where m.owner_id = $2 and m.{LIVE} group by z.flow_id)
        select f.name, ({COUNTED})::bigint as n, true as whole from flows f
        where f.app_id = $1 and ($2::bigint is null or f.visibility = 'public' or exists (
            select from flow_members y where y.flow_id = f.id and y.user_id = $2))
        union all
        select f.name, own.n, false from own join flows f on f.id = own.flow_id
        where f.visibility <> 'public' and not exists (
            select from flow_members y where y.flow_id = f.id and y.user_id = $2)
        order by 1
        """,
        app, viewer,
    )  # fmt: skip
    return [Held(r["name"], r["n"]) for r in rows]


async def count(connection: Connection, flow: int) -> int:
    """The live media in a flow."""
    found: int = await connection.fetchval(f"select ({COUNTED})::bigint from flows f where f.id = $1", flow)
    return found


async def sum_up(connection: Connection) -> int:
    """Adds changes to what flows had; how many changes. One statement, so that no count is ever seen half done."""
    found: int = await connection.fetchval(
        """
        with taken as (
            delete from flow_changes where id in (select id from flow_changes order by id limit $1)
            returning flow_id, n),
        added as (
            insert into flow_counts (flow_id, media)
            select t.flow_id, sum(t.n) from taken t join flows f on f.id = t.flow_id group by t.flow_id
            on conflict (flow_id) do update set media = flow_counts.media + excluded.media)
        select count(*) from taken
        """,
        SUMMED_AT_ONCE,
    )
    return found


async def of_origins(
    connection: Connection, app: int, viewer: int | None, flow: int | None, urls: Sequence[str]
) -> list[Media]:
    """What was fetched from one of these URLs, in a flow where given, newest first: of all users where the app's backend
    asks, else of the viewer, since where a media comes from is its owner's to know."""
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from {SOURCE}
        where {SEEN_BY} and ($2::bigint is null or m.owner_id = $2)
          and m.origin is not null and m.origin ->> 'url' = any($3::text[])
          and md5(m.origin ->> 'url') = any(array(select md5(u) from unnest($3::text[]) as given (u)))
          and ($4::bigint is null or exists (select from flow_media z where z.flow_id = $4 and z.media_id = m.id))
        order by m.id desc limit 1000
        """,
        app, viewer, [*filter(storable, urls)], flow,
    )  # fmt: skip
    return [Media(*row) for row in rows]


async def tokens_by_name(
    connection: Connection, app: int, flow: int, viewer: int | None, names: Sequence[str], *, public: bool
) -> dict[str, UUID]:
    """For each of these file names that there is in the flow, the token of the standing link of the newest. Of a `public`
    flow anybody's; of another the viewer's who may see them."""
    seen = f"m.{LIVE} and {SHOWN} and not o.suspended and o.deleted_at is null" if public else SEEN_BY
    rows = await connection.fetch(
        f"""
        select given.name, newest.token from unnest($3::text[]) as given (name) cross join lateral (
            select s.token from {SOURCE}
            where m.app_id = $1 and ($2::bigint is null or true) and {seen} and m.filename = given.name
              and exists (select from flow_media z where z.flow_id = $4 and z.media_id = m.id) and s.token is not null
            order by m.id desc limit 1) newest
        """,
        app, viewer, [*filter(storable, names)], flow,
    )  # fmt: skip
    return {r["name"]: r["token"] for r in rows}
