"""`python -m compressor.worker`: does jobs and sweeps, until SIGTERM."""

from __future__ import annotations

from chipmunk import lean

lean.load()

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog
import uvloop
from pgqueuer.core import buffers
from pgqueuer.db import AsyncpgDriver
from pgqueuer.errors import PgqException, RetryRequested
from pgqueuer.models import Job as Entry
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from chipmunk import config, heartbeats, images_jobs, jobs, logs, metrics, traces
from chipmunk.config import Settings
from chipmunk.db import GONE
from chipmunk.errors import Problem, SettingsError, Unavailable
from chipmunk.jobs import Job
from compressor import (
    classifying,
    climb,
    collecting,
    delivering,
    fetching,
    importing,
    mailing,
    moving,
    purge,
    scrub,
    sweep,
)
from compressor.classifier import AT_ONCE as SEEN_AT_ONCE
from compressor.classifier import installed
from compressor.niceness import LADDERS, step_back
from compressor.parts import Parts, assembled
from compressor.plugged import after
from compressor.plugged.switched import checked

LOOK_EVERY = timedelta(seconds=2)  # how soon a job is noticed that no notification told of
LOST_AFTER = timedelta(seconds=8)  # how long a worker may be silent before its job is another's
HAND_BACK_SECONDS = 4.0  # how long a job may go on once the process is told to stop
RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS = 30.0
MOST_DEATHS = 3  # a job that killed this many workers is not tried again
MOST_TRIES = {True: 20, False: 5}  # by whether the fault was the surroundings'
MOST_TRIES_OF_A_MAIL = 300  # a day, with the delays between
LONGEST_DELAY = timedelta(minutes=5)
PASSING = (Unavailable, *GONE)
log = structlog.get_logger()

Work = Callable[[Parts, Job], Awaitable[bool | None]]  # again to the same end whenever it was stopped; False: once more

# What does each kind of job. What waits for others' networks is a queue of its own, as is what a model takes its time for,
# and keeps no picture waiting.
HERE: dict[str, Work] = {
    jobs.LADDER: climb.climb,
    jobs.PURGE_MEDIA: purge.purge_media,
    jobs.PURGE_USER: purge.purge_user,
    jobs.PURGE_APP: purge.purge_app,
}
AFAR: dict[str, Work] = {
    jobs.COPY: moving.copy,
    jobs.MOVE: moving.move,
    jobs.SCRUB: scrub.scrub,
    jobs.FETCH: fetching.fetch,
    jobs.COLLECT: collecting.collect,
    jobs.WALK: importing.walk,
    jobs.TAKE: importing.take,
    jobs.MAIL: mailing.send,
    jobs.AFTER_INGEST: after.after_ingest,
}
LOOKING: dict[str, Work] = {jobs.CLASSIFY: classifying.classify, jobs.JUDGE: classifying.judge}
AFAR_AT_ONCE = 8
OF_IMAGES = (jobs.FETCH, jobs.COLLECT, jobs.TAKE)
# At once, of all workers: hours, or as slow as a stranger likes.
LONG = {jobs.MOVE: 2, jobs.SCRUB: 1, jobs.FETCH: 4, jobs.MAIL: 2}


class Ends(buffers.JobStatusLogBuffer):
    """How jobs ended. Each is written as it comes: PgQueuer looks ten times a second for one that was not."""

    def __init__(self, max_size: int, **given: Any) -> None:
        super().__init__(max_size, timeout=LOOK_EVERY, **given)


buffers.JobStatusLogBuffer = Ends  # type: ignore[assignment, misc]


class Stopped(Exception):
    """The process is to end: the job is handed back."""


