"""Brings the bytes of a media to where its rows say, and takes them from where they no longer are to be.

In this order, each step after the one before has held: a copy is put, read back and compared with what was meant; then it is
stored; then views are served from it; then, some seconds later, what is not wanted any more goes. Every step may come
twice, and after a crash the next attempt goes on with the first that is missing.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import structlog

from chipmunk import copies, ids, media, metrics, renditions, revocations
from chipmunk.backends import LOCAL
from chipmunk.copies import Copy, Stored, object_key
from chipmunk.errors import Lost, NotFound, Problem, Unavailable
from chipmunk.media import Media
from chipmunk.storage import ByContent, Damaged, Store, StoreUnavailable
from chipmunk.vault import CannotOpen
from compressor.inbox import ORIGINAL, DiskFailed, disk
from compressor.parts import Parts
from compressor.together import side_by_side

UNREADABLE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO})
log = structlog.get_logger()


async def settle(parts: Parts, identifier: UUID) -> bool:
    """Does what is left to do for a media to lie where it should. False where some of it has to wait.

    StoreUnavailable where a store is not to be had now; Lost where no copy is whole.
    """
    async with parts.database.connection() as connection:
        found = await media.find(connection, identifier)
        rows = await copies.of_media(connection, identifier)
    if found is None or found.state == "deleted" or not rows:
        return True
    if found.state == "processing":
        return all(row.settled for row in rows)
    failure: Exception | None = None
    for row in rows:
        if row.role is not None and row.state != "stored":
            try:
                await _bring(parts, found, rows, row)
            except (Problem, CannotOpen, DiskFailed) as e:  # the others are brought first
                failure = failure or e
    await _serve(parts, identifier)
    if failure is not None:
        raise failure
    await _take(parts, identifier)
    async with parts.database.connection() as connection:
        return not await copies.unsettled(connection, identifier)


def files(found: Media) -> dict[str, int]:
    """The names of a media's files, and their bytes."""
    return {ORIGINAL: found.bytes} | {renditions.file(r["quality"]): r["bytes"] for r in found.rungs}


async def _bring(parts: Parts, found: Media, rows: Sequence[Copy], wanted: Copy) -> None:
    """Puts a copy of the media where one is wanted, from the first source that is whole."""
    plain = await _plain(parts, found, wanted.backend)
    failure: Problem = Lost(media=found.id.hex)
    for source in sorted(rows, key=lambda r: (r.backend != LOCAL, parts.stores.seems_down(r.backend))):
        if source.state != "stored" or source.backend == wanted.backend:
            continue
        try:
            async with _whole(parts, found, source) as (folder, digests):
                if wanted.backend == LOCAL:
                    await _put_here(parts, found, folder, wanted)
                else:
                    await _put_there(parts, found, folder, digests, wanted, plain=plain)
            return
        except StoreUnavailable as e:
            failure = e
        except NotFound as e:
            log.warning("a copy is not whole", media=found.id.hex, backend=source.backend, why=type(e).__name__)
    raise failure


async def _plain(parts: Parts, found: Media, backend: int) -> bool:
    """Whether it may lie there as it is: anywhere but on IPFS, and there where flow and operator make it public."""
    known = (await parts.stores.known()).get(backend)
    if known is None or known.kind != "ipfs":
        return True
    if known.options.get("plain") != "public":
        return False
    async with parts.database.connection() as connection:
        return await media.is_public(connection, found.id)


@asynccontextmanager
async def _whole(parts: Parts, found: Media, source: Copy) -> AsyncIterator[tuple[Path, dict[str, str]]]:
    """A folder with the media's files as one copy has them, compared with what was stored, and their SHA-256."""
    if source.backend == LOCAL:
        folder = parts.store.path(ids.folder(found.id))
        yield folder, await asyncio.to_thread(sums, folder, found)
        return
    async with parts.inbox.folder() as folder:
        store = await parts.stores.of_media(source.backend, found.id, plain=source.cid is not None)
        try:
            await side_by_side([_fetch(store, source.objects[name].key, folder / name) for name in files(found)])
        except StoreUnavailable:
            parts.stores.failed(source.backend)
            raise
        except KeyError:
            raise NotFound() from None
        digests = await asyncio.to_thread(sums, folder, found)
        if any(digests[name] != source.objects[name].sha256 for name in digests):
            raise NotFound()
        yield folder, digests


async def _fetch(store: Store, key: str, target: Path) -> None:
    with disk():
        file = await asyncio.to_thread(target.open, "xb")
    try:
        async for chunk in store.open(key):
            with disk():
                await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)


def sums(folder: Path, found: Media) -> dict[str, str]:
    """SHA-256 of each file, or NotFound where one is missing or other than was stored."""
    digests = {}
    for name, length in files(found).items():
        try:
            with (folder / name).open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
                if file.tell() != length:
                    raise NotFound()
        except OSError as e:
            if e.errno in UNREADABLE:
                raise NotFound() from None
            raise DiskFailed(e.strerror) from e
    if digests[ORIGINAL] != found.sha256.hex():
        raise NotFound()
    return digests


