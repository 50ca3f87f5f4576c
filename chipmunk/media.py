"""Media: one file that somebody keeps here, its renditions, and who owns it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chipmunk import audit, jobs, quotas, revocations, words
from chipmunk.audit import SYSTEM, Actor
from chipmunk.backends import LOCAL
from chipmunk.db import Connection
from chipmunk.errors import Conflict, Forbidden, NotFound

Blob = bytes  # a media has a field named bytes

COLUMNS = """
    m.id, m.app_id, m.owner_id, o.name as owner, coalesce(m.restores_to, m.state) as state, m.reason, m.kind, m.mime, m.filename,
    m.width, m.height, m.bytes, m.total_bytes, m.sha256, m.placeholder, m.palette, m.square,
    coalesce(m.crop, case when m.square then 0.5 end) as crop, m.rungs, m.music, m.motion,
    m.origin, m.meta,
    m.title, m.notes, m.tags, m.created_at, m.job_id, s.token,
    array(select f.name from flow_media fm join flows f on f.id = fm.flow_id where fm.media_id = m.id order by f.name),
    m.trashed_at, m.purge_at, m.provenance, m.source, m.edits, m.classes, m.unsafe, m.review
"""
# Its state from now on; of one in the trash, that which it gets back.
BECOMES = """
    state = case when state = 'trashed' then state else '{0}' end,
    restores_to = case when state = 'trashed' then '{0}' end
"""
FOUND_BY = (
    "words = coalesce(words, $2::text::tsvector)"  # an upload does not wait for its words, which cost an index much
)
DELETED = "state = 'deleted', restores_to = null, trashed_at = null, purge_at = null"
LIVE = "state not in ('deleted', 'trashed')"
SHOWN = "m.review is distinct from 'held'"  # to others than the app and its owner
SOURCE = """
    media m join users o on o.id = m.owner_id
    left join links s on s.media_id = m.id and s.audience = 'standing'
"""
SEEN_BY = f"""
    m.app_id = $1 and m.{LIVE} and o.deleted_at is null
    and ($2::bigint is null or m.owner_id = $2 or (not o.suspended and {SHOWN} and exists (
        select 1 from flow_media x join flow_members y on y.flow_id = x.flow_id
        where x.media_id = m.id and y.user_id = $2)))
"""
TRASHED = """
    m.app_id = $1 and m.state = 'trashed' and o.deleted_at is null and ($2::bigint is null or m.owner_id = $2)
"""


@dataclass(frozen=True, slots=True)
class Media:
    """A stored media. `rungs` holds `{quality, width, height, bytes}` of all renditions; `token` is its standing link's.
    `classes` is what a model saw in it, `unsafe` how likely it is (None: not asked), `review` what came of that (`classes`).

    `origin` is `{url, page}` of one that was fetched, `meta` what its uploader said of it, `music` what the file itself
    does, `motion` what moves in it and how, `provenance` what its C2PA manifest says. One that has `trashed_at` is in the
    trash, and in that `state` again once it is restored. `source` is the media that it is an edit of, `edits` what was done.
    """

    id: UUID
    app_id: int
    owner_id: int
    owner: str
    state: str
    reason: str | None
    kind: str
    mime: str
    filename: str
    width: int | None
    height: int | None
    bytes: int
    total_bytes: int
    sha256: Blob
    placeholder: Blob | None
    palette: list[int] | None
    square: bool
    crop: float | None
    rungs: list[dict[str, int]]
    music: dict[str, Any]
    motion: dict[str, Any]
    origin: dict[str, Any] | None
    meta: dict[str, Any] | None
    title: str | None
    notes: str | None
    tags: list[str]
    created_at: datetime
    job_id: UUID | None
    token: UUID | None
    flows: list[str]
    trashed_at: datetime | None = None
    purge_at: datetime | None = None
    provenance: dict[str, Any] | None = None
    source: UUID | None = None
    edits: str | None = None
    classes: list[dict[str, Any]] | None = None
    unsafe: float | None = None
    review: str | None = None


def _media(row: object) -> Media:
    return Media(*row)  # type: ignore[misc]


async def get(connection: Connection, app: int, media: UUID, viewer: int | None) -> Media:
    """The media, where the app's backend (`viewer` None), its owner or a member of a flow of it asks; else NotFound."""
    return await _one(connection, f"({SEEN_BY})", app, viewer, media)


async def kept(connection: Connection, app: int, media: UUID, viewer: int | None) -> Media:
    """The same; of what is in the trash too, where the app's backend or its owner asks."""
    return await _one(connection, f"(({SEEN_BY}) or ({TRASHED}))", app, viewer, media)


async def _one(connection: Connection, seen: str, app: int, viewer: int | None, media: UUID) -> Media:
    row = await connection.fetchrow(f"select {COLUMNS} from {SOURCE} where {seen} and m.id = $3", app, viewer, media)
    if row is None:
        raise NotFound("There is no such media.", media=media.hex)
    return _media(row)


