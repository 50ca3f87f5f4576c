from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from gateway.gathering import PATIENCE_SECONDS, Gathering


class Source:
    """Answers each question once it is let; the values are the keys in capitals, but for those that begin with x."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.let = asyncio.Event()
        self.broken = False
        self.gathering: Gathering[str, str] = Gathering(self)

    async def __call__(self, keys: list[str]) -> Mapping[str, str]:
        self.asked.append(keys)
        await self.let.wait()
        if self.broken:
            raise OSError("gone")
        return {key: key.upper() for key in keys if not key.startswith("x")}

    def read(self, key: str) -> asyncio.Task[str | None]:
        return asyncio.create_task(self.gathering.read(key))


async def a_moment() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_keys_wanted_at_once_are_one_question_and_each_gets_its_own_answer() -> None:
    async def main() -> None:
        source = Source()
        source.let.set()
        assert await asyncio.gather(*map(source.read, ("a", "b", "x", "a"))) == ["A", "B", None, "A"]
        assert source.asked == [["a", "b", "x"]]

    asyncio.run(main())


def test_a_key_never_joins_a_question_that_was_asked_before_it_was_wanted() -> None:
    async def main() -> None:
        source = Source()
        first = source.read("a")
        await a_moment()
        second = source.read("a")
        await a_moment()
        assert source.asked == [["a"]]
        source.let.set()
        assert [await first, await second] == ["A", "A"]
        assert source.asked == [["a"], ["a"]]

    asyncio.run(main())


def test_what_is_wanted_during_a_question_is_asked_for_together_after_it() -> None:
    async def main() -> None:
        source = Source()
        first = source.read("a")
        await a_moment()
        later = [source.read(key) for key in "bcd"]
        await a_moment()
        source.let.set()
        await asyncio.gather(first, *later)
        assert source.asked == [["a"], ["b", "c", "d"]]

    asyncio.run(main())


def test_a_question_that_hangs_keeps_nobody_else_waiting_for_long() -> None:
    async def main() -> None:
        source = Source()
        hanging = source.read("a")
        await a_moment()
        other = source.read("b")
        await asyncio.sleep(3 * PATIENCE_SECONDS)
        assert source.asked == [["a"], ["b"]]
        source.let.set()
        assert [await hanging, await other] == ["A", "B"]

    asyncio.run(main())


def test_a_failure_is_everybodys_who_asked_and_nobody_elses() -> None:
    async def main() -> None:
        source = Source()
        source.broken = True
        source.let.set()
        failed = await asyncio.gather(*map(source.read, "ab"), return_exceptions=True)
        assert [str(e) for e in failed] == ["gone", "gone"]
        source.broken = False
        assert await source.read("a") == "A"

    asyncio.run(main())


def test_who_gives_up_takes_nothing_from_the_others() -> None:
    async def main() -> None:
        source = Source()
        gone, stays = source.read("a"), source.read("a")
        await a_moment()
        gone.cancel()
        source.let.set()
        assert await stays == "A"
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(main())
