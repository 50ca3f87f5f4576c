"""The sweep: takes what crashes left behind, in the database and on the disk. One process at a time does it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from chipmunk import (
    audit,
    backends,
    copies,
    deliveries,
    events,
    heartbeats,
    idempotency,
    images_jobs,
    jobs,
    keys,
    leftovers,
    library,
    links,
    media_keys,
    metrics,
    quotas,
    recipients,
    revocations,
    sessions,
    shares,
    tagging,
    trash,
    users,
    webhooks,
)
from chipmunk.db import Connection
from chipmunk.errors import Problem, Unavailable
from chipmunk.storage import Checking
from chipmunk.vault import CannotOpen
from compressor import climb, incoming_sweep, tus_sweep
from compressor.inbox import disk
from compressor.orphans import Orphans
from compressor.parts import Parts

CHECK_SECONDS = 10.0
ANEW = 1000
UNFINISHED = timedelta(days=1)  # longer than any put or presigned upload takes
LOCK = 0x7377_6565  # "swee"
HOUR = 3600.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, but for `folders`: how many media folders one sweep looks at."""

    every: float = 30.0
    leftover: float = 60.0
    spooled: float = 600.0
    orphaned: float = HOUR
    quarantined: float = 24 * HOUR
    lost: float = 120.0
    listed: float = 300.0
    folders: int = 5000


