from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.memory import ABSENCE_SECONDS, BELIEF_SECONDS, LIFE_SECONDS, Memory, Tags


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A memory whose clock the test moves; the outbox has just been read."""

    def __init__(self, most: int = 10) -> None:
        self.clock, self.tags = Clock(), Tags()
        self.memory: Memory[str | None] = Memory(self.tags, most, self.clock)
        self.tags.polled = self.clock.now

    def read(self, key: str, source: Callable[[], Awaitable[str | None]]) -> str | None:
        return asyncio.run(self.memory.read(key, source, lambda value: (f"tag:{value}",)))

    def kept(self, key: str) -> str | None:
        fact = self.memory.get(key, self.clock.now)
        return None if fact is None else fact.value


async def say(value: str | None) -> str | None:
    return value


def test_a_fact_is_remembered_for_its_life_and_no_longer() -> None:
    bench = Bench()
    assert bench.read("k", lambda: say("v")) == "v"
    assert bench.kept("k") == "v"
    bench.clock.now = bench.tags.polled = 100 + LIFE_SECONDS
    assert bench.kept("k") is None
    assert len(bench.memory) == 0


def test_that_there_is_nothing_is_remembered_briefly() -> None:
    bench = Bench()
    bench.read("k", lambda: say(None))
    assert bench.memory.get("k", bench.clock.now) is not None
    bench.clock.now = bench.tags.polled = 100 + ABSENCE_SECONDS
    assert bench.memory.get("k", bench.clock.now) is None


def test_a_tag_that_arrives_ends_the_fact() -> None:
    bench = Bench()
    bench.read("k", lambda: say("v"))
    bench.clock.now += 0.1
    bench.tags.arrive(["tag:other"], bench.clock.now)
    assert bench.kept("k") == "v"
    bench.tags.arrive(["tag:v"], bench.clock.now)
    assert bench.kept("k") is None


def test_a_read_that_began_before_a_revocation_arrived_is_not_kept() -> None:
    bench = Bench()

    async def slow() -> str:
        bench.clock.now += 0.2
        bench.tags.arrive(["tag:v"], bench.clock.now)
        bench.clock.now += 0.2
        return "v"

    bench.read("k", slow)
    assert bench.kept("k") is None


def test_nothing_is_believed_once_the_outbox_has_not_been_read_for_a_while() -> None:
    bench = Bench()
    bench.read("k", lambda: say("v"))
    bench.clock.now += BELIEF_SECONDS - 0.01
    assert bench.kept("k") == "v"
    bench.clock.now += 0.02
    assert bench.kept("k") is None
    bench.tags.polled = bench.clock.now
    assert bench.kept("k") == "v"


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    bench = Bench(most=3)
    for key in "abcd":
        bench.read(key, lambda key=key: say(key))  # type: ignore[misc]
    assert [bench.kept(key) for key in "abcd"] == [None, "b", "c", "d"]


def test_callers_at_once_share_a_read_and_later_ones_do_not_share_an_old_one() -> None:
    bench, reads = Bench(), 0

    async def main() -> None:
        release = asyncio.Event()

        async def source() -> str:
            nonlocal reads
            reads += 1
            await release.wait()
            return "v"

        def ask() -> asyncio.Task[str | None]:
            return asyncio.create_task(bench.memory.read("k", source, lambda value: ()))

        first = [ask() for _ in range(5)]
        await asyncio.sleep(0)
        bench.clock.now += 0.1
        late = ask()
        await asyncio.sleep(0)
        release.set()
        assert await asyncio.gather(*first, late) == ["v"] * 6

    asyncio.run(main())
    assert reads == 2


def test_a_read_that_fails_fails_for_all_and_is_not_kept() -> None:
    bench = Bench()

    async def broken() -> str:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        bench.read("k", broken)
    assert len(bench.memory) == 0
    assert bench.read("k", lambda: say("v")) == "v"


def test_tags_are_forgotten_once_no_fact_can_be_older() -> None:
    tags = Tags()
    tags.arrive(["old"], 0.0)
    tags.arrive(["new"], 3 * LIFE_SECONDS)
    assert not tags.void(["old"], -1.0)
    assert tags.void(["new"], 3 * LIFE_SECONDS)
