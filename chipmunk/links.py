"""Links: each URL is one; `Grant` is what the authorizer needs of it, `Link` what its maker sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from chipmunk import revocations
from chipmunk.db import Connection
from chipmunk.errors import NotFound
from chipmunk.ids import new_id
from chipmunk.signing import random_identifier


@dataclass(frozen=True, slots=True)
class Link:
    """`id` is a handle that opens nothing; `user` is set where the audience is one user.

    The audience `openers` is anyone who opens it first (`openings`); `views` is how often that was done.
    """

    id: UUID
    token: UUID
    media_id: UUID
    audience: str
    user: str | None
    original: bool
    expires_at: datetime | None
    created_at: datetime
    password: bool
    max_views: int | None
    views: int | None


class Grant(NamedTuple):
    """All that deciding about a link needs, with nothing about who asks. `expires_at` is Unix time.

    `home` is the backend that serves the media; None: the local volume.
    """

    token: UUID
    media_id: UUID
    app_id: int
    owner_id: int
    owner_suspended: bool
    audience: str
    user_id: int | None
    original: bool
    expires_at: float | None
    flow_ids: frozenset[int]
    public: bool
    state: str
    mime: str
    filename: str
    home: int | None = None


async def grants(connection: Connection, tokens: Sequence[UUID]) -> dict[UUID, Grant]:
    """What the links of these tokens grant, whether or not they have expired; without those that are not there.

    Of a media that is held no link but its standing one and its owner's, and these as if it were in no flow.
    """
    rows = await connection.fetch(
        """
        select l.token, m.id, m.app_id, m.owner_id, o.suspended, l.audience, l.user_id, l.original,
               extract(epoch from l.expires_at)::float8, coalesce(shown.flows, '{}'), coalesce(shown.public, false),
               m.state, m.mime, m.filename, m.home
        from links l join media m on m.id = l.media_id join users o on o.id = m.owner_id
             cross join lateral (select array_agg(f.id) as flows, bool_or(f.visibility = 'public') as public
                                 from flow_media fm join flows f on f.id = fm.flow_id
                                 where fm.media_id = m.id and m.review is distinct from 'held') shown
        where l.token = any($1::uuid[]) and m.state not in ('deleted', 'trashed') and o.deleted_at is null
          and (m.review is distinct from 'held' or l.audience in ('standing', 'owner'))
        """,
        tokens,
    )
    found = {}
    for row in rows:
        values = list(row)
        values[9] = frozenset(values[9])
        found[row["token"]] = Grant(*values)
    return found


async def create(
    connection: Connection,
    media: UUID,
    *,
    audience: str,
    user: int | None,
    original: bool,
    ttl: timedelta | None,
    password: str | None = None,
    max_views: int | None = None,
) -> Link:
    """Makes a link to the media. `audience` is owner, user (then `user` is whose) or anyone.

    One for anyone that has a password (its hash is what comes here) or a number of views has to be opened first.
    """
    if audience == "anyone" and (password is not None or max_views is not None):
        audience = "openers"
    row = await connection.fetchrow(
        """
        insert into links (id, token, media_id, audience, user_id, original, expires_at, password, max_views, views)
        values ($1, $2, $3, $4, $5, $6, now() + $7::interval, $8, $9, $10)
        returning id, token, media_id, audience, (select name from users where id = user_id), original, expires_at,
                  created_at, password is not null, max_views, views
        """,
        new_id(), random_identifier(), media, audience, user, original, ttl, password, max_views,
        0 if audience == "openers" else None,
    )  # fmt: skip
    return Link(*row)


async def of_media(connection: Connection, media: UUID, before: UUID | None, limit: int) -> list[Link]:
    """The media's links but its standing one, newest first, from just below `before` on; expired ones until swept."""
    rows = await connection.fetch(
        """
        select l.id, l.token, l.media_id, l.audience, u.name, l.original, l.expires_at, l.created_at,
               l.password is not null, l.max_views, l.views
        from links l left join users u on u.id = l.user_id
        where l.media_id = $1 and l.audience <> 'standing' and ($2::uuid is null or l.id < $2)
        order by l.id desc limit $3
        """,
        media, before, limit,
    )  # fmt: skip
    return [Link(*r) for r in rows]


async def revoke(connection: Connection, app: int, link: UUID, owner: int | None) -> tuple[UUID, int]:
    """Takes one link of the app's media (of `owner`, where given), or NotFound. Returns its media and that one's owner."""
    row = await connection.fetchrow(
        """
        delete from links l using media m
        where l.id = $1 and l.audience <> 'standing' and m.id = l.media_id and m.app_id = $2 and m.state <> 'deleted'
          and ($3::bigint is null or m.owner_id = $3)
        returning l.token, m.id, m.owner_id
        """,
        link, app, owner,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such link.", link=link.hex)
    token, media, owned_by = row
    await revocations.revoke(connection, f"link:{token.hex}")
    return media, owned_by


async def revoke_all(connection: Connection, media: UUID) -> list[str]:
    """Takes every link of the media; its standing one gets a new address. Returns the tags to publish."""
    rows = await connection.fetch(
        "delete from links where media_id = $1 and audience <> 'standing' returning token", media
    )
    standing = await connection.fetchval(
        "select token from links where media_id = $1 and audience = 'standing' for update", media
    )
    if standing is not None:
        await connection.execute("update links set token = $2 where token = $1", standing, random_identifier())
    tags = [f"link:{t.hex}" for t in (*(r["token"] for r in rows), standing) if t is not None]
    await revocations.revoke(connection, *tags)
    return tags


async def forget_expired(connection: Connection) -> None:
    """Takes the rows of links that expired a day ago or longer."""
    await connection.execute("delete from links where expires_at < now() - interval '1 day'")
