"""The job that has a media looked at, by the model and by plug-ins: its classes, and how likely it is unsafe; and the one
that goes over a flow which says something else of what is unsafe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from chipmunk import classes, hooks, ids, images_jobs, jobs, media, whereabouts
from chipmunk.backends import LOCAL
from chipmunk.errors import Conflict, NotFound
from chipmunk.hooks import Looked, Seen
from chipmunk.jobs import Job
from chipmunk.media import Media
from chipmunk.reading import Place, Readable
from chipmunk.storage import Missing, StoreUnavailable
from compressor.inbox import disk
from compressor.parts import Parts

BEST_FIRST = (5, 6, 4, 3, 2, 1)  # rungs: 640 px are enough for any network
PIXELS = "pixels"
BATCH = 200


async def classify(parts: Parts, job: Job) -> bool:
    """Looks at the best rung there is; again to the same end. False while rungs are still being made."""
    if not parts.settings.has_model and not parts.plugged.takes(hooks.CLASSIFY):
        raise Conflict("There is no model here any more, and no plug-in that classifies.")
    readable = None if job.media_id is None else await parts.stores.readable(job.media_id)
    if readable is None:
        raise NotFound("There is no such media any more.")
    if readable.processing:
        return False
    seen = merged(await _seen(parts, readable))
    async with parts.database.transaction() as connection:
        if not await classes.keep(connection, readable.id, seen.classes, seen.unsafe, parts.settings.unsafe_threshold):
            raise NotFound("There is no such media any more.")
        if job.part_of is not None:
            await images_jobs.seen(connection, job)
    return True


async def judge(parts: Parts, job: Job) -> bool:
    """Judges what is in the flow anew, and has looked at what was not, oldest first. Again is fine."""
    flow, after, done = job.payload["flow"], UUID(int=0), 0
    while True:
        async with parts.database.connection() as connection:
            page = await whereabouts.of_flow(connection, flow, after, BATCH)
        for identifier in page:
            async with parts.database.transaction() as connection:
                await classes.judge(connection, identifier, parts.settings.unsafe_threshold)
                await classes.ask(connection, identifier)
        done += len(page)
        async with parts.database.connection() as connection:
            await jobs.advance(connection, job.id, {"done": done})
        if len(page) < BATCH:
            return True
        after = page[-1]


def merged(answers: Sequence[Seen]) -> Seen:
    """The best classes of all answers, each with the best score that it has, and the worst that any says of how unsafe it is."""
    best: dict[str, float] = {}
    for name, score in (one for seen in answers for one in seen.classes):
        best[name] = max(score, best.get(name, 0.0))
    kept = sorted(best.items(), key=lambda one: -one[1])[: classes.MOST]
    unsafe = [seen.unsafe for seen in answers if seen.unsafe is not None]
    return Seen(tuple(one for one in kept if one[1] >= classes.LEAST), max(unsafe, default=None))


async def _seen(parts: Parts, readable: Readable) -> list[Seen]:
    async with parts.database.connection() as connection:
        found = await media.find(connection, readable.id)
    rung = next((q for q in BEST_FIRST if q in readable.rungs), None)
    if rung is None or found is None or found.width is None:  # none, or one that we drew of a sound
        return []
    async with _here(parts, readable, f"{rung}.webp") as path:
        return [*await _by_model(parts, path), *await _by_plugins(parts, found, path)]


async def _by_model(parts: Parts, rung: Path) -> list[Seen]:
    if not parts.settings.has_model:
        return []
    looks = await parts.decoders.squares(rung, await parts.classifier.sides())
    return [await parts.classifier.seen(looks)]


async def _by_plugins(parts: Parts, found: Media, rung: Path) -> list[Seen]:
    flows = tuple(found.flows)
    if not parts.plugged.concerned(hooks.CLASSIFY, found.kind, flows):
        return []
    async with parts.inbox.folder() as folder:
        with disk():
            width, height, frames = await parts.decoders.pixels(rung, folder / PIXELS)
            looked = Looked(found.id.hex, found.kind, found.mime, width, height, frames, flows)
            return await parts.plugged.classify(looked, folder / PIXELS)


@asynccontextmanager
async def _here(parts: Parts, readable: Readable, file: str) -> AsyncIterator[Path]:
    """The file on this disk, brought from wherever it lies."""
    if any(place.backend == LOCAL for place in readable.places):
        yield parts.store.path(ids.folder(readable.id)) / file
        return
    async with parts.inbox.folder() as folder:
        for place in readable.places:
            try:
                await _bring(parts, readable, place, file, folder / file)
            except (Missing, StoreUnavailable):
                continue
            yield folder / file
            return
        raise StoreUnavailable()


async def _bring(parts: Parts, readable: Readable, place: Place, file: str, to: Path) -> None:
    if not place.has(file):
        raise Missing()
    store = await parts.stores.of_media(place.backend, readable.id, plain=place.plain)
    data = b"".join([chunk async for chunk in store.open(place.objects[file].key)])
    with disk():
        await asyncio.to_thread(to.write_bytes, data)
