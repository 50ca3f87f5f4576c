"""Who may post what where: an app's key, one of its users and the flows that are named, in one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chipmunk import credentials, flows, keys
from chipmunk.audit import APP, Actor
from chipmunk.credentials import UNLIMITED, Limits
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, ScopeMissing, Unauthorized, UnknownUser
from chipmunk.flows import Flow
from chipmunk.signing import digest


@dataclass(frozen=True, slots=True)
class Posting:
    """An app, the row of its user and flows in the order of their naming. `user` is None while nobody is named; `by` is
    who posts, `limits` are the app's."""

    app: int
    user: int | None
    flows: list[Flow]
    by: Actor = APP
    limits: Limits = UNLIMITED


async def by_key(connection: Connection, key: str, user: str, names: Sequence[str]) -> Posting:
    """What an app's API key may post for its user to the flows of these names.

    Unauthorized where nobody has the key, ScopeMissing, UnknownUser, Forbidden where the user is suspended, UnknownFlow:
    the first of these that holds.
    """
    rows = await connection.fetch(
        f"""
        select k.app_id, k.id as key_id, k.scopes, a.calls_per_minute, a.uploads_per_minute, u.id as user_id, u.suspended,
               {flows.of("f")}
        from api_keys k join apps a on a.id = k.app_id
        left join users u on u.app_id = k.app_id and u.name = $2 and u.deleted_at is null
        left join flows f on f.app_id = k.app_id and f.name = any($3::text[])
        where k.hash = $1 and {keys.VALID}
        """,
        digest(key), user, list(names),
    )  # fmt: skip
    if not rows:
        raise Unauthorized()
    app, key_id, scopes, _, _, found, suspended = rows[0][:7]
    if "upload" not in keys.may(scopes):
        raise ScopeMissing(scope="upload")
    if found is None:
        raise UnknownUser(user=user)
    if suspended:
        raise Forbidden("This user is suspended.", user=user)
    into = flows.named([row[7:] for row in rows if row["id"] is not None], names)
    return Posting(app, found, into, Actor("app", key=key_id), credentials.limits(rows[0]))


async def again(connection: Connection, app: int, user: int, names: Sequence[str], *, by_app: bool) -> list[Flow]:
    """The flows that something goes to which was admitted a while ago, by the app or by the user, if it still may."""
    suspended = await connection.fetchval("select suspended from users where id = $1 and deleted_at is null", user)
    if suspended is None:
        raise UnknownUser()
    if suspended:
        raise Forbidden("This user is suspended.")
    return await flows.postable(connection, app, names, None if by_app else user)
