"""The classifier: one process that stays, with its models loaded once, which sees several pictures at a time."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import deque
from concurrent.futures import TimeoutError as TaskTimeout
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import structlog
from pebble import ProcessExpired, ProcessPool

from chipmunk import metrics
from chipmunk.config import Settings
from chipmunk.errors import Unavailable, Unprocessable
from chipmunk.hooks import Seen
from compressor.classifier import installed, process
from compressor.look import Look, Sides

AT_ONCE = 8  # pictures in a batch
LOADING_SECONDS = 60
R = TypeVar("R")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Waiting:
    looks: list[Look]
    answer: asyncio.Future[Seen]


class Classifier:
    """`await classifier.seen(looks)`. The process starts with the first of these, and does not where no model is set."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.classifier, settings.unsafe_classifier, settings.classifier_memory_bytes
        self._seconds = settings.decode_seconds
        self._pool: Any = None
        self._sides: Sides | None = None
        self._waiting: deque[_Waiting] = deque()
        self._working: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def sides(self) -> Sides:
        """How large the squares have to be that it sees. Unprocessable where a model cannot be used."""
        async with self._starting:
            if self._sides is None:
                self._sides = await self._run(LOADING_SECONDS, process.sides)
        return self._sides

    async def seen(self, looks: list[Look]) -> Seen:
        """What is seen in one picture: together with those that others bring meanwhile."""
        one = _Waiting(looks, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await one.answer

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            began = monotonic()
            try:
                found = await self._run(self._seconds, process.see, [one.looks for one in batch])
            except Exception as e:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(e)
                continue
            metrics.CLASSIFY_SECONDS.observe((monotonic() - began) / len(batch))
            for one, seen in zip(batch, found, strict=True):
                if not one.answer.done():
                    one.answer.set_result(seen)

    async def _run(self, seconds: int, task: Any, *args: Any) -> Any:
        if self._pool is None or not self._pool.active:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPool(max_workers=1, initializer=process.prepare, initargs=self._given, context=context)
        try:
            return await asyncio.wrap_future(self._pool.schedule(task, args=args, timeout=seconds))
        except installed.Unusable as e:
            log.warning("a model cannot be used", reason=str(e))
            raise Unprocessable("The model that is set cannot be used; the log says why.") from None
        except (TaskTimeout, ProcessExpired, RuntimeError, MemoryError) as e:  # a broken pool is a RuntimeError
            log.warning("the classifier ended", error=type(e).__name__)
            raise Unavailable("The classifier takes too long, or more memory than it may have.") from None

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            await asyncio.to_thread(self._pool.join)
