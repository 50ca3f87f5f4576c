"""Jobs: our row, which people look at, and PgQueuer's entry, which makes a worker run it, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from chipmunk.db import Connection
from chipmunk.errors import JobNotCancellable, NotFound
from chipmunk.ids import new_id

LADDER, PURGE_MEDIA, PURGE_USER = "ladder", "purge_media", "purge_user"
CANCELLABLE = frozenset({LADDER})
COLUMNS = "id, kind, state, media_id, user_id, attempts, reason, created_at, started_at, finished_at"
KEPT_DAYS = 7


@dataclass(frozen=True, slots=True)
class Job:
    id: UUID
    kind: str
    state: str
    media_id: UUID | None
    user_id: int | None
    attempts: int
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def _job(row: object) -> Job:
    return Job(*row)  # type: ignore[misc]


async def enqueue(
    connection: Connection, kind: str, *, app: int, user: int | None = None, media: UUID | None = None
) -> UUID:
    """Makes a job that starts when the caller's transaction commits, and never if it does not."""
    job = new_id()
    await connection.execute(
        "insert into jobs (id, app_id, user_id, media_id, kind) values ($1, $2, $3, $4, $5)",
        job,
        app,
        user,
        media,
        kind,
    )
    await Queries(AsyncpgDriver(connection)).enqueue(kind, job.hex.encode())
    return job


async def get(connection: Connection, app: int, job: UUID, user: int | None) -> Job:
    """The app's job (started by `user`, where given), or NotFound."""
    row = await connection.fetchrow(
        f"select {COLUMNS} from jobs where id = $1 and app_id = $2 and ($3::bigint is null or user_id = $3)",
        job, app, user,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such job.", job=job.hex)
    return _job(row)


async def start(connection: Connection, job: UUID) -> Job | None:
    """Notes a worker's attempt; None where the job has ended meanwhile, so that there is nothing to do."""
    row = await connection.fetchrow(
        f"""
        update jobs set state = 'running', attempts = attempts + 1, started_at = coalesce(started_at, now())
        where id = $1 and state in ('queued', 'running') returning {COLUMNS}
        """,
        job,
    )
    return None if row is None else _job(row)


async def end(connection: Connection, job: UUID, state: str, reason: str | None = None) -> None:
    """Ends a job as `completed`, `failed` or `cancelled`; one that has ended stays as it is."""
    await connection.execute(
        """
        update jobs set state = $2, reason = $3, finished_at = now(), started_at = coalesce(started_at, now())
        where id = $1 and state in ('queued', 'running')
        """,
        job, state, reason,
    )  # fmt: skip


async def cancel(connection: Connection, app: int, job: UUID, user: int | None) -> Job:
    """Cancels a job that has not ended and may be cancelled, or raises JobNotCancellable."""
    found = await get(connection, app, job, user)
    if found.kind not in CANCELLABLE or found.state not in ("queued", "running"):
        raise JobNotCancellable(job=job.hex, state=found.state)
    await end(connection, job, "cancelled")
    return await get(connection, app, job, user)


async def forget_old(connection: Connection) -> None:
    """Takes the rows of jobs that ended long ago."""
    await connection.execute("delete from jobs where finished_at < now() - make_interval(days => $1)", KEPT_DAYS)