class Sweeper:
    def __init__(self, parts: Parts, pace: Pace | None = None) -> None:
        self._parts = parts
        self._pace = pace or Pace()
        self._orphans = Orphans(parts, self._pace.orphaned)
        self._listed = float("-inf")

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweeps for as long as this process holds the sweepers' lock, and tries to get it where another has it."""
        while not stopping.is_set():
            with suppress(Unavailable):
                async with self._parts.database.connection() as connection:
                    while await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
                        await self.sweep()
                        await connection.execute("select pg_advisory_unlock($1)", LOCK)
                        if await self._told_within(stopping, self._pace.every):
                            return
            if await self._told_within(stopping, self._pace.every):
                return

    async def _told_within(self, stopping: asyncio.Event, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)
        return stopping.is_set()

    async def sweep(self) -> None:
        """Everything once. What fails is tried again at the next sweep, and keeps nothing else from being done."""
        for step in (
            self._rows,
            self._jobs,
            self._backends,
            self._stranded,
            self._uploads,
            self._resumable,
            self._presigned,
            self._spool,
            self._folders,
            self._emptied,
            self._words,
        ):
            try:
                await step()
            except Unavailable:
                raise
            except Exception:
                log.exception("a step of the sweep failed", step=step.__name__.strip("_"))

    async def _rows(self) -> None:
        forget: tuple[Callable[[Connection], Awaitable[None]], ...] = (
            sessions.forget_expired,
            links.forget_expired,
            keys.forget_expired,
            idempotency.forget_expired,
            jobs.forget_old,
            events.forget_old,
            deliveries.forget_old,
            revocations.forget_old,
            heartbeats.forget_old,
            shares.forget_old,
        )
        async with self._parts.database.connection() as connection:
            await library.sum_up(connection)
            _count("reservations", await quotas.release_expired(connection))
            for step in forget:
                await step(connection)
            await audit.forget_old(connection, self._parts.settings.audit_days)

    async def _jobs(self) -> None:
        """Jobs that should run and that no entry of the queue's will start."""
        async with self._parts.database.transaction() as connection:
            _count("trash", await trash.purge_due(connection))
        async with self._parts.database.transaction() as connection:
            _count("purges", await leftovers.enqueue_purges(connection) + await users.enqueue_purges(connection))
        async with self._parts.database.transaction() as connection:
            _count("copies", await copies.enqueue_unsettled(connection))
        async with self._parts.database.transaction() as connection:
            await images_jobs.go_on_with_all(connection)
        async with self._parts.database.transaction() as connection:
            _count("lost_jobs", await jobs.enqueue_lost(connection, timedelta(seconds=self._pace.lost)))

    async def _backends(self) -> None:
        """Looks whether each can be used, and puts what older master keys have sealed under the newest."""
        known = await self._parts.stores.known()
        await asyncio.gather(*(self._check(key) for key in known))
        async with self._parts.database.transaction() as connection:
            anew = await webhooks.seal_anew(connection, self._parts.stores.vault)
            anew += await recipients.seal_anew(connection, self._parts.settings.master_keys)
            if len(known) > 1:
                anew += await media_keys.seal_anew(connection, self._parts.stores.vault, ANEW)
                anew += await media_keys.seal_secrets_anew(connection, self._parts.stores.vault)
        _count("sealed_anew", anew)

    async def _check(self, key: int) -> None:
        reason = None
        try:
            store = await self._parts.stores.store(key)
            if isinstance(store, Checking):
                await asyncio.wait_for(store.check(), CHECK_SECONDS)
        except (Problem, CannotOpen, TimeoutError) as e:
            reason = e.detail if isinstance(e, Problem) else "It does not answer in time."
            reason = "Its secret cannot be opened." if isinstance(e, CannotOpen) else reason
            self._parts.stores.failed(key)
        async with self._parts.database.connection() as connection:
            await backends.note_health(connection, key, reason)

    async def _stranded(self) -> None:
        async with self._parts.database.connection() as connection:
            found = await leftovers.stranded(connection)
        for identifier, owner, processing in found:
            async with self._parts.database.transaction() as connection:
                if processing:
                    await climb.give_up(self._parts, connection, identifier, await _why(connection, identifier))
                else:
                    await quotas.finish(connection, owner, identifier, 0)
        _count("ladders", len(found))

    async def _uploads(self) -> None:
        left = await asyncio.to_thread(self._parts.inbox.leftovers, self._pace.leftover)
        for path in left:
            await asyncio.to_thread(_take, path)
        _count("uploads", len(left))

    async def _resumable(self) -> None:
        _count("expired_uploads", await tus_sweep.expired(self._parts))
        _count("part_files", await tus_sweep.stray(self._parts, self._pace.leftover))
        await tus_sweep.finish_abandoned(self._parts)

    async def _presigned(self) -> None:
        _count("expired_uploads", await incoming_sweep.expired(self._parts))
        if time.monotonic() - self._listed >= self._pace.listed:
            self._listed = time.monotonic()
            _count("incoming", await incoming_sweep.stray(self._parts))
            _count("unfinished_parts", await incoming_sweep.unfinished(self._parts, UNFINISHED))

    async def _spool(self) -> None:
        left = await asyncio.to_thread(self._parts.inbox.old_spool, self._pace.spooled)
        for path in left:
            await asyncio.to_thread(_take, path)
        _count("spooled", len(left))

    async def _words(self) -> None:
        """Of media that are older than what they are found by; a sweep goes on for some time, then others have their turn."""
        found, until = 1, time.monotonic() + self._pace.every
        while found and time.monotonic() < until:
            async with self._parts.database.transaction() as connection:
                found = await tagging.find_words(connection)
            _count("words", found)

    async def _folders(self) -> None:
        _count("orphans", await self._orphans.look(self._pace.folders))

    async def _emptied(self) -> None:
        old = await asyncio.to_thread(self._orphans.quarantined, time.time() - self._pace.quarantined)
        for path in old:
            await asyncio.to_thread(_take, path)
        _count("quarantined", len(old))


async def _why(connection: Connection, identifier: object) -> str:
    state = await connection.fetchval(
        "select j.state from media m join jobs j on j.id = m.job_id where m.id = $1", identifier
    )
    return climb.CANCELLED if state == "cancelled" else "The job was lost."


def _take(path: Path) -> None:
    with disk(), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _count(kind: str, number: int) -> None:
    if number:
        metrics.SWEPT.labels(kind).inc(number)
        log.info("swept", kind=kind, number=number)