class Worker:
    """Runs the jobs that PgQueuer hands out. `stopping` ends it."""

    def __init__(self, parts: Parts, stopping: asyncio.Event) -> None:
        self._parts = parts
        self._stopping = stopping

    async def run(self) -> None:
        """Takes jobs until it is stopped, over as many connections as PostgreSQL's restarts take."""
        here = max(2, self._parts.settings.decoders or os.cpu_count() or 1)
        queues = [(HERE, here), (AFAR, AFAR_AT_ONCE), (LOOKING, SEEN_AT_ONCE)]
        if not self._parts.settings.classifies:
            queues[1:] = [({**AFAR, **LOOKING}, AFAR_AT_ONCE)]  # what was asked while there was a model
        await asyncio.gather(*(self._keep_taking(work, at_once) for work, at_once in queues))

    async def _keep_taking(self, work: dict[str, Work], at_once: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await self._consume(work, at_once)
            except Exception as e:
                failures = 0 if time.monotonic() - began > STEADY_SECONDS else failures + 1
                lost = isinstance(e, (*GONE, asyncpg.PostgresError, PgqException))
                log.warning("no jobs are taken for a moment", error=type(e).__name__, exc_info=None if lost else e)
                pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)

    async def _consume(self, work: dict[str, Work], at_once: int) -> None:
        connection = await asyncpg.connect(self._parts.settings.database_url, timeout=5, command_timeout=10)
        stopper = None
        try:
            manager = QueueManager(Queries(AsyncpgDriver(connection)))
            for kind in work:
                manager.entrypoint(kind, concurrency_limit=LONG.get(kind, 0))(self.attempt)
            stopper = asyncio.create_task(self._stop(manager))
            await manager.run(
                dequeue_timeout=LOOK_EVERY,
                batch_size=1,
                max_concurrent_tasks=at_once,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=LOST_AFTER,
            )
        finally:
            if stopper is not None:
                stopper.cancel()
            with suppress(*GONE):
                await connection.close(timeout=2)

    async def _stop(self, manager: Any) -> None:
        await self._stopping.wait()
        manager.shutdown.set()

    async def attempt(self, entry: Entry) -> None:
        """One attempt at a job. Raises RetryRequested where it has to run again."""
        identifier = UUID(hex=(entry.payload or b"").decode())
        began, outcome = time.monotonic(), "retried"
        try:
            async with self._parts.database.connection() as connection:
                job = await jobs.start(connection, identifier)
            if job is None:
                outcome = await self._after_the_end(identifier)
            elif job.attempts > MOST_DEATHS:
                outcome = await self._fail(job, f"The job ended {MOST_DEATHS} workers and is not tried again.")
            else:
                outcome = await self._try(job, entry.attempts)
        except PASSING as e:
            raise RetryRequested(_delay(entry.attempts), str(e)) from e
        else:
            await self._go_on(job)
        finally:
            metrics.JOBS.labels(entry.entrypoint, outcome).inc()
            metrics.JOB_SECONDS.labels(entry.entrypoint).observe(time.monotonic() - began)

    async def _go_on(self, job: Job | None) -> None:
        """After an image of a job of many has ended, whichever way; what fails here the sweep does."""
        if job is not None and job.part_of is not None:
            with suppress(Unavailable):
                async with self._parts.database.transaction() as connection:
                    await images_jobs.go_on(connection, job.part_of)

    async def _try(self, job: Job, tries: int) -> str:
        try:
            done = await self._unless_stopped(job)
        except Stopped:
            raise await self._handed_back(job, timedelta(0)) from None
        except Problem as e:
            if e.status < 500 and not e.passing:
                return await self._fail(job, e.detail)
            return await self._again(job, tries, e)
        except Exception as e:
            log.exception("job failed", job=job.id.hex, kind=job.kind)
            return await self._again(job, tries, e)
        if not done:
            raise await self._handed_back(job, _delay(tries))
        async with self._parts.database.connection() as connection:
            ended = await jobs.end(connection, job.id, "completed")
        return "completed" if ended else await self._after_the_end(job.id)

    async def _unless_stopped(self, job: Job) -> bool:
        """Does the job, or raises Stopped some seconds after the process was told to stop."""
        work = asyncio.ensure_future(self._work(job))
        late = asyncio.ensure_future(self._late())
        try:
            await asyncio.wait({work, late}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise Stopped
        finally:
            for task in (work, late):
                task.cancel()
            await asyncio.wait({work, late})

    async def _late(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(HAND_BACK_SECONDS)

    async def _work(self, job: Job) -> bool:
        """Does the job; False where it has to run again."""
        with (
            structlog.contextvars.bound_contextvars(job=job.id.hex, request_id=job.request_id),
            traces.beginning(f"job {job.kind}", job.request_id, attempt=job.attempts),
        ):
            return await {**HERE, **AFAR, **LOOKING}[job.kind](self._parts, job) is not False

    async def _again(self, job: Job, tries: int, error: Exception) -> str:
        passing = isinstance(error, Problem) and error.status >= 500
        if tries >= (MOST_TRIES_OF_A_MAIL if passing and job.kind == jobs.MAIL else MOST_TRIES[passing]):
            return await self._fail(job, error.detail if isinstance(error, Problem) else Problem.sentence)
        raise await self._handed_back(job, _delay(tries)) from error

    async def _handed_back(self, job: Job, delay: timedelta) -> RetryRequested:
        with suppress(Unavailable):
            async with self._parts.database.connection() as connection:
                await jobs.hand_back(connection, job.id)
        return RetryRequested(delay, "handed back")

    async def _fail(self, job: Job, reason: str) -> str:
        async with self._parts.database.transaction() as connection:
            if job.kind in OF_IMAGES or (job.kind == jobs.CLASSIFY and job.part_of is not None):
                await images_jobs.failed(connection, job, reason)
            if job.kind == jobs.MAIL:
                await mailing.give_up(connection, job)
            if job.kind == jobs.WALK and job.part_of is not None:
                await jobs.end(connection, job.part_of, "failed", reason)
            if await jobs.end(connection, job.id, "failed", reason) and job.kind == jobs.LADDER and job.media_id:
                await climb.give_up(self._parts, connection, job.media_id, reason)
        log.warning("job given up", job=job.id.hex, kind=job.kind, reason=reason)
        return "failed"

    async def _after_the_end(self, identifier: UUID) -> str:
        """A job that had ended before it ran: a ladder that was cancelled leaves its media as it is."""
        async with self._parts.database.transaction() as connection:
            job = await jobs.find(connection, identifier)
            if job is None or job.state != "cancelled" or job.kind != jobs.LADDER or job.media_id is None:
                return "completed"
            await climb.give_up(self._parts, connection, job.media_id, climb.CANCELLED)
        return "cancelled"


def _delay(tries: int) -> timedelta:
    """One second, then twice as long each time, up to five minutes."""
    return min(timedelta(seconds=2 ** min(tries, 10)), LONGEST_DELAY)


async def run(settings: Settings) -> None:
    """Works until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with assembled(settings) as parts, heartbeats.beating(parts.database, "worker"):
        log.info("working")
        await asyncio.gather(
            Worker(parts, stopping).run(),
            sweep.Sweeper(parts).run(stopping),
            delivering.Deliverer(parts).run(stopping),
        )


def main() -> None:
    os.umask(0o077)
    step_back(LADDERS)
    try:
        settings = checked(config.load())
        installed.check(settings)
    except SettingsError as e:
        sys.exit(str(e))
    metrics.setup(settings)
    traces.setup(settings, "worker")
    logs.configure(settings, "worker")
    uvloop.run(run(settings))
