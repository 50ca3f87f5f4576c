import asyncio
from typing import Any

import pytest

from chipmunk import jobs, media, users
from chipmunk.errors import DiskFull, Unavailable
from compressor import worker
from compressor.sweep import Pace, Sweeper
from compressor.worker import Worker
from tests.compressor.conftest import House, photo, working

QUICK = Pace(lost=0, leftover=0)


async def job_of(house: House, identifier: str) -> Any:
    return await house.one("select * from jobs where media_id = $1 and kind = 'ladder'", identifier)


async def entries(house: House) -> int:
    count: int = (await house.one("select count(*) from pgqueuer"))[0]
    return count


async def test_a_ladder_that_cannot_succeed_fails_with_a_reason_and_keeps_the_lower_rungs(house: House) -> None:
    stored = await house.stored()
    (house.folder(stored["id"]) / "0").write_bytes(b"\xff\xd8\xff" + bytes(500))
    async with working(house.parts):
        found = await house.until("failed", stored["id"])
    assert found.reason
    assert [r["quality"] for r in found.rungs] == [1, 2, 3]
    assert (await house.standing())[:2] == (stored["total_bytes"], 0)
    job = await job_of(house, stored["id"])
    assert (job["state"], job["reason"]) == ("failed", found.reason)
    assert await entries(house) == 0


async def test_a_ladder_cancelled_while_it_waits_leaves_three_rungs(house: House) -> None:
    stored = await house.stored()
    async with house.database.connection() as connection:
        identifier = (await job_of(house, stored["id"]))["id"]
        await jobs.cancel(connection, house.app_id, identifier, None)
    async with working(house.parts):
        found = await house.until("failed", stored["id"])
    assert found.reason == "cancelled"
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)


async def test_a_ladder_cancelled_at_its_last_moment_leaves_three_rungs(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await house.stored()
    made = house.parts.decoders.finish

    async def slow(*args: Any) -> Any:
        rungs = await made(*args)
        async with house.database.connection() as connection:
            await jobs.cancel(connection, house.app_id, (await job_of(house, stored["id"]))["id"], None)
        return rungs

    monkeypatch.setattr(house.parts.decoders, "finish", slow)
    async with working(house.parts):
        found = await house.until("failed", stored["id"])
    assert found.reason == "cancelled"
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)
    assert len(house.files()) == 4


