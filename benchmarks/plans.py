"""What PostgreSQL does for each query: every query that is asked often or by a sweep, planned as it will be planned."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks import seeding
from benchmarks.rows import Row, alone, at_most
from benchmarks.town import Town
from chipmunk import (
    flows,
    idempotency,
    jobs,
    keys,
    leftovers,
    links,
    listing,
    media,
    posting,
    quotas,
    revocations,
    sessions,
    storing,
    users,
)
from chipmunk.credentials import Authenticator
from chipmunk.db import Connection, Database
from chipmunk.ids import new_id
from chipmunk.signing import Seal, digest

FEW = 2000  # rows: a table of fewer is rightly read whole, and more of a large one is too much
EXECUTIONS = 7  # from the sixth on PostgreSQL may plan for any values, once and for all


class One(Database):
    """A database that is one connection, whose transaction is never committed."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(None)
        self._one = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        yield self._one


def explained(group: str, town: Town) -> Iterator[Row]:
    """How many of the queries read the whole of a large table, or many rows of it by an index."""
    queries, faults = asyncio.run(_explained(town))
    for fault in faults:
        town.session.say(fault)
    name = f"{town.count:,} media: queries that read a whole table or over {FEW:,} rows of it, of {queries}"
    yield alone(group, name, "queries", [float(len(faults))], at_most(0), "; ".join(faults))


async def _explained(town: Town) -> tuple[int, list[str]]:
    connection = await asyncpg.connect(town.url, command_timeout=600, server_settings={"jit": "off"})
    try:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        asked = await recorded(connection, town)
        large = {
            row["relname"] for row in await connection.fetch("select relname from pg_class where reltuples >= $1", FEW)
        }
        found = [(query, await much_read(connection, query, given) & large) for query, given in asked.items()]
        return len(found), [
            f"{', '.join(sorted(tables))}: {' '.join(query.split())}" for query, tables in found if tables
        ]
    finally:
        await connection.close()


async def recorded(connection: Connection, town: Town) -> dict[str, tuple[Any, ...]]:
    """Each query that what follows asks, with the values that it was asked with first."""
    asked: dict[str, tuple[Any, ...]] = {}

    def note(record: Any) -> None:
        query = record.query.strip()
        if query.split()[0].lower() in ("select", "insert", "update", "delete", "with"):
            asked.setdefault(query, tuple(record.args))

    connection.add_query_logger(note)
    scene = await Scene.of(connection, town)
    for act in (scene.looked_at, scene.listed, scene.uploaded, scene.deleted, scene.swept):
        transaction = connection.transaction()
        await transaction.start()
        await act()
        await transaction.rollback()
    connection.remove_query_logger(note)
    return asked


async def much_read(connection: Connection, query: str, given: tuple[Any, ...]) -> set[str]:
    """The tables that are read whole or at length, once the query has been asked often. What only reads is run."""
    await connection.execute(f"prepare hot as {query}")
    reads = query.startswith("select") and "for update" not in query
    try:
        values = ", ".join(map(literal, given))
        for last in [False] * (EXECUTIONS - 1) + [reads]:
            how = "analyze, timing off, format json" if last else "format json"
            plan = json.loads(await connection.fetchval(f"explain ({how}) execute hot{f'({values})' if given else ''}"))
    finally:
        await connection.execute("deallocate hot")
    return set(reading(plan[0]["Plan"]))


def reading(node: dict[str, Any]) -> Iterator[str]:
    """The tables of which the plan reads all, or of which it has read more than a few rows."""
    looked_at = node.get("Actual Rows", 0) + sum(n for name, n in node.items() if name.startswith("Rows Removed by"))
    if node["Node Type"] == "Seq Scan" or looked_at * node.get("Actual Loops", 0) > FEW:
        yield node.get("Relation Name", "")
    for below in node.get("Plans", []):
        yield from reading(below)


def literal(value: Any) -> str:
    """The value as SQL; PostgreSQL knows its type."""
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return str(value).lower()
        case bytes():
            return f"'\\x{value.hex()}'"
        case timedelta():
            return f"'{value.total_seconds()} seconds'"
        case list() | tuple():
            return f"'{{{', '.join(map(element, value))}}}'"
        case dict():
            return "'{}'"
        case _:
            text = str(value).replace("'", "''")
            return f"'{text}'"


def element(value: Any) -> str:
    """One of an array, within its literal; of a list that becomes JSON none is needed."""
    match value:
        case None:
            return "null"
        case dict():
            return ""
        case bytes():
            return f'"\\\\x{value.hex()}"'
        case timedelta():
            return f'"{value.total_seconds()} seconds"'
        case _:
            text = str(value).replace("'", "''")
            return f'"{text}"'