async def _put_there(
    parts: Parts, found: Media, folder: Path, digests: dict[str, str], wanted: Copy, *, plain: bool
) -> None:
    backend = wanted.backend
    store = await parts.stores.of_media(backend, found.id, plain=plain, make=True)
    objects: dict[str, Stored] = {}
    kept = False

    async def put(name: str, length: int) -> None:
        key = await store.put(object_key(found.id, name), folder / name)
        objects[name] = Stored(key, length, digests[name])
        await verify(store, objects[name])
        metrics.COPIED_BYTES.inc(length)

    try:
        await side_by_side([put(name, length) for name, length in files(found).items()])
        cid = objects[ORIGINAL].key if plain and await _by_content(parts, backend) else None
        async with parts.database.transaction() as connection:
            locked = await media.lock(connection, found.id)
            shown = cid is None or await media.is_public(connection, found.id)
            kept = locked is not None and shown and await copies.store(connection, wanted, objects, cid)
        if not shown:
            raise Unavailable("The media is not public any more.")
    except StoreUnavailable:
        parts.stores.failed(backend)
        raise
    except NotFound as e:
        raise StoreUnavailable("The store gave back other bytes than it was given.") from e
    finally:
        if not kept:
            await asyncio.shield(_undo(parts, found.id, backend, objects, plain=plain))


async def _by_content(parts: Parts, backend: int) -> bool:
    return (await parts.stores.known())[backend].kind == "ipfs"


async def verify(store: Store, put: Stored) -> None:
    """Reads back what was put; Damaged where it is not the same."""
    digest, length = hashlib.sha256(), 0
    async for chunk in store.open(put.key):
        digest.update(chunk)
        length += len(chunk)
    if length != put.bytes or digest.hexdigest() != put.sha256:
        raise Damaged()


async def _undo(parts: Parts, identifier: UUID, backend: int, objects: dict[str, Stored], *, plain: bool) -> None:
    """Takes what was put for nothing: all of the media, where no copy is known there; else only what is surely this
    attempt's own. Under other attempts' keys it is theirs, or put over by the next, or taken with the copy."""
    try:
        store = await parts.stores.store(backend)
        async with parts.database.transaction() as connection:
            live = await media.lock(connection, identifier)  # so that none comes to be wanted there meanwhile
            row = next((r for r in await copies.of_media(connection, identifier) if r.backend == backend), None)
            if live is None or row is None:
                return await store.delete(f"{ids.folder(identifier)}/")
            public = plain and await media.is_public(connection, identifier)
        if isinstance(store, ByContent) and not public:
            stored = {s.key for s in row.objects.values()}
            for name, put in objects.items():
                if put.key not in stored:
                    await store.unpin(put.key, object_key(identifier, name))
    except Problem as e:
        log.warning("what was put for nothing stays for the scrub", media=identifier.hex, why=e.code)


async def _put_here(parts: Parts, found: Media, folder: Path, wanted: Copy) -> None:
    """Brings the media back to the local volume: its folder, whole, in the transaction that says so."""
    key = ids.folder(found.id)
    async with parts.inbox.folder() as fresh:
        with disk():
            for name in files(found):
                await asyncio.to_thread(os.link, folder / name, fresh / name)
        async with parts.database.transaction() as connection:
            if await media.lock(connection, found.id) is None:
                return
            if not await copies.store(connection, wanted, {}, None):
                return
            with disk():
                await parts.store.delete(f"{key}/")
                await parts.store.place(fresh, key)
    metrics.COPIED_BYTES.inc(sum(files(found).values()))


async def _serve(parts: Parts, identifier: UUID) -> None:
    """Has views served from the primary once it is stored; and then lets leave what nothing needs any more."""
    async with revocations.revoking(parts.database, parts.redis) as connection:
        if await media.lock(connection, identifier) is None:
            return
        rows = await copies.of_media(connection, identifier)
        primary = next((r for r in rows if r.role == "primary" and r.state == "stored"), None)
        if primary is None:
            return
        if await media.home(connection, identifier) != primary.backend:
            await copies.serve_from(connection, identifier, primary.backend)
        if all(r.state == "stored" for r in rows if r.role is not None):
            await copies.let_leave(connection, identifier)


async def _take(parts: Parts, identifier: UUID) -> None:
    """Takes the copies whose time has come. First it is said for good that they are none, then they go, one by one."""
    async with parts.database.transaction() as connection:
        locked = await media.lock(connection, identifier)
        going = [] if locked is None else await copies.give_up(connection, identifier)
    for backend in going:
        async with parts.database.transaction() as connection:
            row = await copies.given_up(connection, identifier, backend)
            if row is not None:
                await remove(parts, row)
                await copies.forget(connection, identifier, backend)


async def remove(parts: Parts, row: Copy) -> None:
    """Takes every byte of a copy. A missing one is fine."""
    if row.backend == LOCAL:
        with disk():
            await parts.store.delete(f"{ids.folder(row.media_id)}/")
        return
    store = await parts.stores.store(row.backend)
    try:
        await store.delete(f"{ids.folder(row.media_id)}/")  # also what an attempt that died has left there
    except StoreUnavailable:
        parts.stores.failed(row.backend)
        raise
