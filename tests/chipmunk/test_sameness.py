"""All that is near is found, nothing else is, and few rows are looked at for it, however PostgreSQL plans it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest

from chipmunk import sameness
from tests.chipmunk.test_listing import nth
from tests.chipmunk.test_search_plans import Recorded, most_read

T = TypeVar("T")
MEDIA, NEAR, LIMIT = 6000, 200, 200
OWNER, OTHER = 1, 2  # rows of users; every third media is OWNER's
SUBJECT = nth(1)
FAR = 29


def signed(bits: int) -> int:
    return bits - 2**64 if bits >> 63 else bits


def hashes() -> list[int]:
    """The first is the subject's; then some that are 0 to FAR bits from it; the rest lie anywhere."""
    draw = random.Random(6)
    subject = draw.getrandbits(64)
    near = [subject ^ sum(1 << bit for bit in draw.sample(range(64), n % FAR)) for n in range(NEAR)]
    return [signed(bits) for bits in (subject, *near, *(draw.getrandbits(64) for _ in range(MEDIA - NEAR - 1)))]


HASHES = hashes()


def within(distance: int, owner: int | None) -> dict[UUID, int]:
    """By looking at all there are."""
    found = {nth(n): ((HASHES[0] ^ one) & (2**64 - 1)).bit_count() for n, one in enumerate(HASHES, 1)}
    mine = {nth(n) for n in range(1, MEDIA + 1) if n % 3 == 1}
    return {m: d for m, d in found.items() if d <= distance and m != SUBJECT and (owner is None or m in mine)}


def with_connection(url: str, work: Callable[[Any], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture
def library(database: str) -> str:
    async def fill(connection: Any) -> None:
        await connection.execute("insert into users (app_id, name) values (1, 'ann'), (1, 'bob')")
        await connection.execute(
            """
            with kept as (
                insert into media (id, app_id, owner_id, state, kind, mime, filename, bytes, total_bytes, sha256, square, phash)
                select (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, 1, case when n % 3 = 1 then 1 else 2 end,
                       'processing', 'image', 'image/jpeg', 'a.jpg', 1, 1, '\\x00', false, h
                from unnest($1::bigint[]) with ordinality as every (h, n) returning id)
            insert into links (id, token, media_id, audience, original)
            select gen_random_uuid(), gen_random_uuid(), id, 'standing', true from kept
            """,
            HASHES,
        )
        await connection.execute("update media set state = 'ready'")
        await connection.execute("vacuum (analyze)")

    with_connection(database, fill)
    return database


def test_all_that_is_near_is_found_nearest_first_and_nothing_else(library: str) -> None:
    async def ask(connection: Any) -> dict[tuple[int | None, int], list[tuple[UUID, int]]]:
        found = {}
        for owner in (None, OWNER):
            for distance in range(sameness.FARTHEST + 1):
                near = await sameness.similar(connection, 1, owner, SUBJECT, distance=distance, limit=LIMIT)
                found[owner, distance] = [(one.media.id, one.distance) for one in near]
        return found

    for (owner, distance), found in with_connection(library, ask).items():
        assert dict(found) == within(distance, owner)
        assert found == sorted(sorted(found, reverse=True), key=lambda one: one[1])
        assert len(within(11, owner)) > len(within(7, owner)) > len(within(3, owner)) > len(within(0, owner)) > 0


def test_few_rows_are_looked_at(library: str) -> None:
    """No node of a plan meets more than what shares a value, or a page's worth; a scan would meet all."""

    async def costs(connection: Any) -> dict[tuple[str, int | None, int], float]:
        found = {}
        for plans in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"set plan_cache_mode = {plans}")
            for owner in (None, OWNER):
                for distance in (3, sameness.USUAL, sameness.FARTHEST):
                    recorded = Recorded(connection)
                    await sameness.similar(recorded, 1, owner, SUBJECT, distance=distance, limit=50)
                    query, given = recorded.asked[0]
                    found[plans, owner, distance] = await most_read(connection, query, given)
        return found

    found = with_connection(library, costs)
    assert len(found) == 12
    assert {asked: rows for asked, rows in found.items() if rows > MEDIA // 10} == {}


def test_what_is_gone_is_not_found_and_of_very_many_the_newest_are(library: str) -> None:
    gone = list(within(3, OWNER))[:3]

    async def ask(connection: Any) -> list[UUID]:
        await connection.execute(
            "update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() where id = $1",
            gone[0],
        )
        await connection.execute("update media set state = 'deleted' where id = $1", gone[1])
        await connection.execute("delete from media where id = $1", gone[2])
        assert await connection.fetchval("select count(*) from media_hashes where media_id = any($1)", gone) == 2
        found = await sameness.similar(connection, 1, OWNER, SUBJECT, distance=3, limit=LIMIT)
        assert {one.media.id for one in found} == set(within(3, OWNER)) - set(gone)
        await connection.execute("update media_hashes set phash = $1", HASHES[0])  # now very many have the same values
        found = await sameness.similar(connection, 1, None, SUBJECT, distance=0, limit=5)
        return [one.media.id for one in found]

    assert with_connection(library, ask) == [nth(MEDIA - n) for n in range(5)]


def test_a_value_is_looked_up_of_whatever_differs_so_little() -> None:
    draw = random.Random(1)
    for distance in range(sameness.FARTHEST + 1):
        for _ in range(200):
            one = draw.getrandbits(64)
            other = one ^ sum(1 << bit for bit in draw.sample(range(64), distance))
            values = sameness.probes(signed(one), distance)
            assert any(other >> 16 * band & 0xFFFF in set(values[band]) for band in range(4))
    assert [len(band) for band in sameness.probes(0, 7)] == [17, 17, 17, 17]
    assert [len(band) for band in sameness.probes(0, 4)] == [17, 1, 1, 1]
