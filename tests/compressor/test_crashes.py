"""Killed at any step: what was answered 201 is there, and what is not a media leaves no trace after the sweep."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from compressor.sweep import Pace, Sweeper
from tests.compressor.conftest import House, photo, working

NOW = Pace(leftover=0, spooled=0, orphaned=0, quarantined=0, lost=0)
DYING = Path(__file__).with_name("dying.py")
AT_ONCE = 4
STRIDE = 8  # the processes of one round, so that a round that all survive is the last


async def die(house: House, gate: asyncio.Semaphore, *words: str) -> str:
    """What such a process said before it was killed."""
    settings = house.settings
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(DYING.parents[2]),
        "CHIPMUNK_DATA_DIR": str(settings.data_dir),
        "CHIPMUNK_DATABASE_URL": settings.database_url,
        "CHIPMUNK_REDIS_URL": settings.redis_url,
        "CHIPMUNK_SECRET_KEYS": ",".join(settings.secret_keys),
        "CHIPMUNK_MASTER_KEYS": ",".join(settings.master_keys),
        "CHIPMUNK_DECODERS": "1",
    }
    async with gate:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(DYING),
            *words,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await process.communicate()
    assert process.returncode == -9, complained.decode()
    return said.decode().strip()


async def swept(house: House) -> None:
    await house.run("update reservations set expires_at = now() - interval '1 s' where expires_at is not null")
    await house.run("update idempotency_keys set held_until = now() - interval '1 s' where answer is null")
    for _ in range(2):
        await Sweeper(house.parts, NOW).sweep()


async def books(house: House) -> None:
    """Rows and files agree to the byte, for every user."""
    medias = await house.many("select id, owner_id, bytes, rungs, total_bytes from media")
    expected = {f"{house.folder(m['id'].hex).relative_to(house.settings.store_dir)}/0": m["bytes"] for m in medias}
    for m in medias:
        folder = house.folder(m["id"].hex).relative_to(house.settings.store_dir)
        expected |= {f"{folder}/{r['quality']}.webp": r["bytes"] for r in m["rungs"]}
    assert {p: (house.settings.store_dir / p).stat().st_size for p in house.files()} == expected
    used = await house.many(
        """
        select u.used_bytes, u.media_count, coalesce(sum(m.total_bytes), 0), count(m.id),
               u.reserved_bytes, (select coalesce(sum(bytes), 0) from reservations r where r.user_id = u.id)
        from users u left join media m on m.owner_id = u.id group by u.id
        """
    )
    for row in used:
        assert (row[0], row[1], row[4]) == (row[2], row[3], row[5])


@pytest.mark.parametrize("key", ["", "once"])
async def test_an_upload_killed_at_any_step_is_there_or_leaves_no_trace(house: House, key: str) -> None:
    gate, answered, step = asyncio.Semaphore(AT_ONCE), 0, 0
    apart = 1 if key else 2  # with a key it takes the same steps, and more
    while answered < STRIDE:
        steps = range(step + 1, step + 1 + STRIDE * apart, apart)
        for n in steps:
            await house.user(f"u{n}")
        said = await asyncio.gather(*(die(house, gate, "upload", str(n), f"u{n}", key) for n in steps))
        answered, step = sum(s.startswith("201 ") for s in said), step + STRIDE * apart
        for s in said:
            if s:
                assert s.startswith("201 "), s
                assert (house.folder(s.split()[1]) / "0").read_bytes() == photo()
        await swept(house)
    assert step > 3 * STRIDE
    await books(house)
    if key:
        for n in range(1, step + 1, apart):
            again = await house.put(photo(), user=f"u{n}", headers={"idempotency-key": key})
            assert again.status_code == 201
            assert (await house.standing(f"u{n}"))[2] == 1
    async with working(house.parts):
        for row in await house.many("select id from media"):
            await house.until("ready", row["id"].hex)
    await books(house)


async def test_a_ladder_killed_at_any_step_is_finished_by_another_worker(house: House) -> None:
    gate, survived, step = asyncio.Semaphore(AT_ONCE), 0, 0
    while survived < STRIDE:
        steps = range(step + 1, step + 1 + STRIDE)
        stored: list[Any] = [await house.stored(photo(700, 500, n)) for n in steps]
        said = await asyncio.gather(
            *(die(house, gate, "ladder", str(n), s["job"]) for n, s in zip(steps, stored, strict=True))
        )
        survived, step = said.count("done"), step + STRIDE
    assert step > 2 * STRIDE
    async with working(house.parts):
        for row in await house.many("select id from media"):
            assert len((await house.until("ready", row["id"].hex)).rungs) == 6
    await swept(house)
    await books(house)
    assert {r["state"] for r in await house.many("select state from jobs")} == {"completed"}