async def test_a_media_deleted_while_its_ladder_is_made_is_gone_for_good(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await house.stored()
    made, done = house.parts.decoders.finish, asyncio.Event()

    async def slow(*args: Any) -> Any:
        rungs = await made(*args)
        assert (await house.http.delete(f"/v1/media/{stored['id']}")).status_code == 204
        done.set()
        return rungs

    monkeypatch.setattr(house.parts.decoders, "finish", slow)
    async with working(house.parts):
        await asyncio.wait_for(done.wait(), 10)
    assert await house.nothing()
    assert (await job_of(house, stored["id"]))["state"] == "completed"


async def test_what_passes_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await house.stored()
    made, faults = house.parts.decoders.finish, [Unavailable(), DiskFull(), OSError(5, "io"), RuntimeError("odd")]

    async def shaky(*args: Any) -> Any:
        if faults:
            raise faults.pop()
        return await made(*args)

    monkeypatch.setattr(house.parts.decoders, "finish", shaky)
    monkeypatch.setattr(worker, "LONGEST_DELAY", worker.LOOK_EVERY / 10)
    async with working(house.parts):
        found = await house.until("ready", stored["id"])
    assert not faults
    assert len(found.rungs) == 6
    assert (await job_of(house, stored["id"]))["attempts"] == 1


async def test_what_never_passes_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await house.stored()

    async def broken(*_: Any) -> Any:
        raise RuntimeError("odd")

    monkeypatch.setattr(house.parts.decoders, "finish", broken)
    monkeypatch.setattr(worker, "LONGEST_DELAY", worker.LOOK_EVERY / 10)
    async with working(house.parts):
        found = await house.until("failed", stored["id"])
    assert found.reason
    assert "odd" not in found.reason


async def test_a_job_that_ends_its_workers_is_not_tried_for_ever(house: House) -> None:
    stored = await house.stored()
    await house.run("update jobs set state = 'running', attempts = 3")
    async with working(house.parts):
        found = await house.until("failed", stored["id"])
    assert found.reason is not None
    assert "3 workers" in found.reason


async def test_a_stopped_worker_hands_its_job_back_at_no_cost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await house.stored()
    begun = asyncio.Event()

    async def endless(*_: Any) -> Any:
        begun.set()
        await asyncio.sleep(3600)

    with monkeypatch.context() as patch:
        patch.setattr(house.parts.decoders, "finish", endless)
        patch.setattr(worker, "HAND_BACK_SECONDS", 0.2)
        async with working(house.parts):
            await asyncio.wait_for(begun.wait(), 10)
    job = await job_of(house, stored["id"])
    assert (job["state"], job["attempts"]) == ("queued", 0)
    async with working(house.parts):
        await house.until("ready", stored["id"])


async def test_two_workers_on_one_job_end_the_same_as_one(house: House) -> None:
    stored = await house.stored(photo(1200, 900))
    entry = await house.one("select payload from pgqueuer")
    both = Worker(house.parts, asyncio.Event())

    class Entry:
        payload, attempts, entrypoint = entry["payload"], 0, jobs.LADDER

    await asyncio.gather(both.attempt(Entry()), both.attempt(Entry()))  # type: ignore[arg-type]
    found = await house.until("ready", stored["id"])
    assert [r["quality"] for r in found.rungs] == [1, 2, 3, 4, 5, 6]
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)


async def test_a_job_that_the_queue_lost_is_entered_again(house: House) -> None:
    stored = await house.stored()
    await house.run("delete from pgqueuer")
    await Sweeper(house.parts, QUICK).sweep()
    assert await entries(house) == 1
    await Sweeper(house.parts, QUICK).sweep()
    assert await entries(house) == 1
    async with working(house.parts):
        await house.until("ready", stored["id"])


async def test_a_deleted_user_takes_everything_along(house: House) -> None:
    for seed in range(3):
        await house.stored(photo(seed=seed))
    async with house.database.transaction() as connection:
        _, job = await users.delete(connection, house.app_id, "ann")
    async with working(house.parts):
        async with asyncio.timeout(20):
            while (await house.one("select state from jobs where id = $1", job))["state"] != "completed":
                await asyncio.sleep(0.05)
    assert house.files() == []
    for table in ("media", "reservations", "users", "links"):
        assert (await house.one(f"select count(*) from {table}"))[0] == 0


async def test_a_deleted_users_upload_that_was_under_way_is_not_stored(house: House) -> None:
    begin = house.parts.decoders.begin

    async def meanwhile(*args: Any) -> Any:
        async with house.database.transaction() as connection:
            await users.delete(connection, house.app_id, "ann")
        return await begin(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.parts.decoders, "begin", meanwhile)
        answer = await house.put(photo())
    assert answer.status_code == 503
    assert house.files() == []
    async with working(house.parts):
        async with asyncio.timeout(20):
            while (await house.one("select count(*) from users"))[0]:
                await asyncio.sleep(0.05)


async def test_a_purge_that_failed_is_done_by_its_job(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await house.stored()

    async def broken(_: str) -> None:
        raise OSError(5, "io")

    with monkeypatch.context() as patch:
        patch.setattr(type(house.parts.store), "delete", lambda _, key: broken(key))
        assert (await house.http.delete(f"/v1/media/{stored['id']}")).status_code == 204
    assert house.folder(stored["id"]).exists()
    async with house.database.connection() as connection:
        assert await media.exists(connection, (await job_of(house, stored["id"]))["media_id"])
    async with working(house.parts):
        async with asyncio.timeout(20):
            while not await house.nothing():
                await asyncio.sleep(0.05)