@dataclass(frozen=True)
class Scene:
    """One of each, out of the middle of what was seeded, and what is asked about them."""

    connection: Any
    town: Town
    media: UUID
    token: UUID
    app: int
    owner: int
    name: str
    viewer: int
    session: str

    @classmethod
    async def of(cls, connection: Connection, town: Town) -> Scene:
        n = seeding.nth_of_gallery(town.count * 8 // 10 // 2)
        identifier, token, session = seeding.media_id(n), seeding.token(n), town.tokens[0]
        row = await connection.fetchrow(
            "select m.app_id, o.id, o.name from media m join users o on o.id = m.owner_id where m.id = $1", identifier
        )
        viewer = await connection.fetchval(
            "select s.user_id from session_tokens t join sessions s on s.id = t.session_id where t.hash = $1",
            digest(session),
        )
        return cls(connection, town, identifier, token, row["app_id"], row["id"], row["name"], viewer, session)

    async def looked_at(self) -> None:
        """What a view and the calls about one media ask."""
        one, database = self.connection, One(self.connection)
        settings = self.town.ours.system.settings
        seen = Authenticator(settings, Seal(settings.secret_keys, "session"))
        for token in (self.session, settings.api_key):
            await seen.caller(database, token, time.time())
        await links.grants(one, [self.token])
        await flows.memberships(one, self.viewer)
        outbox = revocations.Outbox(database)
        await outbox.poll()
        await outbox.poll()
        for viewer in (None, self.viewer):
            await media.get(one, self.app, self.media, viewer)
        await links.of_media(one, self.media, None, 50)
        await users.get(one, self.app, self.name)
        await users.page(one, self.app, self.name, 50)
        link = await links.create(one, self.media, audience="anyone", user=None, original=True, ttl=None)
        await links.revoke(one, self.app, link.id, self.owner)
        await sessions.create(one, Seal(settings.secret_keys, "session"), self.owner, timedelta(hours=1), ("view",))
        await sessions.delete_all(one, self.owner)

    async def listed(self) -> None:
        """Pages, as they follow one another."""
        gallery = (await flows.get(self.connection, self.app, seeding.GALLERY)).key
        for viewer in (None, self.viewer, self.owner):
            for where in ({}, {"owner": self.owner}, {"flow": gallery}):
                await listing.page(self.connection, self.app, viewer, **where, before=self.media)
        await flows.role(self.connection, gallery, self.viewer)
        await flows.names_of_member(self.connection, self.viewer)
        await flows.page(self.connection, self.app, "", 50)
        await flows.members(self.connection, await flows.get(self.connection, self.app, seeding.GALLERY), "", 50)

    async def uploaded(self) -> None:
        """From the pre-check of an upload to the end of its ladder."""
        one, database, size = self.connection, One(self.connection), 200_000
        flow = (await flows.postable(one, self.app, [flows.GENERAL], self.owner))[0]
        await keys.keep_that_of_settings(one, "cmk_of_the_scene")
        await posting.by_key(one, "cmk_of_the_scene", self.name, [flows.GENERAL])
        identifier = await quotas.reserve(database, self.owner, 3 * size, size)
        await quotas.renew(one, self.owner, identifier)
        await quotas.resize(database, identifier, 2 * size)
        await idempotency.answered(one, self.owner, "key")
        await idempotency.claim(one, self.owner, "key", bytes(32), identifier)
        await quotas.settle(one, self.owner, identifier, size, size, 1)
        new = storing.New(
            identifier, self.app, self.owner, "image", "image/jpeg", "a.jpg", 4, 3, size, bytes(32), None, False, [], {},
            (flow.key,),
        )  # fmt: skip
        job = (await storing.insert(one, new, climbing=True)).job_id
        await idempotency.answer(one, self.owner, "key", identifier, {})
        assert job is not None
        await jobs.start(one, job)
        found = await media.find(one, identifier)
        assert found is not None
        await quotas.kept(one, identifier)
        await jobs.end(one, job, "completed")
        await media.lock(one, identifier)
        await media.climbed(one, found, [])
        await quotas.release(one, await quotas.reserve(database, self.owner, size, size))

    async def deleted(self) -> None:
        await media.delete(self.connection, self.app, self.media, self.owner)
        await media.purge(self.connection, self.media)
        await leftovers.deleted_of(self.connection, self.owner, 100, UUID(int=0))

    async def swept(self) -> None:
        """What a worker asks every half minute."""
        one = self.connection
        await quotas.release_expired(one)
        for forget in (sessions, links, idempotency):
            await forget.forget_expired(one)
        await jobs.forget_old(one)
        await revocations.forget_old(one)
        await leftovers.enqueue_purges(one)
        await users.enqueue_purges(one)
        await jobs.enqueue_lost(one, timedelta(minutes=2))
        await jobs.depths(one)
        await leftovers.stranded(one)
        await leftovers.unknown(one, [self.media, new_id()])
