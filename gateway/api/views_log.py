"""Views are nginx's own, so they are counted from its access log; of several processes one does it at a time.

Where it has read to is kept in a file beside the log, whose lock says who reads; so a view counts once, whoever restarts.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import threading
from collections import Counter
from pathlib import Path

import structlog

from chipmunk import metrics, traces

EVERY_SECONDS = 1.0
AFTER_FAILURE_SECONDS = 60.0
LARGEST = 64 * 1024 * 1024
CHUNK, MOST_CHUNKS = 2 * 1024 * 1024, 16
VIEW = re.compile(rb'"path":"/[A-Za-z0-9_-]{6}\.\.\./[0-9]/","status":(\d{3}),[^\n]*?"cache":"([A-Z]{0,16})"[^\n]*\n')
log = structlog.get_logger()

Views = Counter[tuple[str, str]]


def count(lines: bytes) -> Views:
    """Views by status and by what the cache of decisions had; `none` where no decision was asked for."""
    found = Counter(VIEW.findall(lines))
    return Counter({(status.decode(), cache.decode().lower() or "none"): n for (status, cache), n in found.items()})


class ViewsLog:
    """The access log at `path`, read by whoever holds the lock, from the place that the last one got to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place: int | None = None
        self._busy = threading.Lock()

    def read(self) -> Views:
        """Views since the last reading, whichever process that was; none where another process reads."""
        with self._busy:
            try:
                place = self._held()
                if place is None:
                    return Counter()
                with self._path.open("rb") as file:
                    text = os.pread(place, 20, 0).strip()
                    found, at = self._rest(file.fileno(), int(text) if text.isdigit() else 0)
            except FileNotFoundError:
                return Counter()
            os.pwrite(place, f"{at:<20}".encode(), 0)
            return found

    def close(self) -> None:
        with self._busy:
            if self._place is not None:
                os.close(self._place)
                self._place = None

    def _held(self) -> int | None:
        if self._place is None:
            place = os.open(self._path.with_suffix(".place"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._place = place
            except BlockingIOError:
                os.close(place)
        return self._place

    def _rest(self, file: int, at: int) -> tuple[Views, int]:
        """The views from there on, and where the next reading begins."""
        found: Views = Counter()
        size = os.fstat(file).st_size
        at = at if at <= size else 0
        for _ in range(MOST_CHUNKS):
            chunk = os.pread(file, CHUNK, at)
            whole = chunk.rfind(b"\n") + 1 or (len(chunk) if len(chunk) == CHUNK else 0)
            found += count(chunk[:whole])
            if traces.on():
                traces.of_nginx(chunk[:whole])
            at += whole
            if whole == 0 or at >= size:
                break
        return found, self._emptied(at) if size <= at and at > LARGEST else at

    def _emptied(self, at: int) -> int:
        """Keeps one old log; nginx, which appends, goes on writing at the start of the new one."""
        try:
            shutil.copyfile(self._path, self._path.with_suffix(".log.old"))
            os.truncate(self._path, 0)
        except PermissionError:
            return at
        return 0


async def follow(path: Path) -> None:
    """Counts views for as long as it runs."""
    views = ViewsLog(path)
    try:
        while True:
            try:
                for (status, cache), number in (await asyncio.to_thread(views.read)).items():
                    metrics.VIEWS.labels(status, cache).inc(number)
                await asyncio.sleep(EVERY_SECONDS)
            except OSError as e:
                log.warning("views are not counted for a while", error=type(e).__name__)
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
    finally:
        views.close()
