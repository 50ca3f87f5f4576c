"""Jobs: our row, which people look at, and PgQueuer's entry, which makes a worker run it, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

from chipmunk import traces
from chipmunk.db import Connection
from chipmunk.errors import Conflict, JobNotCancellable, NotFound
from chipmunk.ids import new_id

LADDER, PURGE_MEDIA, PURGE_USER, PURGE_APP = "ladder", "purge_media", "purge_user", "purge_app"
COPY, MOVE, SCRUB, FETCH, COLLECT = "copy", "move", "scrub", "fetch", "collect"
IMAGES, WALK, TAKE, MAIL, AFTER_INGEST = "images", "walk", "take", "mail", "after_ingest"
CLASSIFY, JUDGE = "classify", "judge"
KINDS = (
    LADDER, PURGE_MEDIA, PURGE_USER, PURGE_APP, COPY, MOVE, SCRUB, FETCH, COLLECT, IMAGES, WALK, TAKE, MAIL, AFTER_INGEST,
    CLASSIFY, JUDGE,
)  # fmt: skip
CANCELLABLE = frozenset({LADDER, MOVE, SCRUB, FETCH, IMAGES})
COLUMNS = (
    "id, kind, state, app_id, media_id, user_id, attempts, reason, payload, progress, created_at, started_at, finished_at,"
    " part_of, request_id"
)
KEPT_DAYS = 7

# What a statement that ends jobs, and calls them `ended`, tells those who watch.
TOLD = """
    insert into events (app_id, user_id, job_id, kind, data)
    select app_id, user_id, id, 'job', jsonb_build_object(
        'kind', kind, 'state', state, 'media', replace(media_id::text, '-', ''), 'reason', reason)
    from ended where part_of is null
"""


@dataclass(frozen=True, slots=True)
class Job:
    """`payload` is what it was given, `progress` how far it has come, in the words of its kind."""

    id: UUID
    kind: str
    state: str
    app_id: int | None
    media_id: UUID | None
    user_id: int | None
    attempts: int
    reason: str | None
    payload: dict[str, Any]
    progress: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    part_of: UUID | None = None
    request_id: str | None = None


class _Driver(AsyncpgDriver):
    """PgQueuer hands a job's headers over as JSON text; our connections encode JSON themselves."""

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        *others, headers = args
        assert isinstance(headers, list)
        return await super().fetch(query, *others, [json.loads(h) for h in headers])


async def _enter(connection: Connection, kind: str, job: UUID) -> None:
    await Queries(_Driver(connection)).enqueue(kind, job.hex.encode())


def _job(row: object) -> Job:
    return Job(*row)  # type: ignore[misc]


async def enqueue(
    connection: Connection,
    kind: str,
    *,
    app: int | None,
    user: int | None = None,
    media: UUID | None = None,
    payload: Mapping[str, Any] | None = None,
    part_of: UUID | None = None,
) -> UUID:
    """Makes a job that starts when the caller's transaction commits, and never if it does not. The operator's belong to
    no `app`."""
    job = new_id()
    await connection.execute(
        "insert into jobs (id, app_id, user_id, media_id, kind, payload, part_of, request_id)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        job, app, user, media, kind, payload or {}, part_of, traces.request_id(),
    )  # fmt: skip
    await _enter(connection, kind, job)
    return job


