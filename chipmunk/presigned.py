"""Presigned uploads: whoever has the URL sends the bytes, and its user completes it. The id is that of the media to be.

    open ──upload_complete, which makes the job──► ingesting ──► stored
      └──refused, expired──► failed ◄──refused──────────┘

A `presigned` one is sent to a backend, a `direct` one to this service. They are rows of `uploads`; who takes in the bytes of
a direct one, or completes either, holds it as one holds a resumable upload.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.errors import NotFound, TooManyUploads
from chipmunk.uploads import FREE

KINDS = "kind in ('direct', 'presigned')"
COLUMNS = """
    id, app_id, user_id, (select name from users where id = user_id) as owner, kind, by_app, state, flows, filename, mime,
    meta, length, backend_id, object_key, multipart, job_id, created_at, expires_at,
    (select suspended from users where id = user_id) as suspended
"""
WORKED_ON = """
    exists (select from jobs j where j.id = uploads.job_id and j.state in ('queued', 'running'))
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """`length` is what was announced; once it is completed, what is there. `multipart` is S3's name of one in parts.

    `by_app`: begun with the app's key, so that any flow may take it. Until `expires_at` it can be completed.
    """

    id: UUID
    app_id: int
    user_id: int
    user: str
    kind: Literal["direct", "presigned"]
    by_app: bool
    state: Literal["open", "ingesting", "stored", "failed"]
    flows: list[str]
    filename: str | None
    mime: str
    meta: dict[str, Any]
    length: int | None
    backend: int | None
    key: str | None
    multipart: str | None
    job: UUID | None
    created_at: datetime
    expires_at: datetime
    suspended: bool


@dataclass(frozen=True, slots=True)
class New:
    """One to be; without a `backend` it is sent to this service."""

    id: UUID
    app_id: int
    user_id: int
    by_app: bool
    flows: tuple[str, ...]
    filename: str | None
    mime: str
    length: int | None
    backend: int | None = None
    key: str | None = None
    multipart: str | None = None


def _upload(row: object) -> Upload:
    return Upload(*row)  # type: ignore[misc]


async def create(connection: Connection, new: New, life: timedelta, most: int) -> Upload:
    """The new upload, in a transaction. TooManyUploads where the user has `most` that are neither completed nor expired."""
    await connection.execute("select from users where id = $1 for no key update", new.user_id)
    row = await connection.fetchrow(
        f"""
        insert into uploads (id, app_id, user_id, kind, by_app, flows, filename, mime, length, backend_id, object_key,
                             multipart, expires_at)
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13
        where (select count(*) from uploads where user_id = $3 and {KINDS} and state = 'open' and expires_at > now()) < $14
        returning {COLUMNS}
        """,
        new.id, new.app_id, new.user_id, "direct" if new.backend is None else "presigned", new.by_app, list(new.flows),
        new.filename, new.mime, new.length, new.backend, new.key, new.multipart, life, most,
    )  # fmt: skip
    if row is None:
        raise TooManyUploads(limit=most)
    return _upload(row)


async def get(connection: Connection, app: int, upload: UUID, caller: int | None) -> Upload:
    """The upload, where the app's backend (`caller` None) or its user asks in time; else NotFound."""
    row = await connection.fetchrow(
        f"""
        select {COLUMNS} from uploads where id = $1 and app_id = $2 and ($3::bigint is null or user_id = $3) and {KINDS}
           and (expires_at > now() or {WORKED_ON})
           and exists (select from users u where u.id = uploads.user_id and u.deleted_at is null)
        """,
        upload, app, caller,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such upload.", upload=upload.hex)
    return _upload(row)


async def find(connection: Connection, upload: UUID) -> Upload | None:
    """The upload, whoever's it is."""
    row = await connection.fetchrow(f"select {COLUMNS} from uploads where id = $1 and {KINDS}", upload)
    return None if row is None else _upload(row)


async def lock(connection: Connection, upload: UUID, holder: UUID) -> bool:
    """Whether it is still open and the holder's, which it stays until the transaction ends."""
    found = await connection.fetchval(
        "select 1 from uploads where id = $1 and holder = $2 and state = 'open' for no key update", upload, holder
    )
    return found is not None


async def arrived(connection: Connection, upload: UUID, bytes_there: int, life: timedelta) -> None:
    """Notes how many bytes of a direct one are there, which somebody has so long from now on to complete."""
    await connection.execute(
        'update uploads set "offset" = $2, expires_at = greatest(expires_at, now() + $3) where id = $1',
        upload, bytes_there, life,
    )  # fmt: skip


async def complete(
    connection: Connection, upload: UUID, holder: UUID, length: int, meta: Mapping[str, Any], job: UUID
) -> bool:
    """In the transaction that makes its job; False where it is not open, or another's, by now."""
    done = await connection.fetchval(
        """
        update uploads set state = 'ingesting', length = $3, meta = $4, job_id = $5, holder = null, held_until = null
        where id = $1 and holder = $2 and state = 'open' returning 1
        """,
        upload, holder, length, meta, job,
    )  # fmt: skip
    return done is not None


async def stored(connection: Connection, upload: UUID) -> bool:
    """In the transaction that makes it a media; False where it was ended otherwise."""
    done = await connection.fetchval(
        "update uploads set state = 'stored', media_id = id where id = $1 and state = 'ingesting' returning 1", upload
    )
    return done is not None


async def fail(connection: Connection, upload: UUID, problem: Mapping[str, Any]) -> bool:
    """Ends it with what it was refused for; False where it had ended."""
    done = await connection.fetchval(
        f"""
        update uploads set state = 'failed', problem = $2, holder = null, held_until = null
        where id = $1 and state in ('open', 'ingesting') and {KINDS} returning 1
        """,
        upload, problem,
    )  # fmt: skip
    return done is not None


async def forget(connection: Connection, upload: UUID) -> None:
    await connection.execute(f"delete from uploads where id = $1 and {KINDS}", upload)


async def end_expired(connection: Connection, but: Collection[int], most: int) -> list[Upload]:
    """Ends those whose time has passed, so that nobody completes them any more; returns all that are to be taken away.

    `but`: not those that were sent to these backends.
    """
    rows = await connection.fetch(
        f"""
        update uploads set state = case state when 'open' then 'failed' else state end
        where id in (
            select id from uploads
            where expires_at < now() and {KINDS} and {FREE} and not (state = 'ingesting' and {WORKED_ON})
              and coalesce(backend_id <> all($1::integer[]), true)
            order by expires_at limit $2 for update skip locked)
        returning {COLUMNS}
        """,
        list(but), most,
    )  # fmt: skip
    return [_upload(row) for row in rows]


async def given_up(connection: Connection, most: int) -> list[Upload]:
    """Those whose job has ended without them."""
    rows = await connection.fetch(
        f"select {COLUMNS} from uploads where state = 'ingesting' and {KINDS} and not {WORKED_ON} limit $1", most
    )
    return [_upload(row) for row in rows]


async def of_user(connection: Connection, user: int) -> list[Upload]:
    rows = await connection.fetch(f"select {COLUMNS} from uploads where user_id = $1 and {KINDS}", user)
    return [_upload(row) for row in rows]
