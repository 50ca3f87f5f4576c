"""Health: what is down is named, nobody waits for long, and a crowd that asks is one question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from chipmunk import backends, heartbeats
from chipmunk.errors import Unavailable
from gateway.api import health
from gateway.api.health import Health


class Postgres:
    """A database that is there, gone, or does not answer."""

    def __init__(self, state: str = "there") -> None:
        self.state, self.asked = state, 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        self.asked += 1
        if self.state == "gone":
            raise Unavailable()
        if self.state == "silent":
            await asyncio.sleep(60)
        yield self


class Redis:
    def __init__(self, state: str = "there") -> None:
        self.state = state

    async def ping(self) -> None:
        if self.state == "gone":
            raise RedisConnectionError("gone")
        if self.state == "silent":
            await asyncio.sleep(60)


@pytest.fixture(autouse=True)
def missing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The processes that have not been heard of, and the backends that failed their check."""
    names: list[str] = []

    async def found(_: object) -> list[str]:
        return [name for name in names if name != health.BACKENDS]

    async def any_down(_: object) -> bool:
        return health.BACKENDS in names

    monkeypatch.setattr(heartbeats, "missing", found)
    monkeypatch.setattr(backends, "any_down", any_down)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    return names


@pytest.mark.parametrize(
    ("postgres", "redis", "gone", "down", "works"),
    [
        ("there", "there", [], (), True),
        ("there", "gone", [], ("redis",), True),
        ("there", "silent", [], ("redis",), True),
        ("gone", "there", [], ("postgres",), False),
        ("silent", "there", [], ("postgres",), False),
        ("silent", "silent", [], ("postgres", "redis"), False),
        ("there", "there", ["worker"], ("worker",), False),
        ("there", "gone", ["authorizer"], ("authorizer", "redis"), False),
        ("there", "there", ["backends"], ("backends",), True),
        ("there", "gone", ["backends"], ("backends", "redis"), True),
        ("there", "there", ["worker", "backends"], ("worker", "backends"), False),
    ],
)
def test_what_is_down_is_named_and_only_redis_and_backends_may_be(
    missing: list[str], postgres: str, redis: str, gone: list[str], down: tuple[str, ...], works: bool
) -> None:
    missing += gone
    asked: Any = Postgres(postgres)

    async def main() -> health.Found:
        async with asyncio.timeout(5):
            return await Health(asked, Redis(redis), lambda: 0.0).found()

    found = asyncio.run(main())
    assert (found.down, found.works) == (down, works)


def test_all_who_ask_within_a_quarter_of_a_second_ask_once() -> None:
    postgres: Any = Postgres()
    now = 0.0

    async def main() -> None:
        nonlocal now
        asking = Health(postgres, Redis(), lambda: now)
        await asyncio.gather(*(asking.found() for _ in range(50)))
        assert postgres.asked == 1
        now += health.KEPT_SECONDS
        postgres.state = "gone"
        assert (await asking.found()).down == ("postgres",)
        assert postgres.asked == 2

    asyncio.run(main())


def test_one_who_goes_away_does_not_take_the_answer_from_the_others() -> None:
    postgres: Any = Postgres("silent")

    async def main() -> None:
        asking = Health(postgres, Redis(), lambda: 0.0)
        first, second = asyncio.create_task(asking.found()), asyncio.create_task(asking.found())
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).down == ("postgres",)

    asyncio.run(main())
