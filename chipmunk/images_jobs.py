"""Jobs of many images: each image is a job of its own, of which a few are under way at a time.

So as many such jobs as there are go on side by side, however long one is, and an image that takes its time keeps up no
more than its own turn. What each image will be called is settled when the job is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chipmunk import events, ids, jobs, traces
from chipmunk.db import Connection
from chipmunk.errors import Conflict
from chipmunk.jobs import CLASSIFY, COLLECT, FETCH, IMAGES, TAKE, WALK, Job
from chipmunk.signing import random_identifier

AT_ONCE = 4  # images of one job
STEPS = ("image_fetch", "image_transform", "image_persist", "image_done")
COUNTED_EVERY = "1 second"
SHARED = ("flows", "by_app", "folder", "uploads", "classify", "here")  # of what a job was given, by its images
OVER = ("stored", "there", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class New:
    """An image to be: where it comes from, and the page that shows it there; the id and the link that it will have."""

    source: str
    page: str | None = None
    media: UUID = field(default_factory=ids.new_id)
    token: UUID = field(default_factory=random_identifier)


@dataclass(frozen=True, slots=True)
class Image:
    """One of a job's. `there`: its like was there already, as `media_id`."""

    position: int
    media_id: UUID
    token: UUID
    source: str
    page: str | None
    state: str
    reason: str | None


async def start(
    connection: Connection,
    *,
    app: int,
    user: int,
    payload: Mapping[str, Any],
    images: Sequence[New],
    walk: bool = False,
) -> UUID:
    """Makes the job, whose `payload` all its images get. With `walk` a job of its own will add images."""
    job = ids.new_id()
    await connection.execute(
        """
        insert into jobs (id, app_id, user_id, kind, state, payload, request_id, started_at)
        values ($1, $2, $3, $4, 'running', $5, $6, now())
        """,
        job, app, user, IMAGES, {**payload, "walking": walk}, traces.request_id(),
    )  # fmt: skip
    await add(connection, job, images, 0)
    if walk:
        await jobs.enqueue(connection, WALK, app=app, user=user, payload=payload, part_of=job)
    else:
        await go_on(connection, job)
    return job


async def add(connection: Connection, job: UUID, images: Sequence[New], first: int) -> None:
    """Images with the numbers from `first` on; those that are there already stay."""
    await connection.execute(
        """
        insert into job_images (job_id, position, media_id, token, source, page)
        select $1, $2 + n - 1, m, t, s, p
        from unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[]) with ordinality as given (m, t, s, p, n)
        on conflict do nothing
        """,
        job, first, [i.media for i in images], [i.token for i in images], [i.source for i in images],
        [i.page for i in images],
    )  # fmt: skip


async def walked(connection: Connection, job: UUID) -> None:
    """No more images will be added."""
    await connection.execute("""update jobs set payload = payload || '{"walking": false}' where id = $1""", job)


async def go_on(connection: Connection, job: UUID) -> None:
    """Begins as many images as may be under way, or ends the job after the last. In a transaction of its own, after what
    ended: so the end of a job is told after everything in it."""
    row = await connection.fetchrow(
        "select app_id, user_id, payload from jobs where id = $1 and kind = $2 and state = 'running' for no key update",
        job, IMAGES,
    )  # fmt: skip
    if row is None:
        return
    begun = await connection.fetch(
        """
        update job_images set state = 'running' where job_id = $1 and position in (
            select position from job_images where job_id = $1 and state = 'waiting' order by position
            limit greatest(0, $2 - (select count(*) from job_images where job_id = $1 and state = 'running')))
        returning position, media_id, token, source, page
        """,
        job, AT_ONCE,
    )  # fmt: skip
    payload = row["payload"]
    common = {name: payload[name] for name in SHARED if name in payload}
    for image in begun:
        given = {
            **common, "url": image["source"], "page": image["page"], "token": image["token"].hex,
            "position": image["position"],
        }  # fmt: skip
        await jobs.enqueue(
            connection, _work(payload),
            app=row["app_id"], user=row["user_id"], media=image["media_id"], payload=given, part_of=job,
        )  # fmt: skip
    under_way = await connection.fetchval(
        "select exists (select from job_images where job_id = $1 and state = 'running')", job
    )
    over = not under_way and not payload["walking"]
    found = await _counted(connection, job, at_once=over)
    if over:
        await jobs.end(connection, job, _outcome(found))


def _work(payload: Mapping[str, Any]) -> str:
    """The kind of job that makes a media of one image, or looks at one that is."""
    if payload.get("classify"):
        return CLASSIFY
    return TAKE if payload.get("folder") else COLLECT if payload.get("uploads") else FETCH


async def _counted(connection: Connection, job: UUID, *, at_once: bool) -> Mapping[str, int]:
    """How many images are how, told as the job's progress once a second, or `at_once`."""
    due = await connection.fetchval(
        f"""
        update jobs set payload = payload || jsonb_build_object('counted_at', now()) where id = $1 and ($2
            or coalesce((payload ->> 'counted_at')::timestamptz, '-infinity') < now() - interval '{COUNTED_EVERY}')
        returning extract(epoch from now() - started_at)::float8
        """,
        job, at_once,
    )  # fmt: skip
    if due is None:
        return {}
    rows = await connection.fetch("select state, count(*) from job_images where job_id = $1 group by state", job)
    found: dict[str, int] = {r[0]: r[1] for r in rows}
    over, total = sum(found.get(state, 0) for state in OVER), sum(found.values())
    told = {"total": total, "done": found.get("stored", 0) + found.get("there", 0), "failed": found.get("failed", 0)}
    if found.get("there"):
        told["there"] = found["there"]
    if 0 < over < total:
        told["seconds_left"] = round(due / over * (total - over))
    await jobs.advance(connection, job, told)
    return found


