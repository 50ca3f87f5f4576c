"""The local volume. Files appear by rename and are synced, so a crash leaves the old state or the new one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from chipmunk.storage import Missing, Stat, check_key

CHUNK = 1024 * 1024


def sync_folder(path: Path) -> None:
    """Makes the names in a folder survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalStore:
    """A Store below one folder; it can also place a whole prepared folder at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = root / ".inbox"

    def path(self, key: str) -> Path:
        """Where the object of this key lies."""
        return self.root / check_key(key, folder=True)

    async def put(self, key: str, source: Path) -> str:
        await asyncio.to_thread(self._put, check_key(key), source)
        return key

    def _put(self, key: str, source: Path) -> None:
        self.inbox.mkdir(parents=True, exist_ok=True)
        part = self.inbox / uuid4().hex
        try:
            shutil.copyfile(source, part)
            sync_file(part)
            self._move(part, self.root / key)
        finally:
            part.unlink(missing_ok=True)

    async def place(self, folder: Path, key: str) -> None:
        """Syncs a prepared folder on this filesystem and moves it to `key`. FileExistsError where there is one."""
        await asyncio.to_thread(self._place, folder, self.path(key))

    def _place(self, folder: Path, target: Path) -> None:
        for file in folder.iterdir():
            sync_file(file)
        sync_folder(folder)
        if target.exists():
            raise FileExistsError(target.name)
        self._move(folder, target)

    def _move(self, source: Path, target: Path) -> None:
        """Renames into place and syncs every folder that got a new name, up to the root."""
        changed = [target.parent]
        while not changed[-1].exists():
            changed.append(changed[-1].parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        for folder in changed:
            sync_folder(folder)

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        path = self.root / check_key(key)
        try:
            file = path.open("rb")  # not in a thread: who is cancelled meanwhile would leave it open
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise Missing() from None
        try:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else end - start
            while left is None or left > 0:
                chunk = await asyncio.to_thread(file.read, CHUNK if left is None else min(CHUNK, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk
        finally:
            file.close()

    async def stat(self, key: str) -> Stat | None:
        try:
            found = await asyncio.to_thread((self.root / check_key(key)).stat)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stat(found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, self.path(key), key.endswith("/"))

    def _delete(self, path: Path, folder: bool) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            if folder:
                shutil.rmtree(path)
            else:
                path.unlink()
            sync_folder(path.parent)

    def folders(self, prefix: str = "") -> Iterator[Path]:
        """The media folders `ab/cd/<id>` below `prefix` (``, `ab` or `ab/cd`), in no order."""
        depth = 3 - len([p for p in prefix.split("/") if p])
        yield from _at_depth(self.root / prefix, depth)


def _at_depth(path: Path, depth: int) -> Iterator[Path]:
    if depth == 0:
        yield path
        return
    with suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _at_depth(Path(entry.path), depth - 1)
