from __future__ import annotations

import asyncio

import asyncpg
import redis


def test_each_test_has_a_migrated_database_of_its_own(database: str) -> None:
    async def users() -> int:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute("insert into apps (name) values ('another')")
            return int(await connection.fetchval("select count(*) from apps"))
        finally:
            await connection.close()

    assert asyncio.run(users()) == 2


test_again = test_each_test_has_a_migrated_database_of_its_own


def test_valkey_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
