"""Reads of one key each that come at about the same time, as one read of them all.

What costs at PostgreSQL and on the way to it is the question, hardly the keys in it. So while a question is under way the
next one gathers keys; with nobody else asking, a key is asked for at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

AT_ONCE = 1  # questions under way
PATIENCE_SECONDS = 0.02  # after which a question no longer keeps the next one waiting
MOST_KEYS = 256

K = TypeVar("K")
V = TypeVar("V")


class Gathering(Generic[K, V]):
    """`source` answers for many keys with what it has of them; it fails for all of them."""

    def __init__(self, source: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._source = source
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._places = AT_ONCE
        self._scheduled = False
        self._asking: set[asyncio.Task[None]] = set()

    async def read(self, key: K) -> V | None:
        """What there is under this key by a question that begins after this call; None for nothing."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        if not self._scheduled and self._places:
            self._scheduled = True
            loop.call_soon(self._ask)
        return await future

    def _ask(self) -> None:
        self._scheduled = False
        while self._waiting and self._places:
            keys = list(self._waiting)[:MOST_KEYS]
            self._places -= 1
            task = asyncio.create_task(self._take_place({key: self._waiting.pop(key) for key in keys}))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _take_place(self, wanted: dict[K, list[asyncio.Future[V | None]]]) -> None:
        answering = asyncio.create_task(self._answer(wanted))
        await asyncio.wait({answering}, timeout=PATIENCE_SECONDS)
        self._places += 1
        self._ask()
        await answering

    async def _answer(self, wanted: dict[K, list[asyncio.Future[V | None]]]) -> None:
        found: Mapping[K, V] = {}
        failed: Exception | None = None
        try:
            found = await self._source(list(wanted))
        except Exception as e:
            failed = e
        for key, futures in wanted.items():
            for future in futures:
                if future.done():  # who asked has gone
                    continue
                if failed is None:
                    future.set_result(found.get(key))
                else:
                    future.set_exception(failed)
