import asyncio
import os
import time
from pathlib import Path

import pytest

from chipmunk import ids, quotas
from compressor import orphans
from compressor.sweep import HOUR, Pace, Sweeper
from tests.compressor.conftest import House, photo, working

NOW = Pace(leftover=0, spooled=0, orphaned=0, quarantined=0, lost=0)


def orphan(house: House, age: float = 0) -> Path:
    folder = house.settings.store_dir / ids.folder(ids.new_id())
    folder.mkdir(parents=True)
    (folder / "0").write_bytes(b"x")
    os.utime(folder, (time.time() - age,) * 2)
    return folder


async def test_a_sweep_of_a_healthy_house_takes_nothing(house: House) -> None:
    stored = await house.stored()
    async with working(house.parts):
        await house.until("ready", stored["id"])
    waiting = await house.stored(photo(seed=2))
    files, before = house.files(), await house.standing()
    for _ in range(2):
        await Sweeper(house.parts, NOW).sweep()
    assert house.files() == files
    assert await house.standing() == before
    assert (await house.one("select state from media where id = $1", waiting["id"]))["state"] == "processing"


async def test_an_expired_reservation_is_given_back(house: House) -> None:
    await quotas.reserve(house.database, house.keys["ann"], 1000, 1000)
    await house.run("update reservations set expires_at = now() - interval '1 s'")
    await Sweeper(house.parts, NOW).sweep()
    assert await house.nothing()


async def test_a_dead_uploads_folder_goes_and_a_living_ones_stays(house: House) -> None:
    dead = house.parts.inbox.root / "dead"
    dead.mkdir(parents=True)
    (dead / "0").write_bytes(b"x")
    async with house.parts.inbox.folder() as living:
        (living / "0").write_bytes(b"x")
        await Sweeper(house.parts, NOW).sweep()
        assert living.exists()
        assert not dead.exists()
    assert not living.exists()


async def test_young_leftovers_are_left_alone(house: House) -> None:
    dead = house.parts.inbox.root / "dead"
    dead.mkdir(parents=True)
    (house.settings.spool_dir / "0000000001").write_bytes(b"x")
    folder = orphan(house)
    await Sweeper(house.parts, Pace()).sweep()
    assert dead.exists()
    assert folder.exists()
    assert len(list(house.settings.spool_dir.iterdir())) == 1


async def test_old_spooled_bodies_go(house: House) -> None:
    path = house.settings.spool_dir / "0000000001"
    path.write_bytes(b"x")
    os.utime(path, (time.time() - 2 * HOUR,) * 2)
    await Sweeper(house.parts, Pace()).sweep()
    assert not path.exists()


async def test_an_orphan_is_put_aside_first_and_taken_a_day_later(house: House) -> None:
    folder = orphan(house)
    await Sweeper(house.parts, Pace(orphaned=0)).sweep()
    assert not folder.exists()
    aside = list((house.settings.store_dir / ".quarantine").iterdir())
    assert [p.name.rpartition("-")[2] for p in aside] == [folder.name]
    await Sweeper(house.parts, Pace(orphaned=0)).sweep()
    assert aside[0].exists()
    aside[0].rename(aside[0].with_name(f"{int(time.time() - 25 * HOUR)}-{folder.name}"))
    await Sweeper(house.parts, Pace(orphaned=0)).sweep()
    assert list((house.settings.store_dir / ".quarantine").iterdir()) == []


async def test_the_folder_of_an_upload_that_may_still_commit_is_no_orphan(house: House) -> None:
    media = await quotas.reserve(house.database, house.keys["ann"], 1000, 1000)
    folder = house.settings.store_dir / ids.folder(media)
    folder.mkdir(parents=True)
    await Sweeper(house.parts, NOW).sweep()
    assert folder.exists()


async def test_a_database_of_yesterday_does_not_erase_the_volume(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "TOLERATED", 3)
    folders = [orphan(house) for _ in range(4)]
    await Sweeper(house.parts, Pace(orphaned=0)).sweep()
    assert all(f.exists() for f in folders)


async def test_a_round_goes_over_many_sweeps_before_anything_is_judged(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "TOLERATED", 3)
    folders = [orphan(house) for _ in range(9)]
    sweeper = Sweeper(house.parts, Pace(orphaned=0, folders=2))
    for _ in range(6):
        await sweeper.sweep()
    assert all(f.exists() for f in folders)
    for folder in folders[3:]:
        os.rename(folder, folder.with_name("kept"))
    for _ in range(12):
        await sweeper.sweep()
    assert not any(f.exists() for f in folders[:3])


async def test_a_ladder_whose_job_vanished_is_ended_and_its_reserve_given_back(house: House) -> None:
    stored = await house.stored()
    await house.run("delete from jobs")
    (house.folder(stored["id"]) / "4.webp").write_bytes(b"half-made")
    await Sweeper(house.parts, NOW).sweep()
    found = await house.until("failed", stored["id"])
    assert found.reason
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)


async def test_a_deleted_media_without_a_job_gets_one(house: House) -> None:
    stored = await house.stored()
    await house.run("update media set state = 'deleted' where id = $1", stored["id"])
    await Sweeper(house.parts, NOW).sweep()
    async with working(house.parts):
        async with asyncio.timeout(20):
            while not await house.nothing():
                await asyncio.sleep(0.05)


async def test_a_deleted_user_without_a_job_gets_one(house: House) -> None:
    await house.stored()
    await house.run("update users set deleted_at = now()")
    await Sweeper(house.parts, NOW).sweep()
    async with working(house.parts):
        async with asyncio.timeout(20):
            while (await house.one("select count(*) from users"))[0]:
                await asyncio.sleep(0.05)
    assert house.files() == []


async def test_what_has_expired_is_forgotten(house: House) -> None:
    await house.token("ann")
    await house.stored(headers={"idempotency-key": "k"})
    for table, column in (("sessions", "expires_at"), ("idempotency_keys", "expires_at"), ("heartbeats", "seen_at")):
        await house.run(f"update {table} set {column} = now() - interval '2 days'")
    await house.run("insert into revocations (tag, at) values ('x', now() - interval '1 day')")
    await house.run("update jobs set finished_at = now() - interval '30 days', state = 'failed'")
    await Sweeper(house.parts, NOW).sweep()
    for table in ("sessions", "idempotency_keys", "jobs", "revocations where tag = 'x'"):
        assert (await house.one(f"select count(*) from {table}"))[0] == 0


async def test_one_process_sweeps_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, stopping = 0, 0, asyncio.Event()

    async def sweep(_: Sweeper) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        at_once -= 1

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    running = [asyncio.create_task(Sweeper(house.parts, Pace(every=0.01)).run(stopping)) for _ in range(3)]
    await asyncio.sleep(1)
    stopping.set()
    await asyncio.gather(*running)
    assert most == 1
