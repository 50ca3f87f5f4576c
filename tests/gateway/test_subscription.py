"""How far behind the outbox a gateway may be, asked or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio as aioredis

from chipmunk import revocations
from chipmunk.db import Database, connect
from chipmunk.revocations import Outbox
from gateway import subscription
from gateway.memory import Memory, Tags

QUIET_SECONDS = 0.5


class Listening:
    """A subscription to a real outbox, without Redis, that falls asleep soon."""

    def __init__(self, database: Database) -> None:
        self.database, self.tags = database, Tags()
        self.memory: Memory[str] = Memory(self.tags, 10, time.monotonic)

    def behind(self) -> float:
        return time.monotonic() - self.tags.polled

    def asked(self) -> bool:
        return self.memory.get("key", time.monotonic()) is not None


@pytest.fixture
def listening(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Listening], Awaitable[None]]], None]:
    monkeypatch.setattr(subscription, "AWAKE_SECONDS", QUIET_SECONDS)

    def run(act: Callable[[Listening], Awaitable[None]]) -> None:
        async def main() -> None:
            found = Listening(Database(await connect(database)))
            nowhere = aioredis.from_url("redis://127.0.0.1:1")
            try:
                async with subscription.heard(Outbox(found.database), nowhere, found.tags, time.monotonic):
                    await act(found)
            finally:
                await nowhere.aclose()
                await found.database.close()

        asyncio.run(main())

    return run


async def until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_while_somebody_asks_the_outbox_is_read_all_the_time(
    listening: Callable[[Callable[[Listening], Awaitable[None]]], None],
) -> None:
    async def act(found: Listening) -> None:
        await until(lambda: found.behind() < 0.1, 5)
        ends = time.monotonic() + 3 * QUIET_SECONDS
        while time.monotonic() < ends:
            found.asked()
            assert found.behind() < 5
            await asyncio.sleep(0.05)
        assert found.tags.polled > ends - 2

    listening(act)


async def test_who_has_more_to_do_than_to_answer_says_how_long_it_may_rest(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "AWAKE_SECONDS", 0)
    held, arrived = Database(await connect(database)), list[str]()
    tags, nowhere = Tags(arrived.extend), aioredis.from_url("redis://127.0.0.1:1")
    try:
        async with subscription.heard(Outbox(held), nowhere, tags, time.monotonic, lambda: 0.1):
            await until(lambda: tags.polled > 0, 5)
            async with held.transaction() as connection:
                await revocations.revoke(connection, "media:1")
            await until(lambda: "media:1" in arrived, 2)
            async with held.connection() as connection:
                assert await revocations.recent(connection) == ["media:1"]
    finally:
        await nowhere.aclose()
        await held.close()


def test_with_nobody_asking_it_rests_and_the_first_question_wakes_it_but_believes_nothing(
    listening: Callable[[Callable[[Listening], Awaitable[None]]], None],
) -> None:
    async def act(found: Listening) -> None:
        await until(lambda: found.behind() < 0.1, 5)
        await found.memory.read("key", lambda: asyncio.sleep(0, "value"), lambda value: ("tag",))
        found.tags.asked = time.monotonic() - QUIET_SECONDS
        await until(lambda: found.behind() > 1.5, 10)
        async with found.database.transaction() as connection:
            await revocations.revoke(connection, "tag")
        rested = found.tags.polled
        assert not found.asked()
        await until(lambda: found.tags.polled > rested, 2)
        assert found.tags.void(("tag",), rested)
        assert not found.asked()

    listening(act)
