"""What a gateway remembers, and when it may believe it.

A fact carries the tags that could end it and the time its read began. A tag that arrives at or after that makes it
void, so a read that began before a revocation arrived is never kept. The tag of an app, which hardly ever ends, makes all void.
Nothing is believed unless the last successful poll of the outbox began less than `BELIEF_SECONDS` ago.
Times are those of one monotonic clock, in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

BELIEF_SECONDS = 0.8
LIFE_SECONDS = 30.0
ABSENCE_SECONDS = 1.0
NEVER = float("-inf")

T = TypeVar("T")


class Tags:
    """When each tag last arrived, how far the outbox has been read, and when somebody last wanted to know.

    The `listener` is told of every tag that arrives.
    """

    def __init__(self, listener: Callable[[Iterable[str]], None] | None = None) -> None:
        self._listener = listener
        self._arrived: dict[str, float] = {}
        self._latest = NEVER
        self._everything = NEVER
        self._pruned = 0.0
        self.polled = NEVER
        self.asked = NEVER
        self.wanted = asyncio.Event()

    def arrive(self, tags: Iterable[str], now: float) -> None:
        """Notes revocations. Those older than any fact's life are forgotten now and then."""
        tags = list(tags)
        if self._listener is not None:
            self._listener(tags)
        for tag in tags:
            self._arrived[tag] = self._latest = now
            if tag.startswith("app:"):
                self._everything = now
        if now - self._pruned > LIFE_SECONDS:
            self._pruned = now
            self._arrived = {t: at for t, at in self._arrived.items() if now - at <= 2 * LIFE_SECONDS}

    def believed(self, now: float) -> bool:
        """Whether revocations are sure to have been heard of up to a moment ago. Where not, a poll is wanted."""
        self.asked = now
        if now - self.polled < BELIEF_SECONDS:
            return True
        self.wanted.set()
        return False

    def void(self, tags: Iterable[str], began: float) -> bool:
        if self._latest < began:
            return False
        arrived = self._arrived
        return self._everything >= began or any(arrived.get(tag, NEVER) >= began for tag in tags)


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    value: T
    tags: tuple[str, ...]
    began: float
    until: float


class Memory(Generic[T]):
    """A bounded memory of facts; the one that was noted first goes first.

    First in, first out: facts live 30 s at most, so what recency would add is small, and a hit changes nothing.
    """

    def __init__(self, tags: Tags, most: int, clock: Callable[[], float]) -> None:
        self._tags, self._most, self._clock = tags, most, clock
        self._facts: dict[Hashable, Fact[T]] = {}
        self._reading: dict[Hashable, tuple[float, asyncio.Future[T]]] = {}

    def __len__(self) -> int:
        return len(self._facts)

    def get(self, key: Hashable, now: float) -> Fact[T] | None:
        """The fact, where it may be believed now."""
        believed, fact = self._tags.believed(now), self._facts.get(key)
        if fact is None or not believed:
            return None
        if now >= fact.until or self._tags.void(fact.tags, fact.began):
            del self._facts[key]
            return None
        return fact

    async def read(self, key: Hashable, source: Callable[[], Awaitable[T]], tags: Callable[[T], tuple[str, ...]]) -> T:
        """Reads the fact and keeps it, unless it was revoked meanwhile. Callers that come while a read that began
        less than 50 ms ago is under way share it: what it misses is within what a poll may miss."""
        now = self._clock()
        under_way = self._reading.get(key)
        if under_way is not None and now - under_way[0] < 0.05 and self._tags.believed(now):
            return await asyncio.shield(under_way[1])
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._reading[key] = (now, future)
        try:
            value = await source()
        except BaseException as e:
            if not future.cancelled():
                future.set_exception(e if isinstance(e, Exception) else RuntimeError("the read was given up"))
                future.exception()
            raise
        finally:
            if self._reading.get(key) == (now, future):
                del self._reading[key]
        future.set_result(value)
        self._keep(key, value, tags(value), now)
        return value

    def _keep(self, key: Hashable, value: T, tags: tuple[str, ...], began: float) -> None:
        if self._tags.void(tags, began):
            return
        while len(self._facts) >= self._most:
            del self._facts[next(iter(self._facts))]
        life = ABSENCE_SECONDS if value is None else LIFE_SECONDS
        self._facts.pop(key, None)
        self._facts[key] = Fact(value, tags, began, began + life)
