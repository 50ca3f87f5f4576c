"""Rows as years of use would leave them, by COPY: media with their links and flows, users with theirs.

What the n-th media is follows from n alone, so that nothing has to be kept or read back to ask for any of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from struct import pack
from typing import Any
from uuid import UUID

import asyncpg

GALLERY = "gallery"  # has eight media of ten; of the others each second is in `general`, the rest in small flows
MEDIA_PER_USER, MEDIA_PER_FLOW, FLOWS_PER_USER = 100, 2000, 2
FIRST, EVERY = 1_640_995_200_000, 10_000  # milliseconds: the first came in 2022, and then one every ten seconds
EPOCH = 946_684_800_000  # PostgreSQL's, in milliseconds of Unix time
BATCH = 2000
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
RUNGS = [
    {"quality": 1, "width": 10, "height": 8, "bytes": 92},
    {"quality": 2, "width": 40, "height": 30, "bytes": 312},
    {"quality": 3, "width": 160, "height": 120, "bytes": 2418},
    {"quality": 4, "width": 320, "height": 240, "bytes": 7204},
    {"quality": 5, "width": 640, "height": 480, "bytes": 24318},
    {"quality": 6, "width": 1080, "height": 810, "bytes": 63120},
]
BYTES = 2_413_568
TOTAL_BYTES = BYTES + sum(rung["bytes"] for rung in RUNGS)


def drawn(n: int, what: bytes, size: int = 16) -> bytes:
    """Bytes that look random, always the same for the same n."""
    return hashlib.blake2b(n.to_bytes(8, "big"), digest_size=size, person=what).digest()


def identifier(n: int, what: bytes) -> bytes:
    """A UUIDv7 of the moment when the n-th media came."""
    rest = bytearray(drawn(n, what, 10))
    rest[0], rest[2] = 0x70 | rest[0] & 0x0F, 0x80 | rest[2] & 0x3F
    return (FIRST + n * EVERY).to_bytes(6, "big") + rest


def media_id(n: int) -> UUID:
    return UUID(bytes=identifier(n, b"media"))


def token(n: int) -> UUID:
    """What the URL of the n-th media's standing link carries, signed."""
    return UUID(bytes=drawn(n, b"token"))


def nth_of_gallery(n: int) -> int:
    """Which of all media the n-th of the gallery is."""
    return n // 8 * 10 + n % 8


async def seed(url: str, first: int, after: int, say: Callable[[str], None]) -> None:
    """Makes the media from `first` until before `after` with all that belongs to them, and has PostgreSQL tidy up.

    Both are multiples of 100, and so every user has as many media as every other.
    """
    connection = await asyncpg.connect(url, command_timeout=3600)
    try:
        await connection.execute("set session_replication_role = replica; set maintenance_work_mem = '1GB'")
        await connection.execute("set synchronous_commit = off")
        users, flows = await people(connection, first, after)
        async with without_indexes(connection, ("media", "links", "flow_media", "media_words")), with_rungs(connection):
            for table, columns, row in (
                ("media", MEDIA_COLUMNS, media_row(users)),
                ("links", LINK_COLUMNS, link_row),
                ("flow_media", ("flow_id", "media_id"), flow_row(flows)),
                ("media_words", ("app_id", "owner_id", "media_id", "word"), word_rows(users)),
            ):
                await copy(connection, table, columns, map(row, range(first, after)))
                say(f"{after - first:,} media's rows of {table}")
        say("indexes made")
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")
        await warm(connection)
        say("vacuumed")
    finally:
        await connection.close()


async def warm(connection: Any) -> None:
    """Reads what finds a media for a view once, as it lies in memory where media are viewed; none of the rows."""
    async with connection.transaction():
        await connection.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
        await connection.execute("select count(audience) from links; select count(filename) from media")
        await connection.execute("select count(*) from (select from flow_media order by media_id, flow_id) ordered")


