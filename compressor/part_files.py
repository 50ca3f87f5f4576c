"""The files of uploads that take more than one request, below the store's `.uploads`. All of it blocks: for a thread.

Two processes never write one such file at the same time. Whoever writes has it locked (flock, which ends with the process),
and knows under that lock that the lease is still its own; a new holder first cuts off what was never recorded.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from chipmunk import ids
from chipmunk.storage.local import sync_folder
from compressor.inbox import ORIGINAL

UNABLE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
STRETCH = 1024 * 1024 * 1024


class Stale(Exception):
    """The lease may be another's by now: ask before anything is written."""


class Short(Exception):
    """The file has fewer bytes than were recorded: this is not the volume that they were written to."""


class PartFile:
    """One upload's file, open while one holder appends to it. `fresh` tells whether the lease is surely still its own."""

    def __init__(self, folder: Path, fresh: Callable[[], bool]) -> None:
        self.path = folder / ORIGINAL
        self._fresh = fresh
        self._number = -1

    def open(self, offset: int) -> None:
        """Opens the file, made where it is new, and cuts it at what was recorded."""
        new = not self.path.exists()
        if new:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if new:
            sync_folder(self.path.parent)
            sync_folder(self.path.parent.parent)
        with self._locked():
            size = os.fstat(self._number).st_size
            if size < offset:
                raise Short
            if size > offset:
                os.ftruncate(self._number, offset)

    def write(self, data: bytes, offset: int) -> None:
        with self._locked():
            left = memoryview(data)
            while left:
                done = os.pwrite(self._number, left, offset)
                left, offset = left[done:], offset + done

    def fill(self, parts: Sequence[Path]) -> None:
        """Makes it the bytes of these files, one after the other, without copying where the filesystem can share them."""
        with self._locked():
            os.ftruncate(self._number, 0)
            offset = 0
            for part in parts:
                with part.open("rb", 0) as source:
                    offset = _copy(source.fileno(), self._number, offset)

    def cut(self, offset: int) -> None:
        """Takes what lies behind the offset."""
        with self._locked():
            os.ftruncate(self._number, offset)

    def sync(self) -> None:
        os.fdatasync(self._number)

    def close(self) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._number, fcntl.LOCK_EX)
        try:
            if not self._fresh():
                raise Stale
            yield
        finally:
            fcntl.flock(self._number, fcntl.LOCK_UN)


def _copy(source: int, target: int, offset: int) -> int:
    """Copies a whole file to `offset` of another; returns where it ends there."""
    length, start = os.fstat(source).st_size, 0
    while start < length:
        try:
            done = os.copy_file_range(source, target, min(length - start, STRETCH), start, offset + start)
        except OSError as e:
            if e.errno not in UNABLE:
                raise
            done = os.pwrite(target, os.pread(source, 1024 * 1024, start), offset + start)
        if done == 0:
            raise OSError(errno.EIO, "a part became shorter")
        start += done
    return offset + length


class PartFiles:
    """The folders of all uploads."""

    def __init__(self, store_dir: Path) -> None:
        self.root = store_dir / ".uploads"

    def folder(self, upload: UUID) -> Path:
        return self.root / upload.hex

    def original(self, upload: UUID) -> Path:
        return self.folder(upload) / ORIGINAL

    def link(self, upload: UUID, target: Path) -> None:
        """Gives the file a second name. The first goes once the media is stored, so that no crash takes the bytes."""
        os.link(self.original(upload), target, follow_symlinks=False)

    def remove(self, uploads: Sequence[UUID]) -> None:
        for upload in uploads:
            with suppress(FileNotFoundError):
                shutil.rmtree(self.folder(upload))

    def older_than(self, seconds: float) -> list[UUID]:
        """Uploads whose folders were made before that and that nobody has written to since."""
        with suppress(FileNotFoundError):
            return [u for p in self.root.iterdir() if (u := ids.parse_id(p.name)) is not None and _age(p) >= seconds]
        return []


def _age(folder: Path) -> float:
    with suppress(FileNotFoundError):
        newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
        return time.time() - newest
    return 0
