"""Copies: where the bytes of a media lie, and where they are to lie. One without rows lies on the local volume alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from chipmunk import jobs, revocations
from chipmunk.backend_fields import Role
from chipmunk.backends import LOCAL
from chipmunk.db import Connection
from chipmunk.ids import folder

LEAVE_AFTER = timedelta(seconds=10)  # decisions that name the old place have long been forgotten then
COLUMNS = "media_id, backend_id, role, state, objects, cid, leave_at, turn"
ORDER = "role = 'primary' desc nulls last, role = 'backup' desc nulls last, role nulls last, backend_id"
UNSETTLED = "(c.state <> 'stored' or c.role is null)"
LOCAL_ALONE: Mapping[int, Role] = {LOCAL: "primary"}


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store: under which key, and the bytes and the SHA-256 of its content, in hexadecimal."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Without `role` it is on its way out. `objects` by file name; empty on the local volume, where names are keys.

    `cid` is there where the original lies on IPFS as it is; else what lies there is encrypted. `turn` is another each
    time that what lies there stops counting.
    """

    media_id: UUID
    backend: int
    role: Role | None
    state: Literal["wanted", "stored", "damaged"]
    objects: dict[str, Stored]
    cid: str | None
    leave_at: datetime | None
    turn: UUID

    @property
    def settled(self) -> bool:
        return self.state == "stored" and self.role is not None


def object_key(media: UUID, file: str) -> str:
    """The key of a media's file where keys are ours."""
    return f"{folder(media)}/{file}"


def _copy(row: Any) -> Copy:
    objects = {file: Stored(**stored) for file, stored in row["objects"].items()}
    return Copy(row[0], row[1], row[2], row[3], objects, row[5], row[6], row[7])


async def of_media(connection: Connection, media: UUID) -> list[Copy]:
    """The media's rows, the primary first, those on their way out last."""
    rows = await connection.fetch(f"select {COLUMNS} from copies where media_id = $1 order by {ORDER}", media)
    return [_copy(r) for r in rows]


async def locked(connection: Connection, media: UUID) -> list[Copy]:
    """The media's rows, which nobody changes until the transaction ends; the local volume's, which who takes another may
    take too, is locked last. The caller holds the media's lock."""
    rows = await connection.fetch(
        f"select {COLUMNS} from copies where media_id = $1 order by backend_id desc for update", media
    )
    return [_copy(r) for r in rows]


async def begin(connection: Connection, media: UUID, wanted: Mapping[int, Role]) -> bool:
    """Says where a media is to lie that lies on the local volume and nowhere else. Returns what `place` does."""
    if wanted == LOCAL_ALONE:
        return False
    roles: dict[int, Role | None] = {LOCAL: None, **wanted}
    await connection.execute(
        """
        insert into copies (media_id, backend_id, role, state)
        select $1, b, r, case when b = $4 then 'stored' else 'wanted' end from unnest($2::integer[], $3::text[]) as w (b, r)
        """,
        media, list(roles), list(roles.values()), LOCAL,
    )  # fmt: skip
    return True


async def place(connection: Connection, media: UUID, wanted: Mapping[int, Role]) -> bool:
    """Says where the media is to lie. Returns whether anything is left to be done for that: nothing where it is gone.

    Waits for who is just taking a copy, so that this one counts as gone.
    """
    live = await connection.fetchval(
        "select 1 from media where id = $1 and state <> 'deleted' for no key update", media
    )
    if live is None:
        return False
    rows = {c.backend: c for c in await locked(connection, media)}
    if not rows and wanted == LOCAL_ALONE:
        return False
    if not rows:
        return await begin(connection, media, wanted)
    for backend, role in wanted.items():
        await _put(connection, media, backend, role, "wanted")
    await connection.execute(
        """
        update copies set role = null
        where media_id = $1 and backend_id <> all($2::integer[]) and role is not null
        """,
        media, list(wanted),
    )  # fmt: skip
    await _forget_plain(connection, media)
    return await unsettled(connection, media)


async def _put(connection: Connection, media: UUID, backend: int, role: Role | None, state: str) -> None:
    """Where there is a copy already it keeps its state, and stays where it was on its way out."""
    await connection.execute(
        """
        insert into copies (media_id, backend_id, role, state) values ($1, $2, $3, $4)
        on conflict (media_id, backend_id) do update set role = $3, leave_at = null
        """,
        media, backend, role, state,
    )  # fmt: skip


async def unsettled(connection: Connection, media: UUID) -> bool:
    """Whether bytes of the media still have to be brought somewhere or taken away."""
    return bool(
        await connection.fetchval(f"select exists (select from copies c where c.media_id = $1 and {UNSETTLED})", media)
    )


