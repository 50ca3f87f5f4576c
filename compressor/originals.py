"""The original of a media as a file that its owner cannot lose while it is worked on, wherever it lies."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import structlog

from chipmunk import ids
from chipmunk.backends import LOCAL
from chipmunk.errors import Lost, NotFound, Problem, Unavailable
from chipmunk.media import Media
from chipmunk.reading import ORIGINAL, Place
from chipmunk.storage import StoreUnavailable
from chipmunk.vault import CannotOpen
from compressor.inbox import DiskFailed, disk
from compressor.parts import Parts

log = structlog.get_logger()


async def bring(parts: Parts, found: Media, target: Path) -> None:
    """Makes `target` the original, from the first place that has it whole. NotFound where the media has gone,
    StoreUnavailable where a store cannot be asked now, Lost where no copy is whole."""
    readable = await parts.stores.readable(found.id)
    if readable is None:
        raise NotFound("There is no such media.", media=found.id.hex)
    failure: Problem = Lost(media=found.id.hex)
    for place in sorted(readable.places, key=lambda p: (p.backend != LOCAL, parts.stores.seems_down(p.backend))):
        try:
            return await (
                _linked(parts, found, target) if place.backend == LOCAL else _fetched(parts, found, place, target)
            )
        except (StoreUnavailable, CannotOpen):
            parts.stores.failed(place.backend)
            failure = Unavailable()
        except (NotFound, DiskFailed) as e:
            log.warning("an original is not where it should be", media=found.id.hex, why=type(e).__name__)
    raise failure


async def _linked(parts: Parts, found: Media, target: Path) -> None:
    with disk():
        await asyncio.to_thread(os.link, parts.store.path(f"{ids.folder(found.id)}/{ORIGINAL}"), target)


async def _fetched(parts: Parts, found: Media, place: Place, target: Path) -> None:
    """NotFound where other bytes lie there."""
    if ORIGINAL not in place.objects:
        raise NotFound()
    store = await parts.stores.of_media(place.backend, found.id, plain=place.plain)
    digest, length = hashlib.sha256(), 0
    with disk():
        file = await asyncio.to_thread(target.open, "wb")
    try:
        async for chunk in store.open(place.objects[ORIGINAL].key):
            digest.update(chunk)
            length += len(chunk)
            if length > found.bytes:
                break
            with disk():
                await asyncio.to_thread(file.write, chunk)
    finally:
        with disk():
            await asyncio.to_thread(file.close)
    if digest.digest() != found.sha256:
        raise NotFound()
