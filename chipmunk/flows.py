"""Flows: named collections of an app, with members; a public one lets anyone use the standing links of its media."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chipmunk import revocations
from chipmunk.db import Connection
from chipmunk.errors import Conflict, NotFound, UnknownFlow

GENERAL = "general"
ROLES = ("viewer", "editor", "admin")
COLUMNS = "id, name, square, visibility, posting, description, created_at, unsafe"


@dataclass(frozen=True, slots=True)
class Flow:
    """`key` is the row, `id` the name. `posting` says who may add media: editors, or any user their own; `unsafe`, what becomes
    of unsafe media (`classes`)."""

    key: int
    id: str
    square: bool
    visibility: str
    posting: str
    description: str
    created_at: datetime
    unsafe: str = "allow"

    @property
    def tag(self) -> str:
        return f"flow:{self.key}"


def _flow(row: object) -> Flow:
    return Flow(*row)  # type: ignore[misc]


def of(table: str) -> str:
    """The columns of a flow, out of a table or alias of that name."""
    return ", ".join(f"{table}.{column}" for column in COLUMNS.split(", "))


def named(rows: Iterable[object], names: Sequence[str]) -> list[Flow]:
    """The flows of these names, in their order, each once; UnknownFlow where one of them is not among the rows."""
    found = {flow.id: flow for flow in map(_flow, rows)}
    for name in names:
        if name not in found:
            raise UnknownFlow(flow=name)
    return [found[name] for name in dict.fromkeys(names)]


async def put(
    connection: Connection,
    app: int,
    name: str,
    *,
    square: bool | None = None,
    visibility: str | None = None,
    posting: str | None = None,
    description: str | None = None,
    unsafe: str | None = None,
) -> tuple[Flow, bool]:
    """Makes the flow or changes what is not None. Returns it, and whether it is new.

    Conflict where that would open `general` to strangers or close it to users: uploads go there that name no flow.
    """
    if name == GENERAL and (visibility == "public" or posting == "editors"):
        raise Conflict("The flow general stays private and open to users' posting.", flow=name)
    row = await connection.fetchrow(
        f"""
        insert into flows (app_id, name, square, visibility, posting, description, unsafe)
        values ($1, $2, coalesce($3, false), coalesce($4, 'private'), coalesce($5, 'editors'), coalesce($6, ''),
                coalesce($7, 'allow'))
        on conflict (app_id, name) do update
           set square = coalesce($3, flows.square), visibility = coalesce($4, flows.visibility),
               posting = coalesce($5, flows.posting), description = coalesce($6, flows.description),
               unsafe = coalesce($7, flows.unsafe)
        returning {COLUMNS}, (xmax = 0) as new
        """,
        app, name, square, visibility, posting, description, unsafe,
    )  # fmt: skip
    flow = _flow(row[:-1])
    if not row["new"]:
        await revocations.revoke(connection, flow.tag)
    return flow, row["new"]


async def policy(connection: Connection, app: int, name: str) -> str | None:
    """What the flow says of unsafe media, until the transaction ends; None where it is not there."""
    found: str | None = await connection.fetchval(
        "select unsafe from flows where app_id = $1 and name = $2 for no key update", app, name
    )
    return found


async def get(connection: Connection, app: int, name: str) -> Flow:
    """The app's flow of that name, or NotFound."""
    row = await connection.fetchrow(f"select {COLUMNS} from flows where app_id = $1 and name = $2", app, name)
    if row is None:
        raise NotFound("There is no such flow.", flow=name)
    return _flow(row)


async def page(connection: Connection, app: int, after: str, limit: int) -> list[Flow]:
    """The app's flows in the order of their names, those after `after`."""
    rows = await connection.fetch(
        f"select {COLUMNS} from flows where app_id = $1 and name > $2 order by name limit $3",
        app, after, limit,
    )  # fmt: skip
    return [_flow(r) for r in rows]


async def delete(connection: Connection, app: int, name: str) -> Flow:
    """Takes the flow, none of its media. Conflict for `general`: it is where uploads go that name no flow."""
    if name == GENERAL:
        raise Conflict("The flow general stays: it is where uploads go that name no flow.", flow=name)
    row = await connection.fetchrow(f"delete from flows where app_id = $1 and name = $2 returning {COLUMNS}", app, name)
    if row is None:
        raise NotFound("There is no such flow.", flow=name)
    flow = _flow(row)
    await revocations.revoke(connection, flow.tag)
    return flow


