"""Searches among ten thousand media and among a million, by the kernel alone: words as people's texts have them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.rows import Row, alone, at_most, beside
from benchmarks.session import Session
from chipmunk import search, words
from chipmunk.db import Database, connect
from chipmunk.migrate import apply
from chipmunk.search import Filters
from tests.harness import Solo

GROUP = "search"
FEW, MANY = 10_000, 1_000_000
WORDS, EACH = 100_000, 6  # the n-th word is in a media n times less likely than the first
BEGAN, APART = datetime(2022, 1, 1, tzinfo=UTC), timedelta(seconds=100)
SEARCHES, ROUNDS = 20, 2
HALF = 1  # the owner of every second media; each other one has a hundred, and the flow has four of five
MEMBER, FLOW = 2, 2
VIEWERS = {"the app": None, "an owner of half of them": HALF, "an owner of a hundred": 3, "a member of a flow": MEMBER}
FILL = """
    insert into users (app_id, name) select 1, 'u' || n from generate_series(1, 3 + $1::integer / 100) n;
    insert into flows (app_id, name) values (1, 'gallery');
    insert into flow_members (flow_id, user_id, role) values (2, 2, 'viewer');
    insert into media (id, app_id, owner_id, state, kind, mime, filename, bytes, total_bytes, sha256, square, created_at,
                       placeholder, words)
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
            || '8' || substr(md5(n::text), 4, 15))::uuid, 1,
           case when n % 2 = 0 then 1 else 3 + n / 200 end, 'ready',
           case when n % 1000 = 7 then 'audio' else 'image' end, 'image/jpeg', n || '.jpg',
           1 + (random() * 1e7)::bigint, 1e8, '\\x00', false, at,
           substr(sha256(n::text::bytea), 1, 25),
           (select string_agg(format('w%s:%sA', floor(exp(random() * ln({words}::float)))::integer, k), ' ')
            from generate_series(1, {each} + n - n) k)::tsvector
           || ('#t' || floor(exp(random() * ln(1000.0)))::integer || ':1A')::tsvector
    from (select n, $2::timestamptz + n * $3::interval as at from generate_series(1, $1::integer) n) every;
    insert into links (id, token, media_id, audience, original)
    select gen_random_uuid(), gen_random_uuid(), id, 'standing', true from media;
    insert into flow_media select 2, id from media where random() < 0.8;
    insert into media_words select app_id, owner_id, id, unnest(tsvector_to_array(words)) from media;
