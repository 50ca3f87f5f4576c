"""Views, counted from nginx's access log, and the log kept within bounds. Of several processes one does it at a time."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from chipmunk import metrics

EVERY_SECONDS = 2.0
LARGEST = 64 * 1024 * 1024
CHUNK = 4 * 1024 * 1024


class ViewsLog:
    """The tail of one access log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._at: int | None = None
        self._rest = b""

    def mine(self) -> bool:
        """Takes the log for this process, or tells that another has it."""
        if self._lock is None:
            try:
                self._lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def read(self) -> list[bytes]:
        """The lines since the last time, some 4 MiB at most; the first time none, as others counted those before."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if self._at is None:
            self._at = size
        if size < self._at:
            self._at, self._rest = 0, b""
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read(CHUNK)
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def bound(self) -> None:
        """Past 64 MiB: keeps one copy and empties the log; nginx goes on writing at its end."""
        if self._path.exists() and self._path.stat().st_size > LARGEST:
            shutil.copyfile(self._path, self._path.with_suffix(".log.1"))
            os.truncate(self._path, 0)
            self._at, self._rest = 0, b""


def count(lines: Iterable[bytes]) -> Counter[tuple[str, str]]:
    """Views by status and decision cache; lines of other requests, and broken ones, do not count."""
    found: Counter[tuple[str, str]] = Counter()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("cache"):
            found[(str(entry.get("status")), str(entry["cache"]))] += 1
    return found


async def follow(log: ViewsLog) -> None:
    """Counts for as long as it runs."""
    while True:
        if await asyncio.to_thread(log.mine):
            for (status, cache), views in count(await asyncio.to_thread(log.read)).items():
                metrics.VIEWS.labels(status, cache).inc(views)
            await asyncio.to_thread(log.bound)
        await asyncio.sleep(EVERY_SECONDS)
