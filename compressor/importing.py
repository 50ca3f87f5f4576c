"""Files of the server's own disk, which the operator has taken in: a folder is walked once, and each of its files is an image
of the job.

What has been imported for a user is known by its checksum: taken in again, or twice in one folder, it is stored once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from chipmunk import audit, images_jobs, jobs, posting, quotas
from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.errors import EmptyFile, NotFound, TooLarge, Unavailable, Unprocessable
from chipmunk.images_jobs import New
from chipmunk.jobs import Job
from compressor import filenames, incoming, ingest
from compressor.admission import room
from compressor.attempts import Ended, attempt
from compressor.inbox import disk
from compressor.parts import Parts

MOST_FILES = 1_000_000
BATCH = 5000
COPY_BYTES = 1024 * 1024
LONGEST_PATH = 4096


class Twin(Exception):
    """Its like was stored while it was made ready."""


def folder_of(settings: Settings, text: str) -> Path:
    """The folder that is meant, below one that settings allow; else Unprocessable, which tells nothing of the disk."""
    try:
        found = Path(text).resolve(strict=True)
        allowed = any(found.is_relative_to(Path(root).resolve()) for root in settings.import_dirs)
    except (OSError, ValueError):
        allowed = False
    if not allowed or not found.is_dir():
        raise Unprocessable("This is no folder below one of CHIPMUNK_IMPORT_DIRS.", field="imgs_urls_str")
    return found


async def walk(parts: Parts, job: Job) -> None:
    """Makes every file an image of the job, all or none, so that a walk that was cut off begins anew."""
    if job.part_of is None:
        return
    folder = folder_of(parts.settings, job.payload["folder"])
    names = await asyncio.to_thread(lambda: sorted(_names(folder)))
    if len(names) > MOST_FILES:
        raise Unprocessable(f"There are more than {MOST_FILES:,} files in this folder.")
    async with parts.database.transaction() as connection:
        if not await jobs.advance(connection, job.id, {"total": len(names)}):
            return
        for first in range(0, len(names), BATCH):
            batch = [New(name) for name in names[first : first + BATCH]]
            await images_jobs.add(connection, job.part_of, batch, first)
        await images_jobs.walked(connection, job.part_of)


def _names(folder: Path) -> Iterator[str]:
    """Paths below the folder of its regular files, but for hidden ones; links are not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(root, name)
            relative = str(path.relative_to(folder))
            plain = not name.startswith(".") and relative.isprintable() and len(relative) <= LONGEST_PATH
            if plain and stat.S_ISREG(path.lstat().st_mode):
                yield relative


async def take(parts: Parts, job: Job) -> None:
    """Stores one of the files and completes its job at once, so that it is stored once, however often a worker dies of it."""
    await attempt(parts, job, _taken)


async def _taken(parts: Parts, job: Job, identifier: UUID, user: int, holder: UUID) -> None:
    given = job.payload
    async with parts.inbox.folder() as folder:
        length, sha256 = await asyncio.to_thread(_copied, parts.settings, given["folder"], given["url"], folder / "0")
        room(parts, length)
        async with parts.database.transaction() as connection:
            await images_jobs.fetched(connection, job)
            before = await _imported(connection, user, sha256)
            if before is not None:
                return await _there(connection, job, holder, before)
            flows = await posting.again(connection, job.app_id or 0, user, given["flows"], by_app=True)

        async def stored(connection: Connection) -> None:
            await images_jobs.stored(connection, job)
            if not await jobs.complete(connection, job.id, holder):
                raise Ended
            if not await _keep(connection, user, sha256, identifier):
                raise Twin

        held = await incoming.hold_place(parts, identifier, user, incoming.room_of(length), quotas.lifetime(length))
        upload = ingest.Upload(
            folder=folder,
            length=length,
            app=job.app_id or 0,
            user=user,
            flows=flows,
            by=audit.OPERATOR,
            filename=filenames.clean(given["url"].rpartition("/")[2]),
            ticket=identifier,
            held=held,
            key=None,
            token=UUID(hex=given["token"]),
            also=stored,
        )
        try:
            await ingest.ingest(parts, upload)
        except BaseException as e:
            with suppress(Unavailable):
                async with parts.database.connection() as connection:
                    await quotas.release(connection, identifier)
            if not isinstance(e, Twin):
                raise
            async with parts.database.transaction() as connection:
                before = await _imported(connection, user, sha256)
                if before is not None:
                    await _there(connection, job, holder, before)


def _copied(settings: Settings, folder: str, name: str, target: Path) -> tuple[int, bytes]:
    """Bytes and SHA-256 of the copy. NotFound where the file has gone; a link on the way to it counts as gone."""
    root, digest, length = folder_of(settings, folder), hashlib.sha256(), 0
    with _opened(root, name) as source, disk(), target.open("wb") as copy:
        while chunk := source.read(COPY_BYTES):
            length += len(chunk)
            if length > settings.max_file_bytes:
                raise TooLarge(limit_bytes=settings.max_file_bytes)
            digest.update(chunk)
            copy.write(chunk)
    if length == 0:
        raise EmptyFile()
    return length, digest.digest()


@contextmanager
def _opened(root: Path, name: str) -> Iterator[BinaryIO]:
    """The file below the folder, whatever anybody makes of the names on the way meanwhile."""
    steps = name.split("/")
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            for step in steps[:-1]:
                inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=held)
                os.close(held)
                held = inner
            file = os.fdopen(os.open(steps[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=held), "rb")
        except OSError:
            raise NotFound("The file is not there any more, or cannot be read.") from None
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotFound("This is no file any more.")
            yield file
    finally:
        os.close(held)


async def _imported(connection: Connection, user: int, sha256: bytes) -> UUID | None:
    """The media that is there already of a file with this checksum."""
    found: UUID | None = await connection.fetchval(
        """
        select i.media_id from imported i join media m on m.id = i.media_id
        where i.user_id = $1 and i.sha256 = $2 and m.state <> 'deleted'
        """,
        user, sha256,
    )  # fmt: skip
    return found


async def _keep(connection: Connection, user: int, sha256: bytes, identifier: UUID) -> bool:
    """False where another has the checksum, and is not deleted."""
    kept = await connection.fetchval(
        """
        insert into imported (user_id, sha256, media_id) values ($1, $2, $3)
        on conflict (user_id, sha256) do update set media_id = excluded.media_id
        where exists (select from media m where m.id = imported.media_id and m.state = 'deleted')
        returning 1
        """,
        user, sha256, identifier,
    )  # fmt: skip
    return kept is not None


async def _there(connection: Connection, job: Job, holder: UUID, before: UUID) -> None:
    await images_jobs.there(connection, job, before)
    await jobs.complete(connection, job.id, holder)