def _outcome(found: Mapping[str, int]) -> str:
    failed, stored = found.get("failed", 0), found.get("stored", 0) + found.get("there", 0)
    if not failed:
        return "completed"
    return "failed_partial" if stored else "failed"


async def waiting(connection: Connection, user: int) -> int:
    """How many images of this user's jobs are not over. Locks the user's row, so that two jobs at once are counted both."""
    await connection.execute("select from users where id = $1 for no key update", user)
    found: int = await connection.fetchval(
        """
        select count(*) from jobs j join job_images i on i.job_id = j.id
        where j.user_id = $1 and j.kind = $2 and j.state = 'running' and i.state in ('waiting', 'running')
        """,
        user, IMAGES,
    )  # fmt: skip
    return found


async def fetched(connection: Connection, job: Job) -> None:
    """An image's bytes are here; that is told once, whatever becomes of the first attempt, and not after the job's end."""
    first = await connection.fetchval(
        """
        update jobs set payload = payload || '{"here": true}'
        where id = $1 and state in ('queued', 'running') and not payload ? 'here' returning 1
        """,
        job.id,
    )
    if first is not None:
        await _step(connection, job, STEPS[0])


async def stored(connection: Connection, job: Job) -> None:
    """In the transaction that makes it a media."""
    for step in STEPS[1:]:
        await _step(connection, job, step)
    await _over(connection, job, "stored", None)


async def seen(connection: Connection, job: Job) -> None:
    """The image has been looked at."""
    await _step(connection, job, STEPS[-1])
    await _over(connection, job, "stored", None)


async def there(connection: Connection, job: Job, media: UUID) -> None:
    """Its like is there already."""
    await _step(connection, job, STEPS[-1], media=media.hex, there=True)
    await connection.execute(
        "update job_images set media_id = $3 where job_id = $1 and position = $2",
        job.part_of, job.payload["position"], media,
    )  # fmt: skip
    await _over(connection, job, "there", None)


async def failed(connection: Connection, job: Job, reason: str) -> None:
    """In the transaction that ends the image's job, before it does; nothing happens where it has ended.

    Everybody takes an image's row of the job of many before the image's own job.
    """
    await _over(connection, job, "failed", reason)
    here = await connection.fetchval(
        "select payload ? 'here' from jobs where id = $1 and state in ('queued', 'running') for no key update", job.id
    )
    if here is not None:
        await _step(connection, job, STEPS[1] if here else STEPS[0], error=reason)


async def _step(connection: Connection, job: Job, step: str, **more: Any) -> None:
    told = {"step": step, "media": job.media_id.hex if job.media_id else None, "source": job.payload.get("url"), **more}
    of = job.part_of or job.id
    await events.append(connection, "image", told, app=job.app_id, user=job.user_id, job=of)


async def _over(connection: Connection, job: Job, state: str, reason: str | None) -> None:
    if job.part_of is not None:
        await connection.execute(
            "update job_images set state = $3, reason = $4 where job_id = $1 and position = $2 and state = 'running'",
            job.part_of, job.payload["position"], state, reason,
        )  # fmt: skip


async def cancel(connection: Connection, job: UUID) -> None:
    """What is not over is not begun, or ends."""
    await connection.execute(
        "update job_images set state = 'cancelled' where job_id = $1 and state in ('waiting', 'running')", job
    )
    await connection.execute(
        """
        update jobs set state = 'cancelled', finished_at = now() where part_of = $1 and state in ('queued', 'running')
        """,
        job,
    )


async def retry(connection: Connection, job: UUID) -> int:
    """Has the images that failed begun anew, under the ids they have; how many. Conflict where the job goes on."""
    found = await connection.fetchrow(
        "select state, payload from jobs where id = $1 and kind = $2 for update", job, IMAGES
    )
    if found is None or found["state"] in ("queued", "running"):
        raise Conflict("The job goes on, or is none of images.", job=job.hex)
    rows = await connection.fetch(
        """
        update job_images set state = 'waiting', reason = null where job_id = $1 and state in ('failed', 'cancelled')
        returning 1
        """,
        job,
    )
    if rows:
        await connection.execute(
            "update jobs set state = 'running', finished_at = null, reason = null where id = $1", job
        )
        await go_on(connection, job)
    return len(rows)


async def images(connection: Connection, job: UUID, after: int, limit: int) -> list[Image]:
    """A job's images in order, from just above the number `after` on."""
    rows = await connection.fetch(
        """
        select position, media_id, token, source, page, state, reason from job_images
        where job_id = $1 and position > $2 order by position limit $3
        """,
        job, after, limit,
    )  # fmt: skip
    return [Image(*row) for row in rows]


async def go_on_with_all(connection: Connection) -> int:
    """Those whose last image ended with nobody left to say so; how many there are under way."""
    rows = await connection.fetch("select id from jobs where kind = $1 and state = 'running'", IMAGES)
    for row in rows:
        async with connection.transaction():
            await go_on(connection, row["id"])
    return len(rows)