async def people(connection: Any, first: int, after: int) -> tuple[list[int], list[int]]:
    """Makes users, small flows, members and sessions for so many media; the rows of these users and flows.

    The first two of these flows are the gallery and `general`.
    """
    app = await connection.fetchval("select id from apps where name = 'default'")
    names = [f"seeded-{n}" for n in range(first // MEDIA_PER_USER, after // MEDIA_PER_USER)]
    used = TOTAL_BYTES * MEDIA_PER_USER
    users = await connection.fetch(
        """
        insert into users (app_id, name, quota_bytes, used_bytes, media_count)
        select $1, unnest($2::text[]), 10 * $3::bigint, $3, $4 returning id
        """,
        app, names, used, MEDIA_PER_USER,
    )  # fmt: skip
    fresh = [f"small-{n}" for n in range(first // MEDIA_PER_FLOW, after // MEDIA_PER_FLOW + 1)]
    await connection.execute(
        "insert into flows (app_id, name) select $1, unnest($2::text[]) on conflict do nothing", app, [GALLERY, *fresh]
    )
    known = dict(
        await connection.fetch(
            "select name, id from flows where app_id = $1 and name = any($2)", app, ["general", GALLERY, *fresh]
        )
    )
    user_ids, flow_ids = [row["id"] for row in users], [known.pop(GALLERY), known.pop("general"), *known.values()]
    small = flow_ids[2:]
    for number in range(FLOWS_PER_USER):
        await connection.execute(
            """
            insert into flow_members (flow_id, user_id, role)
            select unnest($1::bigint[]), unnest($2::bigint[]), 'viewer' on conflict do nothing
            """,
            [small[(n + number) % len(small)] for n in range(len(user_ids))], user_ids,
        )  # fmt: skip
    await connection.execute(
        """
        with made as (insert into sessions (id, user_id, scopes, expires_at)
                      select gen_random_uuid(), unnest($1::bigint[]), '{view,upload}', now() + interval '30 days'
                      returning id)
        insert into session_tokens (hash, session_id) select sha256(id::text::bytea), id from made
        """,
        user_ids,
    )
    return user_ids, flow_ids


@asynccontextmanager
async def with_rungs(connection: Any) -> AsyncIterator[None]:
    """Gives each new media the same rungs by the column's default: PostgreSQL would spend most of its time on parsing them."""
    await connection.execute(f"alter table media alter rungs set default '{json.dumps(RUNGS)}'")
    yield
    await connection.execute("alter table media alter rungs set default '[]'")


@asynccontextmanager
async def without_indexes(connection: Any, tables: Sequence[str]) -> AsyncIterator[None]:
    """Takes the indexes away, but for keys that others refer to, and makes them anew at the end."""
    keys = await connection.fetch(
        """
        select conrelid::regclass::text as of, conname as name, pg_get_constraintdef(oid) as made from pg_constraint c
        where conrelid::regclass::text = any($1) and contype in ('p', 'u')
          and not exists (select from pg_constraint r where r.contype = 'f' and r.confrelid = c.conrelid)
        """,
        tables,
    )
    indexes = await connection.fetch(
        """
        select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as made from pg_index i
        where indrelid::regclass::text = any($1)
          and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
        """,
        tables,
    )
    for key in keys:
        await connection.execute(f"alter table {key['of']} drop constraint {key['name']}")
    for index in indexes:
        await connection.execute(f"drop index {index['name']}")
    yield
    for key in keys:
        await connection.execute(f"alter table {key['of']} add constraint {key['name']} {key['made']}")
    for index in indexes:
        await connection.execute(index["made"])


async def copy(connection: Any, table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield HEADER
        waiting = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == BATCH:
                yield b"".join(waiting)
                waiting.clear()
        yield b"".join(waiting) + TRAILER

    await connection.copy_to_table(table, source=source(), columns=columns, format="binary")


def fields(*values: bytes) -> bytes:
    """Values as COPY's binary format has them, each after its length."""
    return b"".join(pack(">i", len(value)) + value for value in values)


def number(value: int) -> bytes:
    return pack(">q", value)


def moment(n: int) -> bytes:
    return number((FIRST + n * EVERY - EPOCH) * 1000)


MEDIA_COLUMNS = (
    "app_id", "state", "kind", "mime", "width", "height", "bytes", "total_bytes", "square",
    "id", "owner_id", "filename", "sha256", "placeholder", "job_id", "created_at", "words",
)  # fmt: skip
LINK_COLUMNS = ("audience", "original", "id", "token", "media_id", "created_at")


def media_row(users: Sequence[int]) -> Callable[[int], bytes]:
    """Rows of media that belong to these users in turn; the default app has the number 1."""
    same = pack(">h", len(MEDIA_COLUMNS)) + fields(
        pack(">i", 1), b"ready", b"image", b"image/jpeg", pack(">i", 4032), pack(">i", 3024), number(BYTES),
        number(TOTAL_BYTES), b"\0",
    )  # fmt: skip
    owners = [number(user) for user in users]

    def row(n: int) -> bytes:
        return same + fields(
            identifier(n, b"media"), owners[n % len(owners)], b"IMG_%06d.jpg" % (n % 1_000_000),
            drawn(n, b"sha256", 32), drawn(n, b"placeholder", 25), identifier(n, b"job"), moment(n),
            tsvector(words(n)),
        )  # fmt: skip

    return row


def words(n: int) -> list[bytes]:
    """Of the file name of the n-th media."""
    return [b"img", b"%06d" % (n % 1_000_000), b"jpg"]


def tsvector(found: list[bytes]) -> bytes:
    """With weight A, each at its place; the name comes after two gaps."""
    places = (pack(">HH", 1, 3 << 14 | 18 + number) for number in range(len(found)))
    return pack(">i", len(found)) + b"".join(word + b"\0" + place for word, place in zip(found, places, strict=True))


def word_rows(users: Sequence[int]) -> Callable[[int], bytes]:
    """Rows of the words' lists: one for each word of the n-th media."""
    owners, app = [number(user) for user in users], pack(">i", 1)

    def rows(n: int) -> bytes:
        owner, media = owners[n % len(owners)], identifier(n, b"media")
        return b"".join(pack(">h", 4) + fields(app, owner, media, word) for word in words(n))

    return rows


STANDING = pack(">h", len(LINK_COLUMNS)) + fields(b"standing", b"\1")


def link_row(n: int) -> bytes:
    return STANDING + fields(identifier(n, b"link"), drawn(n, b"token"), identifier(n, b"media"), moment(n))


def flow_row(flows: Sequence[int]) -> Callable[[int], bytes]:
    """Rows that put each media into one of these flows."""
    keys = [number(flow) for flow in flows]

    def row(n: int) -> bytes:
        digit = n % 10
        key = keys[0] if digit < 8 else keys[1] if digit == 8 else keys[2 + n // 10 % (len(keys) - 2)]
        return pack(">h", 2) + fields(key, identifier(n, b"media"))

    return row
