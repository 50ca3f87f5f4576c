import asyncio

import asyncpg
import pytest

from chipmunk import keys, migrate
from chipmunk.errors import SettingsError


def test_migrating_again_does_nothing_and_two_at_once_do_not_collide(database: str) -> None:
    async def main() -> None:
        one, two = await asyncpg.connect(database), await asyncpg.connect(database)
        assert await asyncio.gather(migrate.apply(one), migrate.apply(two)) == [[], []]
        await one.close()
        await two.close()

    asyncio.run(main())


def test_a_step_that_was_changed_after_it_ran_stops_the_start(database: str) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(database)
        await connection.execute("update schema_migrations set checksum = 'other'")
        with pytest.raises(SettingsError, match="was changed"):
            await migrate.apply(connection)
        await connection.close()

    asyncio.run(main())


def test_a_new_api_key_replaces_the_old_one_and_says_so(database: str) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(database)
        await keys.keep_that_of_settings(connection, "cmk_one")
        await keys.keep_that_of_settings(connection, "cmk_two")
        assert await connection.fetchval("select count(*) from api_keys") == 1
        assert await connection.fetchval("select count(*) from revocations where tag = 'keys'") == 1
        await connection.close()

    asyncio.run(main())