async def role(connection: Connection, flow: int, user: int) -> str | None:
    """The user's role in the flow; None where they are no member."""
    found: str | None = await connection.fetchval(
        "select role from flow_members where flow_id = $1 and user_id = $2", flow, user
    )
    return found


async def memberships(connection: Connection, user: int) -> frozenset[int]:
    """The flows that the user is a member of."""
    rows = await connection.fetch("select flow_id from flow_members where user_id = $1", user)
    return frozenset(r["flow_id"] for r in rows)


async def names_of_member(connection: Connection, user: int) -> frozenset[str]:
    """The names of the flows that the user is a member of."""
    rows = await connection.fetch(
        "select f.name from flow_members m join flows f on f.id = m.flow_id where m.user_id = $1", user
    )
    return frozenset(r["name"] for r in rows)


async def postable(connection: Connection, app: int, names: Sequence[str], user: int | None) -> list[Flow]:
    """The flows of these names, in this order, open to posting by `user` (None: the app's backend); else UnknownFlow.

    One that the user is no member of and may not post to is told from an unknown one by nothing.
    """
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from flows f where app_id = $1 and name = any($2::text[])
          and ($3::bigint is null or posting = 'users' or exists (
              select 1 from flow_members m where m.flow_id = f.id and m.user_id = $3 and m.role in ('editor', 'admin')))
        """,
        app, list(names), user,
    )  # fmt: skip
    return named(rows, names)


async def put_media(connection: Connection, flow: Flow, media: UUID) -> bool:
    """Adds the live media, or NotFound; again is fine. Returns whether it is new there.

    It stays live until the transaction ends, so that it is counted in once.
    """
    live = "select 1 from media where id = $1 and state not in ('deleted', 'trashed') for share"
    if await connection.fetchval(live, media) is None:
        raise NotFound("There is no such media.", media=media.hex)
    new = await connection.fetchval(
        "insert into flow_media (flow_id, media_id) values ($1, $2) on conflict do nothing returning 1", flow.key, media
    )
    await revocations.revoke(connection, f"media:{media.hex}")
    return new is not None


async def take_media(connection: Connection, flow: Flow, media: UUID) -> None:
    """Takes the media out, or NotFound."""
    await connection.execute("select 1 from media where id = $1 for share", media)
    done = await connection.fetchval(
        "delete from flow_media where flow_id = $1 and media_id = $2 returning 1", flow.key, media
    )
    if done is None:
        raise NotFound("This media is not in this flow.", flow=flow.id, media=media.hex)
    await revocations.revoke(connection, f"media:{media.hex}")


async def put_member(connection: Connection, flow: Flow, user: int, role: str) -> bool:
    """Makes the user a member in this role, or changes it. Returns whether they are new."""
    new: bool = await connection.fetchval(
        """
        insert into flow_members (flow_id, user_id, role) values ($1, $2, $3)
        on conflict (flow_id, user_id) do update set role = $3 returning (xmax = 0)
        """,
        flow.key, user, role,
    )  # fmt: skip
    await revocations.revoke(connection, f"user:{user}")
    return new


async def take_member(connection: Connection, flow: Flow, user: int) -> None:
    """Takes the member out, or NotFound."""
    done = await connection.fetchval(
        "delete from flow_members where flow_id = $1 and user_id = $2 returning 1", flow.key, user
    )
    if done is None:
        raise NotFound("This user is no member of this flow.", flow=flow.id)
    await revocations.revoke(connection, f"user:{user}")


async def members(connection: Connection, flow: Flow, after: str, limit: int) -> list[tuple[str, str]]:
    """Names and roles of the flow's members, in the order of names."""
    rows = await connection.fetch(
        """
        select u.name, m.role from flow_members m join users u on u.id = m.user_id
        where m.flow_id = $1 and u.name > $2 and u.deleted_at is null order by u.name limit $3
        """,
        flow.key, after, limit,
    )  # fmt: skip
    return [(r["name"], r["role"]) for r in rows]
