"""What is left of presigned uploads: those that nobody completed in time, those whose job ended without them, and objects
that were sent when nobody expected them any more."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from chipmunk import presigned, uploads
from chipmunk.errors import Lost
from chipmunk.ids import parse_id
from chipmunk.storage import Listing, PresigningUploads, Store, StoreUnavailable
from chipmunk.vault import CannotOpen
from compressor import incoming
from compressor.incoming import FOLDER
from compressor.parts import Parts

BATCH = 1000


async def expired(parts: Parts) -> int:
    """Takes expired uploads, with their bytes and what is reserved for them; returns how many. Those whose store is away
    stay for the next sweep."""
    async with parts.database.connection() as connection:
        left = await presigned.given_up(connection, BATCH)
    for upload in left:
        await incoming.refuse(parts, upload, Lost("The job that was to store it was given up."))
    known = await parts.stores.known()
    away = [key for key in known if parts.stores.seems_down(key)]
    async with parts.database.connection() as connection:
        found = await presigned.end_expired(connection, away, BATCH)
    taken = 0
    for upload in found:
        if upload.backend is not None and parts.stores.seems_down(upload.backend):
            continue
        with suppress(StoreUnavailable):
            await incoming.remove(parts, upload)
            taken += 1
    return taken


async def stray(parts: Parts) -> int:
    """Takes objects of uploads that have ended or are not known, as a URL can be sent to after that; returns how many."""
    taken = 0
    for key, backend in (await parts.stores.known()).items():
        if backend.kind != "s3" or parts.stores.seems_down(key):
            continue
        with suppress(StoreUnavailable, CannotOpen):
            store = await parts.stores.store(key)
            if isinstance(store, Listing):
                sent = [name async for name, _ in store.listed(FOLDER)]
                taken += await _taken(parts, store, sent)
    return taken


async def unfinished(parts: Parts, older_than: timedelta) -> int:
    """Takes uploads in parts that nobody finished, a dead worker's too; returns how many."""
    taken = 0
    for key in await parts.stores.known():
        with suppress(StoreUnavailable, CannotOpen):
            store = await parts.stores.store(key)
            if isinstance(store, PresigningUploads) and not parts.stores.seems_down(key):
                taken += await store.abort_stale(older_than)
    return taken


async def _taken(parts: Parts, store: Store, sent: list[str]) -> int:
    known = {found: key for key in sent if (found := parse_id(key.removeprefix(FOLDER))) is not None}
    async with parts.database.connection() as connection:
        gone = await uploads.without_need(connection, list(known))
    for upload in gone:
        await store.delete(known[upload])
    return len(gone)
