import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from chipmunk import apps, quotas, users
from chipmunk.db import Database, connect
from chipmunk.errors import Busy, QuotaExceeded

Test = Callable[[Database, int], Awaitable[None]]


@asynccontextmanager
async def somebody(url: str, quota: int) -> AsyncIterator[tuple[Database, int]]:
    db = Database(await connect(url, most=20))
    try:
        async with db.transaction() as connection:
            app = await apps.default_app(connection)
            user, _, _ = await users.put(connection, app, "ann", quota=quota, suspended=None, given=frozenset())
        yield db, user.key
    finally:
        await db.close()


def run(url: str, quota: int, test: Test) -> None:
    async def main() -> None:
        async with somebody(url, quota) as (db, user):
            await test(db, user)

    asyncio.run(main())


async def standing(db: Database, user: int) -> tuple[int, int]:
    async with db.connection() as connection:
        row = await connection.fetchrow("select used_bytes, reserved_bytes from users where id = $1", user)
    return row["used_bytes"], row["reserved_bytes"]


async def settled(db: Database, user: int, size: int) -> None:
    media = await quotas.reserve(db, user, size, size)
    async with db.transaction() as connection:
        assert await quotas.settle(connection, user, media, size, 0, 1)


def test_as_many_as_fit_are_reserved_and_not_one_more(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        attempts = [quotas.reserve(db, user, 50, 50, wait=0) for _ in range(200)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(not isinstance(o, BaseException) for o in outcomes) == 20
        assert all(isinstance(o, Busy) for o in outcomes if isinstance(o, BaseException))
        assert await standing(db, user) == (0, 1000)

    run(database, 1000, test)


def test_what_fits_once_others_are_released_waits_for_it(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        first = await quotas.reserve(db, user, 900, 900)
        waiting = asyncio.create_task(quotas.reserve(db, user, 500, 500))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        async with db.connection() as connection:
            await quotas.release(connection, first)
        await waiting
        assert await standing(db, user) == (0, 500)

    run(database, 1000, test)


def test_what_settled_bytes_leave_no_room_for_is_refused_at_once(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        await settled(db, user, 600)
        with pytest.raises(QuotaExceeded) as caught:
            await asyncio.wait_for(quotas.reserve(db, user, 500, 500), 1)
        assert caught.value.ids == {"needed_bytes": 500, "left_bytes": 400}

    run(database, 1000, test)


def test_settling_keeps_the_ladders_share_reserved_until_it_is_finished(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        media = await quotas.reserve(db, user, 800, 800)
        async with db.transaction() as connection:
            assert await quotas.settle(connection, user, media, 300, 400, 1)
        assert await standing(db, user) == (300, 400)
        async with db.transaction() as connection:
            await quotas.finish(connection, user, media, 250)
        assert await standing(db, user) == (550, 0)

    run(database, 1000, test)


def test_an_expired_reservation_can_not_be_settled_and_is_released_once(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        media = await quotas.reserve(db, user, 800, 800)
        async with db.transaction() as connection:
            await connection.execute("update reservations set expires_at = now() - interval '1 s'")
        async with db.connection() as connection:
            assert await quotas.release_expired(connection) == 1
            await quotas.release(connection, media)
        async with db.transaction() as connection:
            assert not await quotas.settle(connection, user, media, 800, 0, 1)
        assert await standing(db, user) == (0, 0)

    run(database, 1000, test)


def test_renewing_writes_only_what_would_soon_run_out(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        media = await quotas.reserve(db, user, 800, 800)
        async with db.connection() as connection:
            left = "select xmin::text, expires_at - now() from reservations"
            before, _ = await connection.fetchrow(left)
            assert await quotas.renew(connection, user, media) == 800
            assert (await connection.fetchrow(left))[0] == before
            await connection.execute("update reservations set expires_at = now() + interval '50 s'")
            assert await quotas.renew(connection, user, media) == 800
            assert (await connection.fetchrow(left))[1] > timedelta(seconds=110)
            assert await quotas.renew(connection, user + 1, media) is None

    run(database, 1000, test)


def test_resizing_up_keeps_the_limit_and_down_gives_back(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        media = await quotas.reserve(db, user, 400, 400)
        await quotas.resize(db, media, 900, wait=0)
        assert await standing(db, user) == (0, 900)
        with pytest.raises(QuotaExceeded):
            await quotas.resize(db, media, 1901, wait=0)
        await quotas.resize(db, media, 100, wait=0)
        assert await standing(db, user) == (0, 100)

    run(database, 1000, test)


def test_a_mixed_crowd_never_passes_the_limit_and_ends_at_zero_reserved(database: str) -> None:
    async def test(db: Database, user: int) -> None:
        async def one(number: int) -> bool:
            try:
                media = await quotas.reserve(db, user, 60, 60, wait=5)
            except (Busy, QuotaExceeded):
                return False
            if number % 3 == 0:
                async with db.connection() as connection:
                    await quotas.release(connection, media)
                return False
            async with db.transaction() as connection:
                return await quotas.settle(connection, user, media, 50, 0, 1)

        done = sum(await asyncio.gather(*(one(n) for n in range(100))))
        used, reserved = await standing(db, user)
        assert (used, reserved) == (done * 50, 0)
        assert 940 < used <= 1000

    run(database, 1000, test)
