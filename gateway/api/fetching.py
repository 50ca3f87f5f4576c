"""Reads a file of a media from the stores that have it: a stretch at a time, each whole before a byte of it goes on.

So a store's connection is busy for as long as the store needs, not for as long as a slow viewer does; what is read and not
yet sent is never more than one stretch; and where a store fails, another copy gives the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator

import structlog

from chipmunk import metrics
from chipmunk.backends import LOCAL
from chipmunk.copies import object_key
from chipmunk.reading import Place, Readable
from chipmunk.storage import Damaged, Missing, Store, StoreUnavailable
from chipmunk.stores import Stores
from chipmunk.vault import CannotOpen

STRETCH = 1024 * 1024
# For the first byte, and for all of a stretch: where another copy can be asked, and where none is left.
SOON = (2.0, 5.0)
LAST = (10.0, 20.0)
log = structlog.get_logger()


class OnLocalVolume(Exception):
    """It is for nginx to send: the copy whose turn it is lies on the local volume."""


class Reader:
    """Reads one file of one media."""

    def __init__(self, stores: Stores, found: Readable, file: str) -> None:
        self._stores = stores
        self._found = found
        self._file = file
        self._stored = found.stored(file)

    async def read(self, start: int, end: int, *, begun: bool = False) -> bytes:
        """These bytes of the file, and no others; all of a file are compared with its SHA-256.

        OnLocalVolume where nginx can take over, which it can until an answer has `begun`. StoreUnavailable where no copy
        could be read. A media that has moved meanwhile is read where it is now.
        """
        data = await self._first(start, end, begun=begun)
        if data is None and (now := await self._stores.readable(self._found.id)) and now.places != self._found.places:
            self._found = now
            data = await self._first(start, end, begun=begun)
        if data is None:
            raise StoreUnavailable(media=self._found.id.hex)
        return data

    async def _first(self, start: int, end: int, *, begun: bool) -> bytes | None:
        """What the first copy gives that gives anything."""
        places = await self._places()
        for number, place in enumerate(places, 1):
            if place.backend == LOCAL and not begun:
                raise OnLocalVolume
            alone = number == len(places) and not self._stores.seems_down(place.backend)
            data = await self._tried(place, start, end, LAST if alone else SOON)
            if data is not None:
                return data
        return None

    async def _places(self) -> list[Place]:
        """Those that have the file, in the order in which they are asked: those that are down last."""
        known = await self._stores.known()

        def down(place: Place) -> bool:
            backend = known.get(place.backend)
            return self._stores.seems_down(place.backend) or (backend is not None and backend.up is False)

        return sorted((place for place in self._found.places if place.has(self._file)), key=down)

    async def _tried(self, place: Place, start: int, end: int, patience: tuple[float, float]) -> bytes | None:
        """What this copy gives; None, and a word in the log, where it gives nothing or something else."""
        backend = (await self._stores.known()).get(place.backend)
        name = "unknown" if backend is None else backend.id
        try:
            store = await self._stores.of_media(place.backend, self._found.id, plain=place.plain)
            stored = place.objects.get(self._file)
            key = object_key(self._found.id, self._file) if stored is None else stored.key
            data = await _read(store, key, start, end, patience)
            self._check(data, start)
        except (StoreUnavailable, CannotOpen, TimeoutError) as e:
            self._note(name, "slow" if isinstance(e, TimeoutError) else "unavailable", place.backend)
            return None
        except Missing as e:
            self._note(name, "damaged" if isinstance(e, Damaged) else "missing", None)
            return None
        metrics.STORED_READS.labels(name, "read").inc()
        metrics.STORED_BYTES.labels(name).inc(len(data))
        return data

    def _check(self, data: bytes, start: int) -> None:
        whole = self._stored is not None and (start, len(data)) == (0, self._stored.bytes)
        if whole and self._stored and hashlib.sha256(data).hexdigest() != self._stored.sha256:
            raise Damaged()

    def _note(self, name: str, outcome: str, failed: int | None) -> None:
        metrics.STORED_READS.labels(name, outcome).inc()
        if failed is None or not self._stores.seems_down(failed):
            log.warning("a copy could not be read", backend=name, media=self._found.id.hex, outcome=outcome)
        if failed is not None:
            self._stores.failed(failed)


async def _read(store: Store, key: str, start: int, end: int, patience: tuple[float, float]) -> bytes:
    """Exactly these bytes of an object, else Damaged; TimeoutError where they do not come in time."""
    first, whole = patience
    source, pieces, length = store.open(key, start, end), list[bytes](), 0
    try:
        async with asyncio.timeout(whole):
            async with asyncio.timeout(first):
                piece = await anext(source, None)
            while piece is not None and length <= end - start:
                pieces.append(piece)
                length += len(piece)
                piece = await anext(source, None)
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
    if length != end - start:
        raise Damaged()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