async def store(connection: Connection, wanted: Copy, objects: Mapping[str, Stored], cid: str | None) -> bool:
    """The copy is there and verified; False where it is not the one that is wanted there now, or another was quicker."""
    shown = {file: {"key": s.key, "bytes": s.bytes, "sha256": s.sha256} for file, s in objects.items()}
    done = await connection.fetchval(
        """
        update copies set state = 'stored', objects = $3, cid = $4, checked_at = now()
        where media_id = $1 and backend_id = $2 and state <> 'stored' and role is not null and turn = $5
        returning 1
        """,
        wanted.media_id, wanted.backend, shown, cid, wanted.turn,
    )  # fmt: skip
    return done is not None


async def serve_from(connection: Connection, media: UUID, backend: int) -> None:
    """From now on views are answered from there."""
    await connection.execute("update media set home = nullif($2::integer, $3) where id = $1", media, backend, LOCAL)
    await revocations.revoke(connection, f"media:{media.hex}")


async def let_leave(connection: Connection, media: UUID) -> None:
    """Copies on their way out may go in a while: nothing serves from them by then."""
    await connection.execute(
        "update copies set leave_at = now() + $2 where media_id = $1 and role is null and leave_at is null",
        media, LEAVE_AFTER,
    )  # fmt: skip


async def give_up(connection: Connection, media: UUID) -> list[int]:
    """The backends of copies whose time has come. From the commit on these are no copies, however far the taking of them
    gets; none is given up unless the primary is there. The caller holds the media's lock."""
    rows = await connection.fetch(
        """
        update copies c set state = 'damaged', turn = gen_random_uuid()
        where c.media_id = $1 and c.role is null and c.leave_at <= now() and exists (
            select from copies p where p.media_id = $1 and p.role = 'primary' and p.state = 'stored')
        returning c.backend_id
        """,
        media,
    )
    return [r["backend_id"] for r in rows]


async def given_up(connection: Connection, media: UUID, backend: int) -> Copy | None:
    """The copy, unless it is wanted again; until the transaction ends nobody can want it back."""
    row = await connection.fetchrow(
        f"""
        select {COLUMNS} from copies where media_id = $1 and backend_id = $2
          and role is null and leave_at <= now() and state <> 'stored' for update
        """,
        media, backend,
    )  # fmt: skip
    return None if row is None else _copy(row)


async def forget(connection: Connection, media: UUID, backend: int) -> None:
    """Its bytes are gone."""
    await connection.execute("delete from copies where media_id = $1 and backend_id = $2", media, backend)
    await _forget_plain(connection, media)


async def _forget_plain(connection: Connection, media: UUID) -> None:
    """A media that lies on the local volume alone needs no row to say so."""
    await connection.execute(
        """
        delete from copies c where media_id = $1 and backend_id = $2 and role = 'primary' and state = 'stored'
          and not exists (select from copies x where x.media_id = $1 and x.backend_id <> $2)
          and exists (select from media where id = $1 and home is null)
        """,
        media, LOCAL,
    )  # fmt: skip


async def damaged(connection: Connection, media: UUID, backend: int) -> None:
    """What lies there is not what was stored: it has to be brought there again, and until then no other copy leaves."""
    await connection.execute(
        """
        insert into copies (media_id, backend_id, role, state) values ($1, $2, 'primary', 'damaged')
        on conflict (media_id, backend_id) do update
           set state = 'damaged', checked_at = now(), turn = gen_random_uuid()
        """,
        media, backend,
    )  # fmt: skip
    await connection.execute("update copies set leave_at = null where media_id = $1 and leave_at is not null", media)


async def checked(connection: Connection, media: UUID, backend: int) -> None:
    """A scrub found it as it should be."""
    await connection.execute(
        "update copies set checked_at = now() where media_id = $1 and backend_id = $2", media, backend
    )


async def enqueue_unsettled(connection: Connection) -> int:
    """Makes jobs for media whose bytes are not where they should be and that none will move; returns how many."""
    rows = await connection.fetch(
        f"""
        select distinct m.id, m.app_id, m.owner_id from copies c join media m on m.id = c.media_id
        where {UNSETTLED} and coalesce(m.restores_to, m.state) in ('ready', 'failed')
          and coalesce(c.leave_at, now()) <= now() and not exists (
            select 1 from jobs j where j.media_id = m.id and j.kind = $1 and j.state in ('queued', 'running'))
          and not exists (
            select 1 from jobs j join flow_media f on f.flow_id = (j.payload ->> 'flow')::bigint and f.media_id = m.id
            where j.kind = $2 and j.state in ('queued', 'running'))
        limit 1000
        """,
        jobs.COPY, jobs.MOVE,
    )  # fmt: skip
    for row in rows:
        await jobs.enqueue(connection, jobs.COPY, app=row["app_id"], user=row["owner_id"], media=row["id"])
    return len(rows)
