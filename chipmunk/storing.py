"""What ingest knows of a file that is about to become a media, and the one statement that makes it one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chipmunk import audit, jobs, words
from chipmunk.audit import SYSTEM, Actor
from chipmunk.db import Connection
from chipmunk.ids import new_id
from chipmunk.media import Blob, Media
from chipmunk.signing import random_identifier


@dataclass(frozen=True, slots=True)
class New:
    """What ingest knows of a file that is on disk and about to become a media."""

    id: UUID
    app_id: int
    owner_id: int
    kind: str
    mime: str
    filename: str
    width: int | None
    height: int | None
    bytes: int
    sha256: Blob
    placeholder: Blob | None
    square: bool
    rungs: list[dict[str, int]]
    music: dict[str, Any]
    flow_ids: tuple[int, ...]
    origin: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    token: UUID | None = None
    provenance: dict[str, Any] | None = None
    crop: float | None = None
    palette: list[int] | None = None
    phash: int | None = None
    title: str | None = None
    source: UUID | None = None
    edits: str | None = None
    motion: dict[str, Any] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        return self.bytes + sum(r["bytes"] for r in self.rungs)


async def insert(connection: Connection, new: New, *, climbing: bool, by: Actor = SYSTEM) -> Media:
    """Stores the row, its standing link, its flows and who uploaded it; where it is `climbing`, its ladder job too."""
    job, token = None, new.token or random_identifier()
    state = "processing" if climbing else "ready"
    if climbing:
        job = await jobs.enqueue(connection, jobs.LADDER, app=new.app_id, user=new.owner_id, media=new.id)
    row = await connection.fetchrow(
        """
        with stored as (
            insert into media (id, app_id, owner_id, state, kind, mime, filename, width, height, bytes, total_bytes,
                               sha256, placeholder, square, rungs, music, job_id, origin, meta, words, palette, phash,
                               title, source, edits, motion, crop, review)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $21, $22,
                    $27::text::tsvector, $29, $30, $31, $32, $33, $34, $35,
                    (select 'held' from flows where id = any($20::bigint[]) and unsafe = 'hold' limit 1))
            returning id, owner_id, created_at, review),
        linked as (
            insert into links (id, token, media_id, audience, original)
            select $18, $19, id, 'standing', true from stored),
        joined as (
            insert into flow_media (flow_id, media_id)
            select f.id, stored.id from stored, unnest($20::bigint[]) as f (id)),
        named as materialized (select array(select name from flows where id = any($20::bigint[]) order by name) as flows),
        noted as (
            insert into audit (app_id, actor, actor_id, session_id, key_id, action, user_id, media_id, request_id, changes)
            select $2, $23, $24, $25, $28, 'media.uploaded', $3, id, $26,
                   jsonb_build_object('kind', $5::text, 'mime', $6::text, 'bytes', $10::bigint, 'flows', named.flows)
            from stored, named)
        select o.name, stored.created_at, named.flows, stored.review
        from named, stored join users o on o.id = stored.owner_id
        """,
        new.id, new.app_id, new.owner_id, state, new.kind, new.mime, new.filename, new.width, new.height, new.bytes,
        new.total_bytes, new.sha256, new.placeholder, new.square, new.rungs, new.music, job, new_id(), token,
        list(new.flow_ids), new.origin, new.meta, by.kind, by.user, by.session, audit.request_id(),
        None if climbing else words.of_media(new.filename, new.music, new.meta, new.title), by.key, new.palette, new.phash,
        new.title, new.source, new.edits, new.motion, new.crop,
    )  # fmt: skip
    if new.provenance is not None:  # few have one
        await connection.execute("update media set provenance = $2 where id = $1", new.id, new.provenance)
    owner, created_at, flows, review = row
    return Media(
        new.id, new.app_id, new.owner_id, owner, state, None, new.kind, new.mime, new.filename, new.width, new.height,
        new.bytes, new.total_bytes, new.sha256, new.placeholder, new.palette, new.square, new.crop, new.rungs, new.music,
        new.motion, new.origin, new.meta, new.title, None, [], created_at, job, token, flows, provenance=new.provenance,
        source=new.source, edits=new.edits, review=review,
    )  # fmt: skip
