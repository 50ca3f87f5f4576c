"""Near-duplicates among a million media, by the kernel alone: `python -m benchmarks.sameness` prints what they take.

Half are one owner's, and every tenth picture of a hundred is there nine times, some bits apart; the rest are spread evenly.
"""

from __future__ import annotations

import asyncio
import random
import time
from uuid import UUID

import asyncpg

from chipmunk import sameness
from chipmunk.db import connect
from chipmunk.migrate import apply
from tests.harness import Solo, scratch

MEDIA, ASKED = 1_000_000, 300
HALF = 1
DISTANCES = (3, sameness.USUAL, sameness.FARTHEST)
FILL = """
    insert into users (app_id, name) select 1, 'u' || n from generate_series(1, 3 + $1::integer / 100) n;
    insert into media (id, app_id, owner_id, state, kind, mime, filename, bytes, total_bytes, sha256, square, phash)
    select (lpad(to_hex(n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid, 1,
           case when n % 2 = 0 then 1 else 3 + n / 200 end, 'ready', 'image', 'image/jpeg', n || '.jpg', 1, 1, '\\x00', false,
           case when n % 100 < 10
                then hashtextextended((n / 100)::text, 0) # (1::bigint << (n % 61)::integer) # (1::bigint << (n % 53)::integer)
                else hashtextextended(n::text, 1) end
    from generate_series(1, $1::integer) n;
    insert into links (id, token, media_id, audience, original)
    select gen_random_uuid(), gen_random_uuid(), id, 'standing', true from media;
    insert into media_hashes (media_id, app_id, owner_id, phash) select id, app_id, owner_id, phash from media;
"""


async def measure(url: str) -> None:
    connection = await asyncpg.connect(url)
    await apply(connection)
    await connection.execute(FILL.replace("$1", str(MEDIA)))
    await connection.execute("vacuum (analyze)")
    size = await connection.fetchval("select pg_total_relation_size('media_hashes')")
    print(f"{MEDIA:,} media, {size / MEDIA:.0f} bytes each")
    ids = [UUID(int=row[0].int) for row in await connection.fetch("select id from media where random() < 0.001")]
    await connection.close()
    asking = await connect(url)
    for who, owner in (("the app", None), ("an owner of half of them", HALF)):
        for distance in DISTANCES:
            times, found = [], 0
            for media in random.Random(distance).sample(ids, ASKED):
                began = time.perf_counter()
                found += len(await sameness.similar(asking, 1, owner, media, distance=distance, limit=50))
                times.append((time.perf_counter() - began) * 1000)
            times.sort()
            print(f"{who}, {distance} bits: median {times[ASKED // 2]:.1f} ms, p99 {times[-3]:.1f} ms, {found} found")
    await asking.close()


def main() -> None:
    with scratch() as folder, Solo("servers", folder / "data") as solo:
        solo.wait_for("CHIPMUNK_REDIS_URL=")
        given = dict(line.split("=", 1) for line in solo.output.splitlines() if line.startswith("CHIPMUNK_"))
        asyncio.run(measure(given["CHIPMUNK_DATABASE_URL"]))


if __name__ == "__main__":
    main()
