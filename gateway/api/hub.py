"""Wakes those who watch events when there may be more of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from chipmunk.db import Database
from chipmunk.errors import Unavailable
from chipmunk.events import Changes

POLL_SECONDS = 0.25
log = structlog.get_logger()


class Hub:
    """One question to the database for all of them, and none while nobody watches."""

    def __init__(self, database: Database) -> None:
        self._changes = Changes(database)
        self._watching: dict[UUID | int, set[asyncio.Event]] = {}
        self._asking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, of: UUID | int) -> AsyncIterator[asyncio.Event]:
        """Set whenever there may be more of this job's or this user's events."""
        woken = asyncio.Event()
        self._watching.setdefault(of, set()).add(woken)
        try:
            if self._asking is None:
                await self._changes.poll()  # what comes from now on is told of
            if self._asking is None:  # still
                self._asking = asyncio.create_task(self._ask())
            yield woken
        finally:
            self._watching[of].discard(woken)
            if not self._watching[of]:
                del self._watching[of]

    @property
    def watchers(self) -> int:
        return sum(map(len, self._watching.values()))

    async def _ask(self) -> None:
        while self._watching:
            try:
                changed = await self._changes.poll()
            except Unavailable:
                changed = set()
            except Exception:
                log.exception("changes could not be asked for")
                changed = set(self._watching)
            for of in changed & self._watching.keys():
                for woken in self._watching[of]:
                    woken.set()
            await asyncio.sleep(POLL_SECONDS)
        self._asking = None

    def wake(self) -> None:
        """Everybody, whether there is more or not."""
        for watchers in self._watching.values():
            for woken in watchers:
                woken.set()
