"""A search costs its steps, whoever asks for what, and however PostgreSQL plans it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from chipmunk import search, words
from chipmunk.search import Filters
from tests.chipmunk.test_listing import nodes

MEDIA, STEPS, LIMIT = 6000, 300, 10
OWNER, OTHER, MEMBER = 1, 2, 3
FLOW = 2
MOST_READ = 3 * STEPS  # by any one node of a plan: of two lists each has so many steps
WANTED = {
    "nothing": Filters(),
    "a common word": Filters(asked=words.asked("common")),
    "a rare word": Filters(asked=words.asked("rare")),
    "a word that only old ones have": Filters(asked=words.asked("old")),
    "a word that is nowhere": Filters(asked=words.asked("nowhere")),
    "a common and a rare word": Filters(asked=words.asked("common rare")),
    "one or another": Filters(asked=words.asked("nowhere or rare")),
    "a beginning of many": Filters(asked=words.asked("n*")),
    "a beginning of few": Filters(asked=words.asked("rar*")),
    "all but": Filters(asked=words.asked("-common")),
    "a tag": Filters(tags=("tag",)),
    "a kind that is rare": Filters(kind="audio"),
    "a size that is rare": Filters(larger=2),
    "a colour": Filters(colour=(1, 2, 3)),
    "a flow": Filters(flow=FLOW, asked=words.asked("rare")),
    "an owner": Filters(owner=OWNER, asked=words.asked("common")),
}
VIEWERS = {"the app": None, "the owner": OWNER, "a member": MEMBER}


class Recorded:
    """A connection that keeps the queries of rows."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.asked = connection, list[tuple[str, tuple[Any, ...]]]()

    async def fetchval(self, query: str, *given: Any) -> Any:
        return await self.connection.fetchval(query, *given)

    async def fetchrow(self, query: str, *given: Any) -> Any:
        self.asked.append((query, given))
        return await self.connection.fetchrow(query, *given)

    async def fetch(self, query: str, *given: Any) -> Any:
        self.asked.append((query, given))
        return await self.connection.fetch(query, *given)


@pytest.fixture
def library(database: str) -> str:
    """MEDIA media, each second OWNER's, all in a flow of MEMBER's; each has a word of its own."""

    async def fill() -> None:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute(
                f"""
                insert into users (app_id, name) select 1, 'u' || n from generate_series(1, 3) n;
                insert into flows (app_id, name) values (1, 'all');
                insert into flow_members (flow_id, user_id, role) values ({FLOW}, {MEMBER}, 'viewer');
                insert into media (id, app_id, owner_id, state, kind, mime, filename, bytes, total_bytes, sha256, square,
                                   placeholder, words)
                select (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, 1, 1 + n % 2, 'ready', 'image', 'image/jpeg',
                       'a.jpg', 1, 1, '\\x00', false, '\\xffffff',
                       ('common:2A n' || n || ':3A' || case when n % 2000 < 2 then ' rare:4A ''#tag'':1A' else '' end
                        || case when n < {MEDIA // 2} then ' old:5A' else '' end)::tsvector
                from generate_series(1, {MEDIA}) n;
                insert into links (id, token, media_id, audience, original)
                select gen_random_uuid(), gen_random_uuid(), id, 'standing', true from media;
                insert into flow_media select {FLOW}, id from media;
                """
            )
            await connection.execute("vacuum (analyze)")
        finally:
            await connection.close()

    asyncio.run(fill())
    return database


async def most_read(connection: Any, query: str, given: tuple[Any, ...]) -> float:
    """The most rows that any one node of the plan looks at."""
    await connection.execute(f"prepare page as {query}")
    values = ", ".join("null" if value is None else _literal(value) for value in given)
    plan = json.loads(await connection.fetchval(f"explain (analyze, format json) execute page({values})"))
    await connection.execute("deallocate page")
    return max(nodes(plan[0]["Plan"]))


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"'{{{','.join(map(str, value))}}}'"
    return "'" + str(value).replace("'", "''") + "'"


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_search_looks_at_no_more_than_its_steps(library: str, plans: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS", STEPS)

    async def costs() -> dict[tuple[str, str, int], float]:
        connection, found = await asyncpg.connect(library), {}
        try:
            await connection.execute(f"set plan_cache_mode = {plans}; set enable_seqscan = off")
            for who, viewer in VIEWERS.items():
                for what, wanted in WANTED.items():
                    before, page = None, 0
                    for page in range(2):
                        recorded = Recorded(connection)
                        got = await search.page(recorded, 1, viewer, wanted, before=before, limit=LIMIT)
                        for query, given in recorded.asked:
                            cost = await most_read(connection, query, given)
                            found[who, what, page] = max(cost, found.get((who, what, page), 0))
                        if got.next is None:
                            break
                        before = got.next
        finally:
            await connection.close()
        return found

    found = asyncio.run(costs())
    assert len(found) > len(VIEWERS) * len(WANTED)
    assert {asked: rows for asked, rows in found.items() if rows > MOST_READ} == {}
