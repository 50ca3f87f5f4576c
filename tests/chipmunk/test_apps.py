"""Apps: what a PUT means, and a quota that holds for all users of an app together, whenever it is set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from chipmunk import apps, flows, keys, quotas, users
from chipmunk.db import Database, connect
from chipmunk.errors import Busy, Conflict, NotFound, QuotaExceeded

Test = Callable[[Database], Awaitable[None]]


def run(url: str, test: Test) -> None:
    async def main() -> None:
        db = Database(await connect(url, most=20))
        try:
            await test(db)
        finally:
            await db.close()

    asyncio.run(main())


async def put(db: Database, name: str, **given: int | None) -> apps.App:
    async with db.transaction() as connection:
        return (await apps.put(connection, name, given))[0]


async def user(db: Database, app: apps.App, name: str, quota: int | None = None) -> int:
    async with db.transaction() as connection:
        made, _, _ = await users.put(connection, app.key, name, quota=quota, suspended=None, given=frozenset())
    return made.key


async def counted(db: Database, app: apps.App) -> tuple[int, int]:
    """What stands in the app's row."""
    async with db.connection() as connection:
        row = await connection.fetchrow("select used_bytes, reserved_bytes from apps where id = $1", app.key)
    return row["used_bytes"], row["reserved_bytes"]


async def summed(db: Database, app: apps.App) -> tuple[int, int]:
    async with db.connection() as connection:
        found = await apps.get(connection, app.id)
    return found.used_bytes, found.reserved_bytes


async def stored(db: Database, user: int, size: int) -> None:
    media = await quotas.reserve(db, user, size, size)
    async with db.transaction() as connection:
        assert await quotas.settle(connection, user, media, size, 0, 1)


def test_an_app_is_made_with_its_flow_and_changed_only_as_told(database: str) -> None:
    async def test(db: Database) -> None:
        made = await put(db, "shop", quota_bytes=5, mails_per_day=7)
        assert (made.quota_bytes, made.user_quota_bytes, made.mails_per_day) == (5, None, 7)
        changed = await put(db, "shop", user_quota_bytes=3, mails_per_day=None)
        assert (changed.key, changed.quota_bytes, changed.user_quota_bytes, changed.mails_per_day) == (
            made.key,
            5,
            3,
            None,
        )
        async with db.connection() as connection:
            assert (await flows.get(connection, made.key, flows.GENERAL)).posting == "users"
            assert [app.id for app in await apps.page(connection, "", 10)] == ["default", "shop"]
            with pytest.raises(NotFound):
                await apps.get(connection, "Shop")

    run(database, test)


def test_all_users_of_an_app_together_never_pass_its_quota(database: str) -> None:
    async def test(db: Database) -> None:
        app, other = await put(db, "shop", quota_bytes=1000), await put(db, "other")
        many = [await user(db, app, f"u{n}") for n in range(8)]
        attempts = [quotas.reserve(db, many[n % 8], 50, 50, wait=0) for n in range(200)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(not isinstance(o, BaseException) for o in outcomes) == 20
        assert all(isinstance(o, Busy) for o in outcomes if isinstance(o, BaseException))
        assert await counted(db, app) == await summed(db, app) == (0, 1000)
        await stored(db, await user(db, other, "u0"), 5000)
        assert await counted(db, other) == (0, 0)
        for media in (o for o in outcomes if not isinstance(o, BaseException)):
            async with db.connection() as connection:
                await quotas.release(connection, media)
        await stored(db, many[0], 990)
        with pytest.raises(QuotaExceeded) as refused:
            await quotas.reserve(db, many[1], 20, 20)
        assert refused.value.ids == {"needed_bytes": 20, "left_bytes": 10}
        async with db.connection() as connection:
            assert await quotas.left(connection, many[1]) == 10
        async with db.transaction() as connection:
            await quotas.give_back(connection, many[0], 990, 1)
        await stored(db, many[1], 1000)

    run(database, test)


def test_a_user_whose_own_quota_is_smaller_is_held_to_that(database: str) -> None:
    async def test(db: Database) -> None:
        app = await put(db, "shop", quota_bytes=1000)
        ann = await user(db, app, "ann", quota=100)
        with pytest.raises(QuotaExceeded) as refused:
            await quotas.reserve(db, ann, 200, 200)
        assert refused.value.ids["left_bytes"] == 100
        async with db.connection() as connection:
            assert await quotas.left(connection, ann) == 100
            assert await quotas.left(connection, await user(db, await put(db, "other"), "ann")) is None

    run(database, test)


def test_a_quota_set_while_users_upload_counts_every_byte(database: str) -> None:
    """Set, changed and lifted again and again while users upload, delete and are made; at the end nothing is missing."""

    async def test(db: Database) -> None:
        app, over = await put(db, "shop"), asyncio.Event()

        async def uploading(name: str) -> None:
            n, who = 0, 0
            while not over.is_set():
                n += 1
                who = await user(db, app, f"{name}-{n}") if n % 7 == 1 else who
                try:
                    await stored(db, who, 10)
                except (Busy, QuotaExceeded):
                    continue
                if n % 3 == 0:
                    async with db.transaction() as connection:
                        await quotas.give_back(connection, who, 10, 1)

        async def setting() -> None:
            for n in range(40):
                await put(db, "shop", calls_per_minute=n + 1, quota_bytes=None if n % 4 == 3 else 10**9 + n)
                await asyncio.sleep(0.01)
            over.set()

        await asyncio.gather(setting(), *(uploading(f"u{n}") for n in range(6)))
        await put(db, "shop", quota_bytes=10**9)
        assert await counted(db, app) == await summed(db, app)
        late = [await user(db, app, f"late{n}") for n in range(20)]
        await asyncio.gather(*(stored(db, who, 10) for who in late))
        assert await counted(db, app) == await summed(db, app)

    run(database, test)


def test_what_is_counted_from_the_first_moment_is_what_users_had(database: str) -> None:
    async def test(db: Database) -> None:
        app = await put(db, "shop")
        ann, ben = await user(db, app, "ann"), await user(db, app, "ben")
        await stored(db, ann, 700)
        await put(db, "shop", quota_bytes=1000)
        assert await counted(db, app) == (700, 0)
        with pytest.raises(QuotaExceeded):
            await quotas.reserve(db, ben, 301, 301)
        await put(db, "shop", quota_bytes=500)
        async with db.transaction() as connection:
            await quotas.give_back(connection, ann, 300, 1)
        with pytest.raises(QuotaExceeded):
            await quotas.reserve(db, ben, 101, 101)
        await put(db, "shop", quota_bytes=None)
        await stored(db, ben, 10_000)

    run(database, test)


def test_a_key_is_known_by_its_hash_alone_and_there_are_not_too_many(database: str) -> None:
    async def test(db: Database) -> None:
        app = await put(db, "shop")
        async with db.transaction() as connection:
            key, text = await keys.make(connection, app.key, ["read"], "page")
            rows = await connection.fetch("select * from api_keys")
            assert text.removeprefix("cmk_") not in str([dict(row) for row in rows])
            for _ in range(keys.MOST - 1):
                await keys.make(connection, app.key, ["read"], "")
            with pytest.raises(Conflict):
                await keys.make(connection, app.key, ["read"], "")
            await keys.revoke(connection, app.key, key.id)
            await keys.make(connection, app.key, ["read"], "")

    run(database, test)
