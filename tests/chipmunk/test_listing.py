"""A page of media costs what is on it, wherever it begins and however PostgreSQL plans it."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from chipmunk import listing
from chipmunk.media import Media

MEDIA, LIMIT = 3000, 10
OWNER, OTHER, MEMBER = 1, 2, 3  # rows of users: each tenth media is OWNER's, the rest OTHER's
LARGE, SMALL = 2, 3  # rows of flows: LARGE has all media, SMALL the newest thirty
MOST_READ = 40 * LIMIT  # by any one node of a plan; an owner in a flow is looked for among the 300 of the owner
PLACES: dict[str, dict[str, int]] = {
    "anywhere": {},
    "an owner": {"owner": OWNER},
    "a large flow": {"flow": LARGE},
    "a small flow": {"flow": SMALL},
    "an owner in a flow": {"owner": OWNER, "flow": LARGE},
}
VIEWERS = {"the app": None, "the owner": OWNER, "a member": MEMBER}


def nth(n: int) -> UUID:
    return UUID(f"{n:012x}70008000000000000000")


@dataclass
class Recorded:
    """A connection that keeps the last query of rows."""

    connection: Any
    query: str = ""
    given: tuple[Any, ...] = ()

    async def fetchval(self, query: str, *given: Any) -> Any:
        return await self.connection.fetchval(query, *given)

    async def fetch(self, query: str, *given: Any) -> list[Any]:
        self.query, self.given = query, given
        return list(await self.connection.fetch(query, *given))


@pytest.fixture
def town(database: str) -> str:
    """MEDIA media of two owners."""

    async def fill() -> None:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute(
                f"""
                insert into users (app_id, name) select 1, 'u' || n from generate_series(1, 3) n;
                insert into flows (app_id, name) values (1, 'large'), (1, 'small');
                insert into flow_members (flow_id, user_id, role)
                values ({LARGE}, {MEMBER}, 'viewer'), ({SMALL}, {MEMBER}, 'viewer');
                insert into media (id, app_id, owner_id, state, kind, mime, filename, bytes, total_bytes, sha256, square)
                select (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, 1,
                       case when n % 10 = 0 then {OWNER} else {OTHER} end, 'ready', 'image', 'image/jpeg', 'a.jpg', 1, 1, '\\x00',
                       false
                from generate_series(1, {MEDIA}) n;
                insert into links (id, token, media_id, audience, original)
                select gen_random_uuid(), gen_random_uuid(), id, 'standing', true from media;
                insert into flow_media select {LARGE}, id from media;
                insert into flow_media select {SMALL}, id from media order by id desc limit 30;
                """
            )
            await connection.execute("analyze")
        finally:
            await connection.close()

    asyncio.run(fill())
    return database


def nodes(node: dict[str, Any]) -> Iterator[float]:
    """How many rows each node of a plan looks at."""
    each = node["Actual Rows"] + sum(n for name, n in node.items() if name.startswith("Rows Removed by"))
    yield each * node["Actual Loops"]
    for below in node.get("Plans", []):
        yield from nodes(below)


async def read(connection: Any, recorded: Recorded) -> float:
    """The most rows that any one node of the plan looks at."""
    await connection.execute(f"prepare page as {recorded.query}")
    given = ", ".join("null" if value is None else f"'{value}'" for value in recorded.given)
    plan = json.loads(await connection.fetchval(f"explain (analyze, format json) execute page({given})"))
    await connection.execute("deallocate page")
    return max(nodes(plan[0]["Plan"]))


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_page_reads_what_is_on_it_and_nothing_that_lies_before_it(town: str, plans: str) -> None:
    async def costs() -> dict[tuple[str, str, int], float]:
        connection, found = await asyncpg.connect(town), {}
        try:
            await connection.execute(f"set plan_cache_mode = {plans}; set enable_seqscan = off")
            for who, viewer in VIEWERS.items():
                for what, place in PLACES.items():
                    for n in (MEDIA, MEDIA // 2, MEDIA // 10):
                        recorded = Recorded(connection)
                        await listing.page(recorded, 1, viewer, **place, before=nth(n), limit=LIMIT)
                        if recorded.query:
                            found[who, what, n] = await read(connection, recorded)
        finally:
            await connection.close()
        return found

    found = asyncio.run(costs())
    assert len(found) == len(VIEWERS) * len(PLACES) * 3
    assert {page: rows for page, rows in found.items() if rows > MOST_READ} == {}


def pages(database: str, viewer: int | None, before: int, **place: int) -> list[Media]:
    async def answer() -> list[Media]:
        connection = await asyncpg.connect(database)
        try:
            return await listing.page(connection, 1, viewer, before=nth(before), limit=4, **place)
        finally:
            await connection.close()

    return asyncio.run(answer())


@pytest.mark.parametrize(
    ("viewer", "place", "on_it"),
    [
        (None, {}, (99, 98, 97, 96)),
        (None, {"owner": OWNER}, (90, 80, 70, 60)),
        (None, {"flow": LARGE}, (99, 98, 97, 96)),
        (None, {"owner": OWNER, "flow": LARGE}, (90, 80, 70, 60)),
        (MEMBER, {}, (99, 98, 97, 96)),
        (MEMBER, {"owner": OWNER}, (90, 80, 70, 60)),
        (MEMBER, {"owner": OWNER, "flow": LARGE}, (90, 80, 70, 60)),
        (OWNER, {}, (90, 80, 70, 60)),
        (OWNER, {"flow": LARGE}, (90, 80, 70, 60)),
        (OWNER, {"owner": OTHER, "flow": LARGE}, ()),
        (OTHER, {"owner": OWNER}, ()),
    ],
)
def test_a_page_holds_the_newest_that_the_viewer_sees_there(
    town: str, viewer: int | None, place: dict[str, int], on_it: tuple[int, ...]
) -> None:
    assert [one.id for one in pages(town, viewer, 100, **place)] == [nth(n) for n in on_it]