async def get(connection: Connection, app: int | None, job: UUID, user: int | None) -> Job:
    """The app's job (started by `user`, where given), any job for the operator (`app` None), or NotFound."""
    row = await connection.fetchrow(
        f"""
        select {COLUMNS} from jobs
        where id = $1 and ($2::integer is null or app_id = $2) and ($3::bigint is null or user_id = $3)
        """,
        job, app, user,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such job.", job=job.hex)
    return _job(row)


async def enqueue_once(
    connection: Connection, kind: str, *, app: int | None, user: int | None = None, payload: Mapping[str, Any]
) -> UUID:
    """As `enqueue`; Conflict, which names it, where such a job about the same has not ended. The caller holds a lock."""
    running = await connection.fetchval(
        "select id from jobs where kind = $1 and state in ('queued', 'running') and payload @> $2 limit 1",
        kind,
        payload,
    )
    if running is not None:
        raise Conflict("This is being done already.", job=running.hex)
    return await enqueue(connection, kind, app=app, user=user, payload=payload)


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


async def advance(connection: Connection, job: UUID, progress: Mapping[str, Any]) -> bool:
    """Notes how far a job has come; False where it has been ended, so that its work should."""
    done = await connection.fetchval(
        """
        with moved as (
            update jobs set progress = $2 where id = $1 and state in ('queued', 'running')
            returning id, app_id, user_id, part_of),
        told as (
            insert into events (app_id, user_id, job_id, kind, data)
            select app_id, user_id, id, 'progress', $2 from moved where part_of is null)
        select 1 from moved
        """,
        job, progress,
    )  # fmt: skip
    return done is not None


async def hold(connection: Connection, job: UUID, holder: UUID) -> bool:
    """From now on nobody but this holder can `complete` the running job, no attempt that went before either."""
    done = await connection.fetchval(
        """
        update jobs set payload = payload || jsonb_build_object('holder', $2::text)
        where id = $1 and state = 'running' returning 1
        """,
        job, holder.hex,
    )  # fmt: skip
    return done is not None


async def complete(connection: Connection, job: UUID, holder: UUID) -> bool:
    """In the transaction that does what the job was for; False where it is not to be done any more."""
    done = await connection.fetchval(
        f"""
        with ended as (
            update jobs set state = 'completed', finished_at = now()
            where id = $1 and state = 'running' and payload ->> 'holder' = $2 returning *),
        told as ({TOLD})
        select 1 from ended
        """,
        job, holder.hex,
    )  # fmt: skip
    return done is not None


async def unfinished(connection: Connection, kind: str, user: int) -> int:
    """How many jobs of the kind this user has that have not ended."""
    found: int = await connection.fetchval(
        "select count(*) from jobs where kind = $1 and user_id = $2 and state in ('queued', 'running')", kind, user
    )
    return found


async def outcome(connection: Connection, wanted: list[UUID]) -> tuple[int, str | None]:
    """How many of these jobs have not ended, and why one did not do its work; None: none failed."""
    row = await connection.fetchrow(
        """
        select count(*) filter (where state in ('queued', 'running')),
               min(coalesce(reason, state)) filter (where state in ('failed', 'cancelled'))
        from jobs where id = any($1::uuid[])
        """,
        wanted,
    )
    return row[0], row[1]


async def hand_back(connection: Connection, job: UUID) -> None:
    """Undoes an attempt that ended by no fault of the job, so that `attempts` tells how often a worker died of it."""
    await connection.execute(
        "update jobs set state = 'queued', attempts = attempts - 1 where id = $1 and state = 'running'", job
    )


async def end(connection: Connection, job: UUID, state: str, reason: str | None = None) -> bool:
    """Ends a job as `completed`, `failed`, `failed_partial` or `cancelled`; False where it had ended, which then stands."""
    done = await connection.fetchval(
        f"""
        with ended as (
            update jobs set state = $2, reason = $3, finished_at = now(), started_at = coalesce(started_at, now())
            where id = $1 and state in ('queued', 'running') returning *),
        told as ({TOLD})
        select 1 from ended
        """,
        job, state, reason,
    )  # fmt: skip
    return done is not None


async def find(connection: Connection, job: UUID) -> Job | None:
    """The job, whoever's it is: for the worker."""
    row = await connection.fetchrow(f"select {COLUMNS} from jobs where id = $1", job)
    return None if row is None else _job(row)


async def enqueue_lost(connection: Connection, after: timedelta) -> int:
    """Makes PgQueuer entries for unfinished jobs that have none and began longer ago than `after`; returns how many."""
    rows = await connection.fetch(
        """
        select id, kind from jobs j
        where state in ('queued', 'running') and kind <> $2
          and coalesce(started_at, created_at) < now() - $1::interval
          and not exists (select 1 from pgqueuer q
                          where q.entrypoint = j.kind and q.payload = convert_to(replace(j.id::text, '-', ''), 'UTF8'))
        limit 1000
        """,
        after, IMAGES,
    )  # fmt: skip
    for row in rows:
        await _enter(connection, row["kind"], row["id"])
    return len(rows)


async def cancel(connection: Connection, app: int | None, job: UUID, user: int | None) -> Job:
    """Cancels a job that has not ended and may be cancelled, or raises JobNotCancellable."""
    found = await get(connection, app, job, user)
    if found.kind not in CANCELLABLE or found.state not in ("queued", "running"):
        raise JobNotCancellable(job=job.hex, state=found.state)
    await end(connection, job, "cancelled")
    return await get(connection, app, job, user)


async def forget_old(connection: Connection) -> None:
    """Takes the rows of jobs that ended long ago, and PgQueuer's book of them."""
    await connection.execute("delete from pgqueuer_log where created < now() - interval '1 day'")
    await connection.execute(
        "delete from pgqueuer_statistics where created < now() - make_interval(days => $1)", KEPT_DAYS
    )
    await connection.execute("delete from jobs where finished_at < now() - make_interval(days => $1)", KEPT_DAYS)


async def depths(connection: Connection) -> list[tuple[str, str, int, float]]:
    """Jobs that have not ended: kind, state, how many, and the age of the oldest in seconds."""
    rows = await connection.fetch(
        """
        select kind, state, count(*), extract(epoch from now() - min(created_at))::float8 from jobs
        where state in ('queued', 'running') group by kind, state
        """
    )
    return [tuple(r) for r in rows]
