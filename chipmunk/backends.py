"""Backends: where bytes can lie, and which flow's bytes lie where. Rows, so that both change while everything runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from chipmunk.backend_fields import Role, Settled, kind_of
from chipmunk.db import Connection
from chipmunk.errors import BackendInUse, Conflict, NotFound, UnknownBackend
from chipmunk.media_keys import backend_purpose, secret_of
from chipmunk.vault import Vault

LOCAL = 1
COLUMNS = "id, name, url, options, secret, role, choosable, up, reason, checked_at, changed_at, created_at"


@dataclass(frozen=True, slots=True)
class Backend:
    """`key` is the row, `id` the name. `role` is what it is to flows that name no backends. `up` None: not checked yet.

    `secret` is sealed. `choosable`: admins of a flow may put it there.
    """

    key: int
    id: str
    url: str
    options: dict[str, Any]
    secret: bytes | None
    role: Role | None
    choosable: bool
    up: bool | None
    reason: str | None
    checked_at: datetime | None
    changed_at: datetime
    created_at: datetime

    @property
    def kind(self) -> str:
        """`local`, `s3` or `ipfs`."""
        return kind_of(self.url)


@dataclass(frozen=True, slots=True)
class Placed:
    """A backend's name and what it is to a flow."""

    backend: str
    role: Role


def _backend(row: object) -> Backend:
    return Backend(*row)  # type: ignore[misc]


async def every(connection: Connection) -> list[Backend]:
    """All of them, by name."""
    return [_backend(r) for r in await connection.fetch(f"select {COLUMNS} from backends order by name")]


async def get(connection: Connection, name: str, *, lock: bool = False) -> Backend:
    """The backend of that name, or NotFound; with `lock` nobody else changes it until the transaction ends."""
    locked = "for no key update" if lock else ""
    row = await connection.fetchrow(f"select {COLUMNS} from backends where name = $1 {locked}", name)
    if row is None:
        raise NotFound("There is no such backend.", backend=name)
    return _backend(row)


def as_settled(found: Backend, vault: Vault) -> Settled:
    """What the backend is, its secret opened: CannotOpen where the settings lack its master key."""
    secret = secret_of(vault, found.id, found.secret)
    return Settled(found.url, found.options, secret, found.role, found.choosable)


async def put(connection: Connection, vault: Vault, name: str, wanted: Settled) -> tuple[Backend, bool]:
    """Makes the backend or replaces what is known of it. Returns it, and whether it is new.

    One that becomes the primary of flows that name none takes the place of the one that was. BackendInUse where it
    would be of another kind while media lie there: their keys mean nothing to that.
    """
    if await _holds_other_kind(connection, name, kind_of(wanted.url)):
        raise BackendInUse("Media lie on this backend: one of another kind needs another name.", backend=name)
    if wanted.role == "primary":
        await connection.execute("update backends set role = null where role = 'primary' and name <> $1", name)
    secret = vault.seal(json.dumps(wanted.secret).encode(), backend_purpose(name)) if wanted.secret else None
    row = await connection.fetchrow(
        f"""
        insert into backends (name, url, options, secret, role, choosable) values ($1, $2, $3, $4, $5, $6)
        on conflict (name) do update
           set url = $2, options = $3, secret = $4, role = $5, choosable = $6, changed_at = now(),
               up = null, reason = null, checked_at = null
        returning {COLUMNS}, (xmax = 0) as new
        """,
        name, wanted.url, wanted.options, secret, wanted.role, wanted.choosable,
    )  # fmt: skip
    return _backend(row[:-1]), row["new"]


async def _holds_other_kind(connection: Connection, name: str, kind: str) -> bool:
    found = await connection.fetchrow("select id, url from backends where name = $1 for no key update", name)
    if found is None or kind_of(found["url"]) == kind:
        return False
    return bool(await connection.fetchval("select exists (select from copies where backend_id = $1)", found["id"]))


async def need_primary(connection: Connection) -> None:
    """Raises Conflict where flows that name no backends would have no primary."""
    if not await connection.fetchval("select exists (select from backends where role = 'primary')"):
        raise Conflict("One backend is the primary of flows that name none: make another one that first.")


async def delete(connection: Connection, name: str) -> None:
    """Takes the backend; BackendInUse while media lie there, uploads go there or flows name it, and for `local`."""
    found = await get(connection, name)
    used = await connection.fetchval(
        """
        select exists (select from copies where backend_id = $1) or exists (select from flow_backends where backend_id = $1)
            or exists (select from uploads where backend_id = $1) or exists (select from media where home = $1)
        """,
        found.key,
    )
    if used or found.role is not None or found.key == LOCAL:
        raise BackendInUse(backend=name)
    await connection.execute("delete from pins where backend_id = $1", found.key)
    try:
        await connection.execute("delete from backends where id = $1", found.key)
    except asyncpg.ForeignKeyViolationError:
        raise BackendInUse(backend=name) from None


