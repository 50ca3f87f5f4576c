"""Where the bytes of presigned uploads lie until they are a media: below `incoming/` of a backend, or among the part files
of the local volume. What is taken in is a copy that no URL names, so that nobody changes it after it was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog

from chipmunk import backends, presigned, quotas
from chipmunk.backends import LOCAL
from chipmunk.errors import Conflict, Problem
from chipmunk.presigned import Upload
from chipmunk.storage import Missing, PresigningUploads, Store, StoreUnavailable
from chipmunk.storage.local import sync_file, sync_folder
from chipmunk.vault import CannotOpen
from compressor import ladder
from compressor.inbox import disk
from compressor.parts import Parts

FOLDER = "incoming/"
log = structlog.get_logger()

Tell = Callable[[int], Awaitable[None]]  # how many bytes are here


def life(parts: Parts) -> timedelta:
    """How long a URL can be sent to; what was sent then can be completed for as long again."""
    return timedelta(seconds=parts.settings.presigned_seconds)


def key_of(upload: UUID) -> str:
    return FOLDER + upload.hex


async def chosen(parts: Parts, flow: int) -> tuple[int, PresigningUploads] | None:
    """The backend that media of the flow are to lie on, where it can be sent to; None: the local volume takes it."""
    async with parts.database.connection() as connection:
        wanted = await backends.wanted(connection, flow, pinned=bool(parts.settings.backends))
    key = next((backend for backend, role in wanted.items() if role == "primary"), LOCAL)
    known = (await parts.stores.known()).get(key)
    if key == LOCAL or known is None or known.up is False or parts.stores.seems_down(key):
        return None
    with suppress(StoreUnavailable, CannotOpen):
        store = await parts.stores.store(key)
        if isinstance(store, PresigningUploads):
            return key, store
    return None


async def length(parts: Parts, upload: Upload) -> int | None:
    """How many bytes have been sent, in parts that are made one for it; None where there is nothing."""
    if upload.backend is None or upload.key is None:
        with disk(), suppress(FileNotFoundError):
            return (await asyncio.to_thread(parts.part_files.original(upload.id).stat)).st_size
        return None
    try:
        return await _length_there(await _store(parts, upload.backend), upload.key, upload.multipart)
    except StoreUnavailable:
        parts.stores.failed(upload.backend)
        raise


async def _length_there(store: Store, key: str, multipart: str | None) -> int | None:
    found = await store.stat(key)
    if found is None and multipart is not None and isinstance(store, PresigningUploads):
        with suppress(Missing):
            await store.finish_parts(key, multipart)
            found = await store.stat(key)
    return None if found is None else found.bytes


async def _store(parts: Parts, backend: int) -> Store:
    try:
        return await parts.stores.store(backend)
    except CannotOpen:
        raise StoreUnavailable() from None


async def written_out(body: Path) -> None:
    """The body is on the disk for good, which takes long of a large one: before anything is locked for it."""
    with disk():
        await asyncio.to_thread(sync_file, body)


async def keep(parts: Parts, upload: UUID, source: Path) -> None:
    """Puts a body that is written out in the place of what was sent before, for good."""
    target = parts.part_files.original(upload)
    with disk():
        await asyncio.to_thread(_keep, source, target)


def _keep(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.replace(target)
    sync_folder(target.parent)
    sync_folder(target.parent.parent)


async def take(parts: Parts, upload: Upload, target: Path, tell: Tell) -> None:
    """Makes `target` a copy of what was sent. Conflict where that is not as long as when it was completed."""
    changed = Conflict("What was sent was changed after it was completed.", upload=upload.id.hex)
    try:
        if upload.backend is None or upload.key is None:
            with disk():
                await asyncio.to_thread(parts.part_files.link, upload.id, target)
            return
        store = await _store(parts, upload.backend)
        if await _fetched(store, upload.key, target, upload.length or 0, tell) != upload.length:
            raise changed
    except Missing:
        raise changed from None
    except StoreUnavailable:
        if upload.backend is not None:
            parts.stores.failed(upload.backend)
        raise


async def _fetched(store: Store, key: str, target: Path, most: int, tell: Tell) -> int:
    """Reads an object into a file, but for what passes `most`; how many bytes came."""
    done = 0
    with disk():
        file = await asyncio.to_thread(target.open, "xb")
    try:
        async for chunk in store.open(key):
            done += len(chunk)
            if done > most:
                break
            with disk():
                await asyncio.to_thread(file.write, chunk)
            await tell(done)
    finally:
        with disk():
            await asyncio.to_thread(file.close)
    return done


async def refuse(parts: Parts, upload: Upload, problem: Problem) -> None:
    """Ends an upload: of what was refused neither bytes nor quota stay."""
    async with parts.database.connection() as connection:
        if not await presigned.fail(connection, upload.id, problem.document()):
            return
        await quotas.release(connection, upload.id)
    await clear(parts, upload)


async def clear(parts: Parts, upload: Upload) -> None:
    """Takes the bytes of an upload that has ended; where its store is away, the sweep does."""
    try:
        await drop(parts, upload)
    except StoreUnavailable:
        log.warning("what was sent stays until its store is back", upload=upload.id.hex)


async def drop(parts: Parts, upload: Upload) -> None:
    """Takes every byte that was sent. StoreUnavailable where the store is not to be had now. Again is fine."""
    with disk():
        await asyncio.to_thread(parts.part_files.remove, [upload.id])
    if upload.backend is None or upload.key is None:
        return
    store = await _store(parts, upload.backend)
    try:
        if upload.multipart is not None and isinstance(store, PresigningUploads):
            await store.abort_parts(upload.key, upload.multipart)
        await store.delete(upload.key)
    except StoreUnavailable:
        parts.stores.failed(upload.backend)
        raise


async def remove(parts: Parts, upload: Upload) -> None:
    """Takes an upload with all that was kept for it; a media that it has become stays."""
    await drop(parts, upload)
    async with parts.database.transaction() as connection:
        await quotas.release(connection, upload.id)
        await presigned.forget(connection, upload.id)


async def hold_place(parts: Parts, upload: UUID, user: int, size: int, until: timedelta) -> int:
    """Holds at least `size` bytes of the user's quota for the upload, and for so long; returns how many it holds."""
    async with parts.database.connection() as connection:
        held = await quotas.renew(connection, user, upload)
    if held is None:
        await quotas.reserve(parts.database, user, size, size, media=upload)
    elif held < size:
        await quotas.resize(parts.database, upload, size)
    async with parts.database.connection() as connection:
        await quotas.extend(connection, upload, until)
    return max(held or 0, size)


def room_of(length: int) -> int:
    """What a file takes of the quota, its renditions at their most."""
    return length + ladder.still_cap(length)


def longest(room: int) -> int:
    """The longest file that fits into so much of a quota: `room_of` the other way round."""
    return max(0, room - ladder.still_cap(ladder.MIB), (room - ladder.still_cap(0)) // 3)
