"""Pictures that look alike, by hashes of which few bits differ, found without looking at all there are.

Multi-index hashing: M. Norouzi, A. Punjani, D. Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012. A
hash is cut into four bands of 16 bits. Of two that are 4r + a bits apart (a below 4) one of the first a + 1 bands differs in r
bits at most, or another in r - 1: so few values of each band are looked up, in an index, and what is found there compared
as a whole. Of a value that very many have, the newest are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.media import COLUMNS, SEEN_BY, SOURCE, Media

BANDS, BITS = 4, 16
FARTHEST = 11  # bits; 137 values of each band, and more of them would find what looks like something else
USUAL = 7
MOST_OF_A_VALUE = 256  # media that are looked at; of a million that are spread evenly each value has 15


@dataclass(frozen=True, slots=True)
class Similar:
    """A media, and how many of 64 bits are others."""

    distance: int
    media: Media


def probes(phash: int, distance: int) -> list[list[int]]:
    """The values to look up of each band, lowest bits first, so that none is missed that is so near or nearer."""
    radius, more = divmod(distance, BANDS)
    return [_around(phash >> BITS * band & 0xFFFF, radius if band <= more else radius - 1) for band in range(BANDS)]


def _around(value: int, radius: int) -> list[int]:
    flips = (c for n in range(radius + 1) for c in combinations(range(BITS), n))
    return [value ^ sum(1 << bit for bit in flip) for flip in flips]


async def similar(
    connection: Connection, app: int, owner: int | None, media: UUID, *, distance: int, limit: int
) -> list[Similar]:
    """Media that look like this one, nearest first and then newest: of its owner, or of the app where that is None."""
    phash = await connection.fetchval("select phash from media where id = $1", media)
    if phash is None:
        return []
    scope = "app_id = any(array[$1::integer])" if owner is None else "owner_id = any(array[$2::bigint])"
    walks = " union ".join(_walk(scope, band) for band in range(BANDS))
    rows = await connection.fetch(
        f"""
        select near.distance, found.* from (
            select media_id, bit_count((phash # $3)::bit(64))::integer as distance from ({walks}) met
            where media_id <> $4 and bit_count((phash # $3)::bit(64)) <= $5
            order by distance, media_id desc offset 0) near
        cross join lateral (select {COLUMNS} from {SOURCE} where m.id = near.media_id and {SEEN_BY} offset 0) found
        order by near.distance, near.media_id desc limit $6
        """,
        app, owner, phash, media, distance, limit, *probes(phash, distance),
    )  # fmt: skip
    return [Similar(row[0], Media(*row[1:])) for row in rows]


async def keep(connection: Connection, media: UUID, palette: list[int], phash: int | None) -> None:
    """What a media looks like that was stored before this was looked for."""
    await connection.execute(
        """
        with kept as (
            update media set palette = $2, phash = $3 where id = $1 and palette is null and state <> 'deleted'
            returning id, app_id, owner_id, phash, state)
        insert into media_hashes (media_id, app_id, owner_id, phash)
        select id, app_id, owner_id, phash from kept where phash is not null and state <> 'processing'
        on conflict do nothing
        """,
        media, palette, phash,
    )  # fmt: skip


def _walk(scope: str, band: int) -> str:
    """For each value of the band, which has its list in an index, the newest; why it is put so: see `listing`."""
    bits = f"(phash >> {BITS * band})" if band else "phash"
    first = scope.partition(" ")[0]
    return f"""
        select listed.* from unnest(${7 + band}::integer[]) as probe (value) cross join lateral (
            select media_id, phash from media_hashes where {scope} and ({bits} & 65535)::integer = probe.value
            order by {first} desc, media_id desc limit {MOST_OF_A_VALUE}) listed"""
