"""The audit log: who did what to what, written in the transaction that does it, and never changed.

Rows hold numbers of users, not their names: whoever reads the log sees the names of those whom there still are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog

from chipmunk.credentials import Caller
from chipmunk.db import Connection

FORGOTTEN_AT_ONCE = 20_000
NEWEST = 2**63 - 1

# What is done, and what `changes` says of it beyond what the row does.
ACTIONS = {
    "media.uploaded": "`kind`, `mime`, `bytes`, `flows`",
    "media.changed": "`fields`: the names of what was given",
    "media.shared": "–",
    "media.approved": "–",
    "media.trashed": "`purge_at`",
    "media.restored": "–",
    "media.deleted": "`why`: `trash`, its time there was over; `user`, its owner was deleted",
    "link.made": "`audience`, `original`, `password` (whether it has one), `max_views`, `expires_at`",
    "link.revoked": "`all`, where it was every link of the media",
    "flow.made": "what was given; of a description only that it was",
    "flow.changed": "likewise",
    "flow.deleted": "–",
    "flow.moved": "`job`",
    "flow.media_added": "–",
    "flow.media_removed": "–",
    "member.set": "`role`",
    "member.removed": "–",
    "user.made": "what was given",
    "user.changed": "what was given",
    "user.deleted": "`job`",
    "session.made": "`session`, `scopes`, `expires_at`",
    "session.entered": "`session`",
    "session.ended": "`session`; `all`, where it was every session of the user",
    "job.started": "`job`, `kind`",
    "job.cancelled": "`job`, `kind`",
    "job.retried": "`job`, `kind`",
    "webhook.made": "`webhook`, `fields`: the names of what was given",
    "webhook.changed": "`webhook`, `fields`: the names of what was given",
    "webhook.rotated": "`webhook`",
    "webhook.deleted": "`webhook`",
    "backend.made": "`backend`, `fields`: the names of what was given",
    "backend.changed": "`backend`, `fields`: the names of what was given",
    "backend.deleted": "`backend`; `lost`, where it was given up",
    "backend.scrubbed": "`backend`, `job`",
    "app.made": "what was given",
    "app.changed": "what was given",
    "app.deleted": "`job`",
    "key.made": "`key`, `scopes`",
    "key.rotated": "`key`, `by`: that of the new one, `grace_seconds`",
    "key.revoked": "`key`",
}
COLUMNS = "app_id, actor, actor_id, session_id, key_id, action, user_id, media_id, link_id, flow, request_id, changes"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something; a user by their row, and by the handle of their session where they have one, an app by that of
    its key, where it is known."""

    kind: Literal["operator", "app", "user", "system"]
    user: int | None = None
    session: UUID | None = None
    key: UUID | None = None


SYSTEM, APP, OPERATOR = Actor("system"), Actor("app"), Actor("operator")


def by(caller: Caller) -> Actor:
    """The caller, as the log knows them."""
    return Actor(caller.kind, caller.user_id, caller.session_id, caller.key_id)


def beginner(user: int, *, by_app: bool) -> Actor:
    """Who began what a job goes on with."""
    return APP if by_app else Actor("user", user)


def request_id() -> str | None:
    """That of the request which is being answered; a job has none."""
    found: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return found


async def note(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    app: int | None,
    user: int | None = None,
    media: UUID | None = None,
    link: UUID | None = None,
    flow: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Adds a row in the caller's transaction. `user` is whose account or media it is about; what is the operator's has no
    `app`."""
    await connection.execute(
        f"insert into audit ({COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        app, actor.kind, actor.user, actor.session, actor.key, action, user, media, link, flow, request_id(), changes or {},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A row, with the names of those users whom there are. `by` is the acting user's row."""

    id: int
    at: datetime
    actor: str
    by: int | None
    by_name: str | None
    session: UUID | None
    key: UUID | None
    action: str
    user: str | None
    media: UUID | None
    link: UUID | None
    flow: str | None
    request: str | None
    changes: dict[str, Any]


OF_MEDIA = """
    select id from audit where media_id = any(array[$3::uuid]) and id < $1 and ($4::integer is null or app_id = $4)
       and ($5::bigint[] is null or user_id = any($5) or actor_id = any($5))
    order by media_id desc, id desc limit $2
"""
OF_USERS = """
    select distinct found.id from unnest($3::bigint[]) as one (who) cross join lateral (
        (select id from audit where user_id = any(array[one.who]) and id < $1 order by user_id desc, id desc limit $2)
        union
        (select id from audit
         where actor_id = any(array[one.who]) and actor_id is distinct from user_id and id < $1
         order by actor_id desc, id desc limit $2)) found
    order by found.id desc limit $2
"""
OF_AN_APP = """
    select id from audit where app_id = any(array[$3::integer]) and id < $1 order by app_id desc, id desc limit $2
"""
OF_ALL = "select id from audit where id < $1 order by id desc limit $2"


async def page(
    connection: Connection,
    app: int | None,
    *,
    users: Sequence[int] | None = None,
    media: UUID | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Entry]:
    """The app's rows (`app` None: all there are), newest first: of a media, and of what was done to one of these users or
    by them, where given. Each walk is down one index, whose columns its order names (see `listing`)."""
    given: tuple[object, ...]
    if media is not None:
        walk, given = OF_MEDIA, (media, app, users)
    elif users is not None:
        walk, given = OF_USERS, (users,)
    else:
        walk, given = (OF_ALL, ()) if app is None else (OF_AN_APP, (app,))
    rows = await connection.fetch(
        f"""
        select a.id, a.at, a.actor, a.actor_id, b.name as by_name, a.session_id, a.key_id, a.action, u.name as user, a.media_id,
               a.link_id, a.flow, a.request_id, a.changes
        from ({walk}) walked join audit a on a.id = walked.id
             left join users b on b.id = a.actor_id and b.deleted_at is null
             left join users u on u.id = a.user_id and u.deleted_at is null
        order by a.id desc
        """,
        before or NEWEST, limit, *given,
    )  # fmt: skip
    return [Entry(*row) for row in rows]


async def users_named(connection: Connection, name: str, app: int | None) -> list[int]:
    """The app's user of that name, or those of all apps: none, one or more."""
    rows = await connection.fetch(
        """
        select u.id from apps a join users u on u.app_id = a.id and u.name = $1 and u.deleted_at is null
        where $2::integer is null or a.id = $2
        """,
        name, app,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def forget_old(connection: Connection, days: int) -> None:
    """Takes the oldest rows that are older than so many days, some at a time; 0 keeps all."""
    if days:
        await connection.fetchval("select forget_audit(make_interval(days => $1), $2)", days, FORGOTTEN_AT_ONCE)
