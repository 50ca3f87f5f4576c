"""Rows of resumable uploads: leases, fencing, and what the sweeps ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from chipmunk import concatenation, ids, quotas, uploads
from chipmunk.db import Database, connect
from chipmunk.errors import NotFound, QuotaExceeded
from chipmunk.uploads import New, Upload

DAY = timedelta(days=1)
ME, OTHER = uuid4(), uuid4()


@pytest.fixture
async def db(database: str) -> AsyncIterator[Database]:
    opened = Database(await connect(database))
    yield opened
    await opened.close()


@pytest.fixture
async def user(db: Database) -> int:
    async with db.connection() as connection:
        key: int = await connection.fetchval(
            "insert into users (app_id, name, quota_bytes) values (1, 'ann', 1000) returning id"
        )
    return key


async def made(db: Database, user: int, length: int | None = 100, **given: Any) -> Upload:
    identifier = ids.new_id()
    await quotas.reserve(db, user, length or 1, length or 1, media=identifier)
    new = New(identifier, 1, user, False, ("general",), None, "", length, **given)
    async with db.connection() as connection:
        return await uploads.create(connection, new, DAY)


async def standing(db: Database, user: int) -> tuple[int, int]:
    """What is reserved, by the user's row and by the reservations."""
    async with db.connection() as connection:
        return tuple(
            await connection.fetchrow(
                """
                select reserved_bytes, (select coalesce(sum(bytes), 0)::bigint from reservations r where r.user_id = u.id)
                from users u where id = $1
                """,
                user,
            )
        )


async def test_one_holder_at_a_time_and_the_next_when_the_lease_has_run_out(db: Database, user: int) -> None:
    upload = (await made(db, user)).id
    async with db.connection() as c:
        assert await uploads.take(c, upload, ME, DAY) is not None
        assert await uploads.take(c, upload, OTHER, DAY) is None
        assert await uploads.keep(c, upload, ME)
        assert not await uploads.keep(c, upload, OTHER)
        await c.execute("update uploads set held_until = now() - interval '1 ms'")
        assert await uploads.keep(c, upload, ME), "nobody has taken over"
        await c.execute("update uploads set held_until = now() - interval '1 ms'")
        assert await uploads.take(c, upload, OTHER, DAY) is not None
        assert not await uploads.keep(c, upload, ME)
        await uploads.let_go(c, upload, ME)
        assert await uploads.take(c, upload, ME, DAY) is None
        await uploads.let_go(c, upload, OTHER)
        assert await uploads.take(c, upload, ME, DAY) is not None


async def test_who_was_overtaken_changes_nothing(db: Database, user: int) -> None:
    upload = (await made(db, user, None)).id
    async with db.connection() as c:
        await uploads.take(c, upload, OTHER, DAY)
        assert not await uploads.record(c, upload, ME, 0, 50, DAY)
        assert not await uploads.declare(c, upload, ME, 100)
        assert not await uploads.fail(c, upload, ME, {"code": "internal"})
        assert await uploads.declare(c, upload, OTHER, 100)
        assert await uploads.record(c, upload, OTHER, 0, 50, DAY)
        assert not await uploads.record(c, upload, OTHER, 0, 60, DAY), "the offset has moved on"
        assert await uploads.record(c, upload, OTHER, 50, 100, DAY)
        assert not await uploads.stored(c, upload, ME)
        assert await uploads.stored(c, upload, OTHER)
        found = await uploads.find(c, upload)
    assert found is not None
    assert (found.state, found.offset, found.media_id, found.holder) == ("stored", 100, upload, None)


async def test_the_last_byte_makes_it_ingesting_and_a_part_waits(db: Database, user: int) -> None:
    async with db.connection() as c:
        for concat, state in ((None, "ingesting"), ("partial", "open")):
            upload = (await made(db, user, 10, concat=concat)).id
            await uploads.take(c, upload, ME, DAY)
            await uploads.record(c, upload, ME, 0, 10, DAY)
            found = await uploads.find(c, upload)
            assert found is not None
            assert found.state == state


async def test_only_its_user_and_the_app_find_it_until_it_expires(db: Database, user: int) -> None:
    upload = (await made(db, user)).id
    async with db.connection() as c:
        assert (await uploads.get(c, 1, upload, user)).id == (await uploads.get(c, 1, upload, None)).id == upload
        for app, identifier, caller in ((1, upload, user + 1), (2, upload, None), (1, uuid4(), user)):
            with pytest.raises(NotFound):
                await uploads.get(c, app, identifier, caller)
        await c.execute("update uploads set expires_at = now()")
        with pytest.raises(NotFound):
            await uploads.get(c, 1, upload, user)
        assert await uploads.take(c, upload, ME, DAY) is None
        assert await uploads.expired(c, 10) == [upload]


async def test_what_nobody_ingests_any_more_is_found(db: Database, user: int) -> None:
    upload = (await made(db, user, 10)).id
    async with db.connection() as c:
        await uploads.take(c, upload, ME, DAY)
        await uploads.record(c, upload, ME, 0, 10, DAY)
        assert await uploads.abandoned(c, timedelta(seconds=5), 10) == []
        await c.execute("update uploads set held_until = now() - interval '6 s'")
        assert await uploads.abandoned(c, timedelta(seconds=5), 10) == [upload]
        assert await uploads.without_need(c, [upload, ME]) == [ME]


async def test_parts_give_their_place_to_the_whole_in_one_step(db: Database, user: int) -> None:
    parts: list[UUID] = []
    async with db.connection() as c:
        for _ in range(2):
            part = await made(db, user, 400, concat="partial")
            await uploads.take(c, part.id, ME, DAY)
            await uploads.record(c, part.id, ME, 0, 400, DAY)
            await uploads.let_go(c, part.id, ME)
            parts.append(part.id)
    new = New(ids.new_id(), 1, user, False, ("general",), None, "", 800, "final", tuple(parts))

    async def also(connection: Any) -> bool:
        return await concatenation.make(connection, new, DAY) is not None

    with pytest.raises(QuotaExceeded):
        await quotas.merge(db, user, parts, new.id, 1001, also)
    assert await standing(db, user) == (800, 800)
    assert await quotas.merge(db, user, parts, new.id, 1000, also)
    assert await standing(db, user) == (1000, 1000)
    async with db.connection() as c:
        await c.execute("update users set quota_bytes = null")
    assert not await quotas.merge(db, user, parts, ids.new_id(), 10, also), "they are spent"
    assert await standing(db, user) == (1000, 1000)
    async with db.connection() as c:
        again = await concatenation.made_before(c, user, parts)
        assert again is not None
        assert again.id == new.id
        assert set(await uploads.remove(c, new.id)) == {new.id, *parts}


async def test_a_reservation_that_grows_past_what_is_settled_is_refused_at_once(db: Database, user: int) -> None:
    upload = await made(db, user, 500)
    with pytest.raises(QuotaExceeded):
        await quotas.resize(db, upload.id, 1001)
    await quotas.resize(db, upload.id, 1000)
    assert await standing(db, user) == (1000, 1000)


async def test_an_id_is_made_once(db: Database, user: int) -> None:
    upload = await made(db, user)
    new = New(upload.id, 1, user, False, (), None, "", 1)
    async with db.connection() as c:
        with pytest.raises(asyncpg.UniqueViolationError):
            await uploads.create(c, new, DAY)
