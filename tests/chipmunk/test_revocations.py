import asyncio

from chipmunk import revocations
from chipmunk.db import Database, connect
from chipmunk.revocations import Outbox


def test_a_poll_sees_what_committed_since_the_one_before(database: str) -> None:
    async def main() -> None:
        db = Database(await connect(database))
        outbox = Outbox(db)
        async with db.transaction() as connection:
            await revocations.revoke(connection, "link:old")
        assert await outbox.poll() == []
        async with db.transaction() as connection:
            await revocations.revoke(connection, "link:a", "media:b")
        assert sorted(await outbox.poll()) == ["link:a", "media:b"]
        await db.close()

    asyncio.run(main())


def test_a_transaction_that_began_early_and_commits_late_is_not_missed(database: str) -> None:
    async def main() -> None:
        db = Database(await connect(database))
        outbox = Outbox(db)
        await outbox.poll()
        async with db.connection() as early:
            transaction = early.transaction()
            await transaction.start()
            await revocations.revoke(early, "session:early")
            async with db.transaction() as late:
                await revocations.revoke(late, "session:late")
            assert await outbox.poll() == ["session:late"]
            await transaction.commit()
        assert "session:early" in await outbox.poll()
        assert await outbox.poll() == []
        await db.close()

    asyncio.run(main())


def test_a_rolled_back_revocation_is_never_told(database: str) -> None:
    async def main() -> None:
        db = Database(await connect(database))
        outbox = Outbox(db)
        await outbox.poll()
        async with db.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await revocations.revoke(connection, "session:x")
            await transaction.rollback()
        assert await outbox.poll() == []
        await db.close()

    asyncio.run(main())
