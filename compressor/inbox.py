"""Where uploads are made ready: a folder each, below the store's `.inbox`, on one filesystem with everything else.

A folder belongs to its upload by a lock on it (flock), which ends with the process however that ends. So what nobody
holds is left over, and no clock is needed to tell.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiofiles

from chipmunk.errors import BadRequest, DiskFull
from compressor.limits import FULL

ORIGINAL = "0"
SPOOL_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
BATCH = 1024 * 1024


class DiskFailed(Exception):
    """The disk did something unexpected: for the log, not for the caller."""


@contextmanager
def disk() -> Iterator[None]:
    """A full disk is DiskFull, any other failure of it DiskFailed: an OSError would pass for a lost connection."""
    try:
        yield
    except OSError as e:
        if e.errno in FULL:
            raise DiskFull() from e
        raise DiskFailed(e.strerror) from e


class Inbox:
    def __init__(self, store_dir: Path, spool_dir: Path) -> None:
        self.root = store_dir / ".inbox"
        self.spool_dir = spool_dir

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """A new folder, held until the end, and gone then with all that is still in it."""
        path = self.root / uuid4().hex
        with disk():
            held = await asyncio.to_thread(_make, path)
        try:
            yield path
        finally:
            if path.exists():
                await asyncio.shield(asyncio.to_thread(_clear, path, held))
            else:
                os.close(held)

    async def take(self, spool: str, target: Path) -> int:
        """Gives the spooled body a second name, so that nginx may drop its own. Returns its length."""
        return await asyncio.to_thread(self._take, spool, target)

    def _take(self, spool: str, target: Path) -> int:
        source = Path(spool)
        if source.parent != self.spool_dir or not SPOOL_NAME.fullmatch(source.name) or source.is_symlink():
            raise BadRequest("This is no spooled body.")
        try:
            with disk():
                os.link(source, target, follow_symlinks=False)
                return target.stat().st_size
        except DiskFailed as e:
            if isinstance(e.__cause__, FileNotFoundError):
                raise BadRequest("The body is gone.") from None
            raise

    def leftovers(self, least_age: float) -> list[Path]:
        """The folders and files of uploads whose process has died, once they are `least_age` seconds old."""
        with suppress(FileNotFoundError):
            return [p for p in self.root.iterdir() if _age(p) >= least_age and _free(p)]
        return []

    def old_spool(self, least_age: float) -> list[Path]:
        """Spooled bodies that nobody has written to for `least_age` seconds: an nginx that was killed left them."""
        with suppress(FileNotFoundError):
            return [p for p in self.spool_dir.iterdir() if _age(p) >= least_age]
        return []


async def write_body(chunks: AsyncIterator[bytes], target: Path, most: int) -> int:
    """Writes a body to a new file, in batches; returns its length. ValueError where it passes `most`."""
    with disk():
        file = await aiofiles.open(target, "xb")
    try:
        length, waiting = 0, bytearray()
        async for chunk in chunks:
            length += len(chunk)
            if length > most:
                raise ValueError("longer than announced")
            waiting += chunk
            if len(waiting) >= BATCH:
                with disk():
                    await file.write(bytes(waiting))
                waiting.clear()
        with disk():
            await file.write(bytes(waiting))
            await file.flush()
        return length
    finally:
        with disk():
            await file.close()


def write_file(target: Path, data: bytes) -> None:
    """Writes a whole body to a new file."""
    with disk(), target.open("xb") as file:
        file.write(data)


def _make(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.mkdir(mode=0o700)
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def _clear(path: Path, held: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(held)


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0


def _free(path: Path) -> bool:
    """Whether no living process holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
