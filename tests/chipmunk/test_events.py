"""Events: whatever the order in which transactions end, who reads on misses none and gets none twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chipmunk import apps, db, events, ids, users
from chipmunk.db import Connection, Database
from chipmunk.errors import BadRequest
from chipmunk.events import Changes, Position
from tests.compressor.conftest import settings_of

JOB, OTHER = ids.new_id(), ids.new_id()
FIRST = Position()


@pytest.fixture
async def opened(tmp_path: Path, database: str, redis_url: str) -> AsyncIterator[Database]:
    async with db.opened(settings_of(tmp_path, database, redis_url), most=5) as found:
        yield found


@pytest.fixture
async def user(opened: Database) -> int:
    async with opened.transaction() as connection:
        app = await apps.default_app(connection)
        found, _, _ = await users.put(connection, app, "ann", quota=None, suspended=None, given=frozenset())
    return found.key


async def say(connection: Connection, number: int, user: int | None = None, job: UUID = JOB) -> None:
    await events.append(connection, "image", {"number": number}, app=None, user=user, job=job)


async def heard(opened: Database, after: Position = FIRST, limit: int = 100) -> tuple[list[int], Position]:
    async with opened.connection() as connection:
        found = await events.of_job(connection, JOB, after, limit)
    return [event.data["number"] for event in found], found[-1].position if found else after


async def test_what_commits_late_is_read_late_and_not_passed_over(opened: Database) -> None:
    async with opened.connection() as slow, opened.connection() as fast:
        held = slow.transaction()
        await held.start()
        await say(slow, 1)
        async with fast.transaction():
            await say(fast, 2)
        assert (await heard(opened))[0] == []  # 1 is still to come, and is before 2
        await held.commit()
    numbers, last = await heard(opened)
    assert numbers == [1, 2]
    assert await heard(opened, last) == ([], last)


async def test_a_reader_beside_many_writers_gets_each_once_and_in_order(opened: Database) -> None:
    got: list[int] = []
    position, done = Position(), asyncio.Event()

    async def read() -> None:
        nonlocal position
        while True:
            ending = done.is_set()
            numbers, position = await heard(opened, position, 7)
            got.extend(numbers)
            if ending and not numbers:
                return

    async def write(first: int) -> None:
        for number in range(first, first + 40):
            async with opened.transaction() as connection:
                await say(connection, number)
                await asyncio.sleep(0.001 * (number % 5))

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(1000 * n) for n in range(3)))
    done.set()
    await reading
    assert sorted(got) == sorted(n for first in range(3) for n in range(1000 * first, 1000 * first + 40))
    for first in range(3):
        one = [n for n in got if n // 1000 == first]
        assert one == sorted(one)


async def test_changes_tell_whose_there_are_more_of(opened: Database, user: int) -> None:
    changes = Changes(opened)
    assert await changes.poll() == set()
    async with opened.connection() as slow:
        held = slow.transaction()
        await held.start()
        await say(slow, 1, user)
        async with opened.connection() as fast:
            await say(fast, 2, None, OTHER)
        assert await changes.poll() == {OTHER}
        assert OTHER in await changes.poll()  # it cannot be read yet, so its reader has to be woken once more
        await held.commit()
    assert await changes.poll() >= {JOB, user}
    await changes.poll()
    assert await changes.poll() == set()


async def test_a_job_is_over_once_its_end_has_been_read(opened: Database) -> None:
    async with opened.connection() as connection:
        assert await events.is_over(connection, JOB, Position())
        await say(connection, 1)
        assert not await events.is_over(connection, JOB, Position())
        _, last = await heard(opened)
        assert await events.is_over(connection, JOB, last)


async def test_of_a_user_all_is_read_and_of_others_nothing(opened: Database, user: int) -> None:
    async with opened.connection() as connection:
        before = await events.now(connection)
        await say(connection, 1, user)
        await say(connection, 2, None)
        await say(connection, 3, user, OTHER)
        found = await events.of_user(connection, user, before, 10)
        assert [event.data["number"] for event in found] == [1, 3]
        assert await events.of_user(connection, user + 1, Position(), 10) == []
        assert await events.of_user(connection, user, await events.now(connection), 10) == []


async def test_a_position_of_another_database_is_taken_for_the_beginning(opened: Database) -> None:
    async with opened.connection() as connection:
        now = await events.now(connection)
        assert await events.known(connection, now) in (now, Position())
        assert await events.known(connection, Position(now.xid + 10**6, 1)) == Position()
        await connection.execute(
            "insert into events (xid, kind, data, job_id) values ($1::text::xid8, 'image', '{}', $2)",
            str(now.xid + 10**6), JOB,
        )  # fmt: skip
        await events.forget_old(connection)
        assert await connection.fetchval("select count(*) from events") == 0


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "a-b", "1-2 ", "9" * 20 + "-1", "1-9999999999999999999"]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Position.read(text)


def test_a_position_reads_as_it_was_written() -> None:
    given: Any = Position(12, 345)
    assert Position.read(str(given)) == given