async def give_up(connection: Connection, name: str) -> int:
    """Forgets what lies on a backend that is gone for good, as far as it lies elsewhere too or was to go anyway.

    Views are then served from elsewhere. Returns how many media have no other copy: these stay, and are lost until they
    are deleted or the backend is back.
    """
    found = await get(connection, name, lock=True)
    if found.key == LOCAL:
        raise BackendInUse("The local volume cannot be given up.", backend=name)
    await connection.execute(
        """
        with moved as (
            update media m set home = nullif(c.backend_id, $2) from (
                select distinct on (media_id) media_id, backend_id from copies
                where backend_id <> $1 and state = 'stored' and media_id in (select id from media where home = $1)
                order by media_id, role = 'primary' desc nulls last, role = 'backup' desc nulls last) c
            where m.id = c.media_id returning m.id)
        insert into revocations (tag) select 'media:' || replace(id::text, '-', '') from moved
        """,
        found.key, LOCAL,
    )  # fmt: skip
    await connection.execute(
        """
        delete from copies c where backend_id = $1 and (
            state <> 'stored' or role is null
            or exists (select from copies x where x.media_id = c.media_id and x.backend_id <> $1 and x.state = 'stored')
            or exists (select from media m where m.id = c.media_id and m.state = 'deleted'))
        """,
        found.key,
    )
    await connection.execute("update media set home = null where home = $1 and state = 'deleted'", found.key)
    left: int = await connection.fetchval("select count(*) from copies where backend_id = $1", found.key)
    return left


async def any_down(connection: Connection) -> bool:
    """Whether a backend did not pass its last check."""
    return bool(await connection.fetchval("select exists (select from backends where not up)"))


async def note_health(connection: Connection, key: int, reason: str | None) -> None:
    """Keeps what a check found: `reason` says why the backend cannot be used, None that it can."""
    await connection.execute(
        "update backends set up = $2, reason = $3, checked_at = now() where id = $1", key, reason is None, reason
    )


async def counts(connection: Connection) -> dict[int, tuple[int, int]]:
    """For each backend that has any: copies there, and those of them that still have to go."""
    rows = await connection.fetch(
        """
        select c.backend_id, count(*) filter (where c.state <> 'wanted'),
               count(*) filter (where c.role is null or m.state = 'deleted')
        from copies c left join media m on m.id = c.media_id and m.state = 'deleted' group by c.backend_id
        union all
        select $1, count(*), count(*) filter (where state = 'deleted')
        from media m where not exists (select from copies c where c.media_id = m.id)
        """,
        LOCAL,
    )
    found: dict[int, tuple[int, int]] = {}
    for backend, there, leaving in rows:
        before = found.get(backend, (0, 0))
        found[backend] = (before[0] + there, before[1] + leaving)
    return found


async def of_flows(connection: Connection, flows: Sequence[int]) -> dict[int, list[Placed]]:
    """What each of these flows has said about where its media lie, the primary first; nothing of those that said nothing."""
    rows = await connection.fetch(
        """
        select f.flow_id, b.name, f.role from flow_backends f join backends b on b.id = f.backend_id
        where f.flow_id = any($1::bigint[]) order by f.flow_id, f.role <> 'primary', f.role, b.name
        """,
        list(flows),
    )
    found: dict[int, list[Placed]] = {}
    for flow, name, role in rows:
        found.setdefault(flow, []).append(Placed(name, role))
    return found


async def lock_flow(connection: Connection, flow: int) -> None:
    """Nobody else says where the flow lies, or has it moved, until the transaction ends."""
    await connection.execute("select from flows where id = $1 for no key update", flow)


async def place_flow(
    connection: Connection, flow: int, placed: Sequence[Placed], *, choosable_only: bool = False
) -> None:
    """Says where the media of a flow lie from now on; nothing said: where those of flows lie that name no backends.

    UnknownBackend where there is none of that name, or none that admins of flows may choose.
    """
    await lock_flow(connection, flow)
    known = {b.id: b for b in await every(connection)}
    for one in placed:
        if one.backend not in known or (choosable_only and not known[one.backend].choosable):
            raise UnknownBackend(backend=one.backend)
    await connection.execute("delete from flow_backends where flow_id = $1", flow)
    await connection.executemany(
        "insert into flow_backends (flow_id, backend_id, role) values ($1, $2, $3)",
        [(flow, known[one.backend].key, one.role) for one in placed],
    )


async def wanted(connection: Connection, flow: int, *, pinned: bool = False) -> dict[int, Role]:
    """Where media of the flow are to lie: backends and their roles. `pinned`: whatever the flow has said."""
    rows = await connection.fetch(
        """
        with said as (select backend_id, role from flow_backends where flow_id = $1 and not $2)
        select * from said
        union all
        select id, role from backends where role is not null and not exists (select from said)
        """,
        flow, pinned,
    )  # fmt: skip
    return {r["backend_id"]: r["role"] for r in rows}
