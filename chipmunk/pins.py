"""The pins of a backend on IPFS as rows, so that all processes count the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chipmunk.db import Connection, Database
from chipmunk.storage.pins import Pin

PAGE = 1000
COLUMNS = "object, cid, bytes, created_at"


class DatabasePins:
    """Pins as `storage.ipfs` wants them. Who notes or forgets a content holds its lock until the transaction ends."""

    def __init__(self, database: Database, backend: int) -> None:
        self._database = database
        self._backend = backend

    async def taken(self, cid: str, name: str, length: int) -> bool:
        async with self._database.transaction() as connection:
            await self._lock(connection, cid)
            noted = await connection.fetchval(
                """
                insert into pins (backend_id, cid, object, bytes) values ($1, $2, $3, $4)
                on conflict do nothing returning 1
                """,
                self._backend, cid, name, length,
            )  # fmt: skip
        return noted is not None

    @asynccontextmanager
    async def released(self, cid: str, name: str) -> AsyncIterator[bool]:
        async with self._database.transaction() as connection:
            await self._lock(connection, cid)
            await connection.execute(
                "delete from pins where backend_id = $1 and cid = $2 and object = $3", self._backend, cid, name
            )
            yield not await connection.fetchval(
                "select exists (select from pins where backend_id = $1 and cid = $2)", self._backend, cid
            )

    async def _lock(self, connection: Connection, cid: str) -> None:
        await connection.execute("select pg_advisory_xact_lock($1, hashtext($2))", self._backend, cid)

    async def of(self, cid: str) -> list[Pin]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"select {COLUMNS} from pins where backend_id = $1 and cid = $2", self._backend, cid
            )
        return [Pin(*row) for row in rows]

    async def below(self, prefix: str) -> AsyncIterator[Pin]:
        """In pages, so that no connection is held while the caller looks at them. Names are ASCII, below `~`."""
        last = (prefix, "")
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(
                    f"""
                    select {COLUMNS} from pins
                    where backend_id = $1 and object < $2 || '~' and (object, cid) > ($3, $4)
                    order by object, cid limit $5
                    """,
                    self._backend, prefix, *last, PAGE,
                )  # fmt: skip
            for row in rows:
                yield Pin(*row)
            if len(rows) < PAGE:
                return
            last = (rows[-1]["object"], rows[-1]["cid"])