async def owned(connection: Connection, app: int, media: UUID, caller: int | None, *, trashed: bool = False) -> Media:
    """The media, where the app's backend (`caller` None) or its owner asks; Forbidden to others who see it. Conflict where
    it is in the trash, unless one that is `trashed` will do."""
    found = await kept(connection, app, media, caller)
    if caller is not None and found.owner_id != caller:
        raise Forbidden("Only its owner may do that to a media.", media=media.hex)
    if found.trashed_at is not None and not trashed:
        raise Conflict("This media is in the trash: restore it first.", media=media.hex)
    return found


async def exists(connection: Connection, media: UUID) -> bool:
    """Whether the media's row is there, in whatever state."""
    return await connection.fetchval("select 1 from media where id = $1", media) is not None


async def find(connection: Connection, media: UUID) -> Media | None:
    """The media in whatever state, whoever's it is: for the worker."""
    row = await connection.fetchrow(f"select {COLUMNS} from {SOURCE} where m.id = $1", media)
    return None if row is None else _media(row)


async def home(connection: Connection, media: UUID) -> int:
    """The backend that serves the media."""
    found: int = await connection.fetchval("select coalesce(home, $2) from media where id = $1", media, LOCAL)
    return found


async def is_public(connection: Connection, media: UUID) -> bool:
    """Whether a flow of the media is public, and it is not held."""
    found: bool = await connection.fetchval(
        f"""
        select exists (select from media m join flow_media x on x.media_id = m.id join flows f on f.id = x.flow_id
                       where m.id = $1 and f.visibility = 'public' and {SHOWN})
        """,
        media,
    )
    return found


async def lock(connection: Connection, media: UUID) -> Media | None:
    """The media, live or in the trash, locked until the transaction ends; None where it is gone or going."""
    live = await connection.fetchval("select 1 from media where id = $1 and state <> 'deleted' for update", media)
    if live is None:
        return None
    return _media(await connection.fetchrow(f"select {COLUMNS} from {SOURCE} where m.id = $1", media))


async def climbed(connection: Connection, media: Media, rungs: list[dict[str, int]]) -> None:
    """The ladder is done: adds its rungs, charges them, and the media is ready. The caller holds `lock`."""
    new = sum(r["bytes"] for r in rungs)
    merged = {r["quality"]: r for r in [*media.rungs, *rungs]}
    await connection.execute(
        f"""
        update media set {BECOMES.format("ready")}, {FOUND_BY}, reason = null, rungs = $3, total_bytes = total_bytes + $4
        where id = $1
        """,
        media.id, _words(media), [merged[q] for q in sorted(merged)], new,
    )  # fmt: skip
    await quotas.finish(connection, media.owner_id, media.id, new)
    await revocations.revoke(connection, f"media:{media.id.hex}")


def _words(media: Media) -> str:
    return words.of_media(media.filename, media.music, media.meta, media.title, media.notes, media.tags, media.classes)


async def failed(connection: Connection, media: UUID, reason: str) -> None:
    """The ladder cannot be made: the media keeps what it has and says why. Releases what was kept for it."""
    row = await lock(connection, media)
    if row is None or row.state != "processing":
        return
    await connection.execute(
        f"update media set {BECOMES.format('failed')}, {FOUND_BY}, reason = $3 where id = $1",
        media,
        _words(row),
        reason,
    )
    await quotas.finish(connection, row.owner_id, media, 0)
    await revocations.revoke(connection, f"media:{media.hex}")


async def delete(connection: Connection, app: int, media: UUID, owner: int | None, by: Actor = SYSTEM) -> UUID:
    """From the commit on nobody sees the media; the job that is returned takes its bytes, everywhere."""
    done = await connection.fetchval(
        f"""
        update media set {DELETED}
        where id = $1 and app_id = $2 and state <> 'deleted' and ($3::bigint is null or owner_id = $3) returning owner_id
        """,
        media, app, owner,
    )  # fmt: skip
    if done is None:
        await owned(connection, app, media, owner)
        raise NotFound("There is no such media.", media=media.hex)
    await audit.note(connection, by, "media.deleted", app=app, user=done, media=media)
    await connection.execute("delete from links where media_id = $1", media)
    await revocations.revoke(connection, f"media:{media.hex}")
    return await jobs.enqueue(connection, jobs.PURGE_MEDIA, app=app, user=owner, media=media)


async def purge(connection: Connection, media: UUID) -> None:
    """The bytes are gone: gives the quota back and takes the row. Once done, done: again is fine."""
    owner = await connection.fetchval("select owner_id from media where id = $1 and state = 'deleted'", media)
    if owner is None:
        return
    await quotas.finish(connection, owner, media, 0)
    total = await connection.fetchval(
        "delete from media where id = $1 and state = 'deleted' returning total_bytes", media
    )
    if total is not None:
        await quotas.give_back(connection, owner, total, 1)