"""
Ask = Callable[[random.Random], Filters]


def word(draw: random.Random, common: int, rare: int) -> str:
    return f"w{draw.randint(common, rare)}"


def typed(text: str, **filters: Any) -> Filters:
    return Filters(asked=words.asked(text), **filters)


KINDS: Mapping[str, Ask] = {
    "nothing": lambda _: Filters(),
    "a common word": lambda draw: typed(word(draw, 1, 10)),
    "a word": lambda draw: typed(word(draw, 100, 1000)),
    "a rare word": lambda draw: typed(word(draw, 10_000, 100_000)),
    "a word that is nowhere": lambda draw: typed(f"x{draw.random()}"),
    "two common words": lambda draw: typed(f"{word(draw, 1, 10)} {word(draw, 1, 10)}"),
    "a common and a rare word": lambda draw: typed(f"{word(draw, 1, 10)} {word(draw, 1000, 100_000)}"),
    "two words that are nowhere together": lambda draw: typed(f"{word(draw, 100, 200)} {word(draw, 100, 200)}"),
    "one word or another": lambda draw: typed(f"{word(draw, 1, 10)} or {word(draw, 1000, 10_000)}"),
    "a phrase": lambda draw: typed(f'"{word(draw, 1, 10)} {word(draw, 1, 10)}"'),
    "the beginning of a word": lambda draw: typed(f"{word(draw, 100, 9999)}*"),
    "all but a common word": lambda draw: typed("-w1"),
    "a tag": lambda draw: Filters(tags=(f"t{draw.randint(1, 1000)}",)),
    "a tag and a word": lambda draw: typed(word(draw, 1, 100), tags=(f"t{draw.randint(1, 100)}",)),
    "music": lambda draw: Filters(kind="audio"),
    "large and of one day": lambda draw: Filters(larger=9_000_000, **day(draw)),
    "a word of one day": lambda draw: typed(word(draw, 1, 100), **day(draw)),
    "a word in the flow": lambda draw: typed(word(draw, 10, 1000), flow=FLOW),
    "a colour": lambda draw: Filters(colour=(draw.randint(0, 255), draw.randint(0, 255), draw.randint(0, 255))),
}


def day(draw: random.Random) -> dict[str, datetime]:
    first = BEGAN + timedelta(days=draw.randint(0, 11))
    return {"after": first, "before": first + timedelta(days=1)}


@dataclass
class Library:
    """A database with so many media."""

    url: str
    count: int
    times: dict[str, list[float]]

    async def fill(self) -> None:
        connection = await asyncpg.connect(self.url, command_timeout=3600)
        try:
            await apply(connection)
            await connection.execute("set session_replication_role = replica; set synchronous_commit = off")
            await connection.execute("set maintenance_work_mem = '512MB'; set jit = off")
            indexes = await connection.fetch(
                "select indexdef, indexname from pg_indexes where tablename = 'media_words'"
            )
            for index in indexes:
                await connection.execute(f"drop index {index['indexname']}")
            for statement in FILL.format(words=WORDS, each=EACH).split(";\n"):
                given = [self.count, BEGAN, APART][: max((n for n in (1, 2, 3) if f"${n}" in statement), default=0)]
                if statement.strip():
                    await connection.execute(statement, *given)
            for index in indexes:
                await connection.execute(index["indexdef"])
            await connection.execute("vacuum (analyze)")
        finally:
            await connection.close()

    async def ask(self, seed: int, searches: int) -> None:
        """Each kind so often as each viewer, one after another; the times in ms, by kind."""
        self.times.clear()
        database = Database(await connect(self.url, least=1, most=1))
        draw = random.Random(seed)
        asked = [(v, k, KINDS[k](draw)) for v in VIEWERS for k in KINDS for _ in range(searches)]
        draw.shuffle(asked)
        try:
            async with database.connection() as connection:
                for viewer, kind, filters in asked:
                    began = time.perf_counter()
                    await search.page(connection, 1, VIEWERS[viewer], filters, before=None, limit=50)
                    self.times.setdefault(kind, []).append((time.perf_counter() - began) * 1000)
        finally:
            await database.close()

    def percentile(self, share: float, kind: str = "") -> float:
        """In ms, of the searches of a kind or of all."""
        times = sorted(t for name, several in self.times.items() if kind in ("", name) for t in several)
        return times[min(int(len(times) * share), len(times) - 1)]

    async def size(self) -> float:
        """Bytes a media, of the lists of words with their indexes and of the media's own words."""
        connection = await asyncpg.connect(self.url)
        try:
            lists = await connection.fetchval("select pg_total_relation_size('media_words')")
            own = await connection.fetchval("select sum(pg_column_size(words)) from media")
            return (lists + own) / self.count
        finally:
            await connection.close()


def measure(session: Session) -> Iterator[Row]:
    """Rows of each kind of search, whoever asks, and of all; what the words of a media take."""
    many = session.count(MANY)
    with Solo("servers", session.folder / "data") as solo:
        solo.wait_for("CHIPMUNK_REDIS_URL=")
        url = next(line for line in solo.output.splitlines() if line.startswith("CHIPMUNK_DATABASE_URL=")).split(
            "=", 1
        )[1]
        libraries = [asyncio.run(_filled(url, count, session)) for count in (FEW, many)]
        small, large = libraries
        percentiles: dict[str, tuple[list[float], list[float]]] = {}
        for number in range(-1, min(session.rounds, ROUNDS)):  # what one round finds is in memory for the next
            for library in libraries[:: -1 if number % 2 else 1]:
                asyncio.run(library.ask(number, session.count(SEARCHES)))
            if number >= 0:
                for kind in ("", *KINDS):
                    ours, peers = percentiles.setdefault(kind, ([], []))
                    ours.append(large.percentile(0.99, kind))
                    peers.append(small.percentile(0.99, kind))
                    if not kind:
                        session.say(f"p50 {large.percentile(0.5):.2f} ms beside {small.percentile(0.5):.2f} ms")
        for kind, (ours, peers) in percentiles.items():
            name = f"{many:,} media: searches for {kind or 'all of these'}: p99"
            yield beside(GROUP, name, "ms", ours, peers, at_most(10), f"beside {FEW:,} media")
        words_of_media = f"{EACH} words and a tag each"
        yield alone(GROUP, f"{many:,} media: words", "B/media", [asyncio.run(large.size())], None, words_of_media)


async def _filled(url: str, count: int, session: Session) -> Library:
    name = f"library_{count}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"create database {name}")
    await connection.close()
    library = Library(urlunsplit(urlsplit(url)._replace(path=f"/{name}")), count, {})
    await library.fill()
    session.say(f"{count:,} media with their words")
    return library
