"""The scrub: compares rows, checksums and what a store really holds, has what is damaged brought there again from another
copy, and takes what no row knows."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from chipmunk import copies, ids, jobs, media, metrics, revocations, whereabouts
from chipmunk.backends import LOCAL
from chipmunk.copies import Copy
from chipmunk.errors import NotFound
from chipmunk.jobs import Job
from chipmunk.media import Media
from chipmunk.storage import ByContent, Damaged, Listing
from compressor.moving import TOLD_SECONDS
from compressor.orphans import SHARE, TOLERATED
from compressor.parts import Parts
from compressor.placing import files, sums, verify

BATCH = 200
LEAST_AGE = timedelta(hours=1)
log = structlog.get_logger()


@dataclass
class Report:
    """Media looked at; of these damaged, and lost where no other copy is there to mend it from; objects of no media."""

    checked: int = 0
    damaged: int = 0
    lost: int = 0
    orphans: int = 0
    orphans_taken: int = 0


class Scrub:
    """One attempt at scrubbing a backend: it begins anew after a crash, as what it found has been noted."""

    def __init__(self, parts: Parts, job: Job) -> None:
        self._parts = parts
        self._job = job
        self._backend: int = job.payload["backend"]
        self._report = Report()
        self._told = 0.0
        self._cancelled = False

    async def run(self) -> None:
        after = UUID(int=0)
        while not self._cancelled:
            async with self._parts.database.connection() as connection:
                batch = await whereabouts.on_backend(connection, self._backend, after, BATCH)
            for identifier in batch:
                await self._look(identifier)
                await self._tell()
                if self._cancelled:
                    return
            if len(batch) < BATCH:
                break
            after = batch[-1]
        await self._orphans()
        await self._tell(now=True)

    async def _look(self, identifier: UUID) -> None:
        async with self._parts.database.connection() as connection:
            found = await media.find(connection, identifier)
            rows = await copies.of_media(connection, identifier)
        if found is None or found.state in ("deleted", "processing"):
            return
        row = next((r for r in rows if r.backend == self._backend), None)
        if await self._is_whole(found, row):
            async with self._parts.database.connection() as connection:
                await copies.checked(connection, identifier, self._backend)
        elif await self._still_there(identifier):
            await self._mend(found)
        self._report.checked += 1

    async def _still_there(self, identifier: UUID) -> bool:
        """Whether it is not that it was deleted or moved while it was looked at."""
        async with self._parts.database.connection() as connection:
            found = await media.find(connection, identifier)
            rows = await copies.of_media(connection, identifier)
        here = [r for r in rows if r.backend == self._backend]
        stays = (
            (here[0].state == "stored" and here[0].role is not None) if here else not rows and self._backend == LOCAL
        )
        return found is not None and found.state != "deleted" and stays

    async def _is_whole(self, found: Media, row: Copy | None) -> bool:
        try:
            if self._backend == LOCAL:
                await asyncio.to_thread(sums, self._parts.store.path(ids.folder(found.id)), found)
            elif row is not None:
                store = await self._parts.stores.of_media(self._backend, found.id, plain=row.cid is not None)
                for name in files(found):
                    await verify(store, row.objects[name])
        except (NotFound, Damaged, KeyError):
            return False
        return True

    async def _mend(self, found: Media) -> None:
        """Has views served from another copy, and this one brought here again from it; where there is none, says so."""
        async with revocations.revoking(self._parts.database, self._parts.redis) as connection:
            if await media.lock(connection, found.id) is None:
                return
            await copies.locked(connection, found.id)
            rows = await copies.of_media(connection, found.id)
            others = [r for r in rows if r.backend != self._backend and r.state == "stored"]
            if others:
                await copies.damaged(connection, found.id, self._backend)
                if await media.home(connection, found.id) == self._backend:
                    await copies.serve_from(connection, found.id, others[0].backend)
                await jobs.enqueue(connection, jobs.COPY, app=found.app_id, user=found.owner_id, media=found.id)
        self._report.damaged += 1
        metrics.COPIES_DAMAGED.labels("mended" if others else "lost").inc()
        if others:
            log.warning("a copy is damaged", media=found.id.hex, backend=self._backend)
        else:
            self._report.lost += 1
            log.error("a media is damaged and has no other copy", media=found.id.hex, backend=self._backend)

    async def _orphans(self) -> None:
        """Objects of media that no row knows, once they are an hour old. More than a hundredth of all is no crash's doing
        but an older database's: then nothing is taken."""
        store = await self._parts.stores.store(self._backend)
        if not isinstance(store, Listing | ByContent) or self._cancelled:
            return
        seen, found, batch = 0, set[UUID](), dict[UUID, None]()
        async for key, stat in store.named() if isinstance(store, ByContent) else store.listed():
            identifier = _media_of(key)
            if identifier is None or stat.modified > datetime.now(UTC) - LEAST_AGE:
                continue
            if identifier not in batch:
                seen, batch[identifier] = seen + 1, None
            if len(batch) >= BATCH:
                found |= await self._unknown(list(batch))
                batch.clear()
                await self._tell()
                if self._cancelled:
                    return
        found |= await self._unknown(list(batch))
        self._report.orphans = len(found)
        if len(found) > max(TOLERATED, SHARE * seen):
            metrics.SWEEPS_REFUSED.inc()
            log.error("too many media are orphaned to take any", orphaned=len(found), media=seen, backend=self._backend)
            return
        for identifier in found:
            async with self._parts.database.transaction() as connection:
                await media.lock(connection, identifier)  # it may have come back, and cannot any more now
                if await whereabouts.strangers(connection, self._backend, [identifier]):
                    await store.delete(f"{ids.folder(identifier)}/")
                    self._report.orphans_taken += 1

    async def _unknown(self, identifiers: list[UUID]) -> set[UUID]:
        """Those that are no media, or media that have no business here."""
        async with self._parts.database.connection() as connection:
            return set(await whereabouts.strangers(connection, self._backend, identifiers))

    async def _tell(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._told < TOLD_SECONDS:
            return
        self._told = time.monotonic()
        async with self._parts.database.connection() as connection:
            self._cancelled = not await jobs.advance(connection, self._job.id, asdict(self._report))


def _media_of(key: str) -> UUID | None:
    """The media of an object key `ab/cd/<media id>/<file>`; None for any other."""
    steps = key.split("/")
    identifier = ids.parse_id(steps[2]) if len(steps) == 4 else None
    return identifier if identifier is not None and ids.folder(identifier) == "/".join(steps[:3]) else None


async def scrub(parts: Parts, job: Job) -> None:
    """The job of a backend that is scrubbed. StoreUnavailable where it is not to be had now."""
    await Scrub(parts, job).run()
