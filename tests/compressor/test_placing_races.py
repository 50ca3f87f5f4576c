"""Two at once, and an end at any line: no interleaving of copies, moves, scrubs and deletes loses a byte or leaves one."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from chipmunk import backends, copies, ids, jobs, reading, whereabouts
from chipmunk import media as medias
from chipmunk.errors import Lost, Problem, Unprocessable
from chipmunk.jobs import Job
from chipmunk.storage import Stat, Store, StoreUnavailable
from compressor import moving, placing, purge, scrub
from gateway.api.fetching import Reader
from tests.compressor.conftest import House, photo, working
from tests.compressor.test_placing import (
    LOCAL,
    Volume,
    contents,
    ended,
    enqueue,
    home,
    hurry,
    place,
    ready,
    rows,
    second,
    settle,
)

__all__ = ["ready"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits before it leaves."""
    for module in (copies, moving):
        monkeypatch.setattr(module, "LEAVE_AFTER", timedelta(0))


def verifying(monkeypatch: pytest.MonkeyPatch, then: Callable[[int], Awaitable[None]]) -> None:
    """Has `then` called with its number after each file that was verified."""
    real, done = placing.verify, 0

    async def verify(store: Store, put: copies.Stored) -> None:
        nonlocal done
        await real(store, put)
        done += 1
        await then(done)

    monkeypatch.setattr(placing, "verify", verify)


class Held:
    """One attempt that has verified all seven files, and waits before it says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        verifying(monkeypatch, self._after)

    async def _after(self, number: int) -> None:
        if number == 7:
            self.reached.set()
            await self.go.wait()


async def flow_of(house: House, name: str, *placed: backends.Placed) -> int:
    await house.flow(name)
    async with house.database.transaction() as connection:
        flow = int(await connection.fetchval("select id from flows where name = $1", name))
        await backends.place_flow(connection, flow, placed)
    return flow


async def some(house: House, flow: str, count: int) -> list[str]:
    async with working(house.parts):
        made = [str((await house.stored(photo(seed=n), flow=flow))["id"]) for n in range(count)]
        for media in made:
            await house.until("ready", media)
    return made


async def running(house: House, kind: str, payload: dict[str, int]) -> Job:
    """A job that this test does itself."""
    job = await enqueue(house, kind, payload)
    async with house.database.connection() as connection:
        await connection.execute("delete from pgqueuer")
        found = await jobs.start(connection, job)
    assert found is not None
    return found


async def test_an_attempt_that_fails_takes_nothing_from_one_that_does_not(
    house: House, tmp_path: Path, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {key: "primary"})
    before, held = await contents(house.parts.store, ready), Held(monkeypatch)
    first = asyncio.ensure_future(settle(house, ready))
    await held.reached.wait()

    async def fails(number: int) -> None:
        raise StoreUnavailable()

    verifying(monkeypatch, fails)
    with pytest.raises(StoreUnavailable):
        await settle(house, ready)
    held.go.set()
    await first
    assert await home(house, ready) == key
    assert await contents(store, ready) == before


async def test_what_was_put_before_a_copy_was_taken_is_not_taken_for_a_later_one(
    house: House, tmp_path: Path, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {key: "primary"})
    before, held = await contents(house.parts.store, ready), Held(monkeypatch)
    first = asyncio.ensure_future(settle(house, ready))
    await held.reached.wait()
    await place(house, ready, {LOCAL: "primary"})
    await settle(house, ready)
    await hurry(house)
    assert await settle(house, ready)
    await place(house, ready, {key: "primary"})
    held.go.set()
    with suppress(Problem):
        await first
    await settle(house, ready)
    assert await home(house, ready) == key
    assert await contents(store, ready) == before


class Breaking(Volume):
    """Takes the bytes, and then fails."""

    breaks = False

    async def delete(self, key: str) -> None:
        await super().delete(key)
        if self.breaks:
            raise StoreUnavailable()


async def breaking(house: House, tmp_path: Path) -> tuple[int, Breaking]:
    key, store = await second(house, tmp_path)
    other = Breaking(store.root)
    house.parts.stores._opened[key] = (house.parts.stores._opened[key][0], other)
    return key, other


async def test_a_copy_that_was_half_taken_is_not_served_when_it_is_wanted_again(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, store = await breaking(house, tmp_path)
    before = await contents(house.parts.store, ready)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    assert await settle(house, ready)
    await place(house, ready, {LOCAL: "primary"})
    await settle(house, ready)
    await hurry(house)
    store.breaks = True
    with pytest.raises(StoreUnavailable):
        await settle(house, ready)
    store.breaks = False
    await place(house, ready, {key: "primary"})
    await settle(house, ready)
    assert await home(house, ready) == key
    assert await contents(store, ready) == before


class Slow(Volume):
    """Says when it begins to take, and waits."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.taking, self.go = asyncio.Event(), asyncio.Event()

    async def delete(self, key: str) -> None:
        self.taking.set()
        await self.go.wait()
        await super().delete(key)


async def test_what_is_wanted_again_while_it_is_taken_is_brought_again(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, fast = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    assert await settle(house, ready)
    await place(house, ready, {LOCAL: "primary"})
    await settle(house, ready)
    await hurry(house)
    store = Slow(fast.root)
    house.parts.stores._opened[key] = (house.parts.stores._opened[key][0], store)
    taking = asyncio.ensure_future(settle(house, ready))
    await store.taking.wait()
    wanting = asyncio.ensure_future(place(house, ready, {key: "backup", LOCAL: "primary"}))
    await asyncio.sleep(0.3)
    store.go.set()
    await asyncio.gather(taking, wanting)
    assert await settle(house, ready)
    assert await rows(house, ready) == {LOCAL: ("primary", "stored"), key: ("backup", "stored")}
    assert await contents(store, ready) == await contents(house.parts.store, ready)


async def test_a_media_deleted_while_a_put_of_it_is_under_way_leaves_nothing(
    house: House, tmp_path: Path, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    folder = ids.folder(UUID(hex=ready))

    async def deleted(number: int) -> None:
        if number == 1:
            await house.http.delete(f"/v1/media/{ready}")
            await Volume.put(store, f"{folder}/6.webp", tmp_path / "late")  # its answer never came
            raise StoreUnavailable()

    (tmp_path / "late").write_bytes(b"late")
    verifying(monkeypatch, deleted)
    await asyncio.gather(settle(house, ready), return_exceptions=True)
    assert not any(p.is_file() for p in store.root.rglob("*"))


async def test_a_media_that_goes_while_its_flow_moves_stops_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    flow = await flow_of(house, "trip")
    made = await some(house, "trip", 3)
    key, _ = await second(house, tmp_path)
    await flow_of(house, "trip", backends.Placed("second", "primary"))
    job, real = await running(house, jobs.MOVE, {"flow": flow}), whereabouts.of_flow

    async def listed(*args: Any, **more: Any) -> list[UUID]:
        found = await real(*args, **more)
        if UUID(hex=made[0]) in found:
            assert (await house.http.delete(f"/v1/media/{made[0]}")).status_code == 204
        return found

    monkeypatch.setattr(whereabouts, "of_flow", listed)
    assert await moving.move(house.parts, job)
    for media in made[1:]:
        assert await rows(house, media) == {key: ("primary", "stored")}
    assert await rows(house, made[0]) == {}


async def test_one_media_that_cannot_be_moved_keeps_no_other(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    flow = await flow_of(house, "trip")
    made = await some(house, "trip", 3)
    key, _ = await second(house, tmp_path)
    await flow_of(house, "trip", backends.Placed("second", "primary"))
    real = hashlib.file_digest

    def digest(file: Any, name: str) -> Any:
        if made[0] in file.name:
            raise OSError(errno.EIO, "a sector has gone")
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    with pytest.raises(Unprocessable, match="Of 1 media no copy is whole"):
        await moving.move(house.parts, await running(house, jobs.MOVE, {"flow": flow}))
    for media in made[1:]:
        assert await rows(house, media) == {key: ("primary", "stored")}
    assert await home(house, made[0]) == LOCAL


async def test_a_copy_that_the_disk_cannot_read_is_mended_from_another(
    house: House, tmp_path: Path, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    assert await settle(house, ready)
    real = hashlib.file_digest

    def digest(file: Any, name: str) -> Any:
        if file.name == str(house.folder(ready) / "0"):
            raise OSError(errno.EIO, "a sector has gone")
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    await scrub.scrub(house.parts, await running(house, jobs.SCRUB, {"backend": LOCAL}))
    assert await home(house, ready) == key
    assert (await rows(house, ready))[LOCAL] == ("primary", "damaged")


async def test_a_move_whose_worker_is_killed_goes_on(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    flow = await flow_of(house, "trip")
    made = await some(house, "trip", 6)
    key, store = await second(house, tmp_path)
    await flow_of(house, "trip", backends.Placed("second", "primary"))
    job, reached = await running(house, jobs.MOVE, {"flow": flow}), asyncio.Event()

    async def killed(number: int) -> None:
        if number == 20:
            reached.set()
        if number >= 20:
            await asyncio.sleep(60)

    verifying(monkeypatch, killed)
    attempt = asyncio.ensure_future(moving.move(house.parts, job))
    await reached.wait()
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    for media in made:
        where = await home(house, media)
        assert len(await contents(store if where == key else house.parts.store, media)) == 7
    monkeypatch.undo()
    for module in (copies, moving):
        monkeypatch.setattr(module, "LEAVE_AFTER", timedelta(0))
    assert await moving.move(house.parts, job)
    for media in made:
        assert await rows(house, media) == {key: ("primary", "stored")}
        assert len(await contents(store, media)) == 7
        assert not house.folder(media).exists()


async def test_a_cancelled_move_stops_soon_and_leaves_all_served(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = await flow_of(house, "trip")
    made = await some(house, "trip", 8)
    key, store = await second(house, tmp_path)
    await flow_of(house, "trip", backends.Placed("second", "primary"))
    monkeypatch.setattr(moving, "TOLD_SECONDS", 0.0)
    monkeypatch.setattr(moving, "AT_ONCE", 1)
    async with working(house.parts):
        job = await enqueue(house, jobs.MOVE, {"flow": flow})
        stopped = False

        async def cancelled(number: int) -> None:
            nonlocal stopped
            if number == 10 and not stopped:
                stopped = True
                async with house.database.transaction() as connection:
                    await jobs.cancel(connection, None, job, None)

        verifying(monkeypatch, cancelled)
        assert (await ended(house, job)).state == "cancelled"
        await asyncio.sleep(1)
    placed = [media for media in made if await rows(house, media)]
    assert len(placed) <= 3
    for media in made:
        where = await home(house, media)
        assert len(await contents(store if where == key else house.parts.store, media)) == 7


async def test_a_job_that_was_handed_back_is_not_one_that_was_cancelled(house: House) -> None:
    job = await running(house, jobs.MOVE, {"flow": 1})
    async with house.database.connection() as connection:
        await jobs.hand_back(connection, job.id)
        assert await jobs.advance(connection, job.id, {"total": 1})
        await jobs.cancel(connection, None, job.id, None)
        assert not await jobs.advance(connection, job.id, {"total": 1})


async def test_a_move_that_waits_keeps_no_other_media_from_being_brought(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, _ = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    await flow_of(house, "other")
    await running(house, jobs.MOVE, {"flow": (await house.one("select id from flows where name = 'other'"))[0]})
    async with house.database.transaction() as connection:
        assert await copies.enqueue_unsettled(connection) == 1


class Listed(Volume):
    """Can be listed; nothing in it is new."""

    async def listed(self, prefix: str = "") -> AsyncIterator[tuple[str, Stat]]:
        for path in [p for p in self.root.rglob("*") if p.is_file()]:
            yield str(path.relative_to(self.root)), Stat(path.stat().st_size, datetime.now(UTC) - timedelta(days=1))


async def test_what_comes_back_while_orphans_are_looked_for_is_not_taken(
    house: House, tmp_path: Path, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = await second(house, tmp_path)
    store = Listed(other.root)
    house.parts.stores._opened[key] = (house.parts.stores._opened[key][0], store)
    left = tmp_path / "left"
    left.write_bytes(b"of an attempt that died")
    await store.put(f"{ids.folder(UUID(hex=ready))}/0", left)
    before, real = await contents(house.parts.store, ready), whereabouts.strangers
    came = False

    async def strangers(*args: Any) -> list[UUID]:
        nonlocal came
        found = await real(*args)
        if not came:
            came = True
            await place(house, ready, {key: "primary"})
            await settle(house, ready)
        return found

    monkeypatch.setattr(whereabouts, "strangers", strangers)
    await scrub.scrub(house.parts, await running(house, jobs.SCRUB, {"backend": key}))
    assert await home(house, ready) == key
    assert await contents(store, ready) == before


async def test_orphans_of_media_that_are_gone_or_elsewhere_are_taken(house: House, tmp_path: Path, ready: str) -> None:
    key, other = await second(house, tmp_path)
    store = Listed(other.root)
    house.parts.stores._opened[key] = (house.parts.stores._opened[key][0], store)
    left = tmp_path / "left"
    left.write_bytes(b"of an attempt that died")
    for identifier in (UUID(hex=ready), uuid4()):
        await store.put(f"{ids.folder(identifier)}/0", left)
    await scrub.scrub(house.parts, await running(house, jobs.SCRUB, {"backend": key}))
    assert not any(p.is_file() for p in store.root.rglob("*"))
    assert house.folder(ready).exists()


async def test_a_damaged_copy_keeps_the_one_that_was_to_leave(house: House, tmp_path: Path, ready: str) -> None:
    key, store = await second(house, tmp_path)
    before = await contents(house.parts.store, ready)
    await place(house, ready, {key: "primary"})
    await settle(house, ready)
    await hurry(house)
    async with house.database.connection() as connection:
        await copies.damaged(connection, UUID(hex=ready), key)
    await placing._take(house.parts, UUID(hex=ready))
    assert house.folder(ready).exists()
    await settle(house, ready)
    assert await contents(store, ready) == before


async def test_a_damaged_copy_is_not_given_up_for_one_that_has_left(house: House, tmp_path: Path, ready: str) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {key: "primary"})
    await settle(house, ready)
    async with house.database.connection() as connection:
        found = await medias.find(connection, UUID(hex=ready))
    assert found is not None
    look = scrub.Scrub(house.parts, await running(house, jobs.SCRUB, {"backend": key}))
    await hurry(house)
    real = look._still_there

    async def left(identifier: UUID) -> bool:
        still = await real(identifier)
        await settle(house, ready)
        return still

    look._still_there = left  # type: ignore[method-assign]
    store.path(f"{ids.folder(found.id)}/3.webp").write_bytes(b"rotten")
    await look._look(found.id)
    assert await rows(house, ready) == {key: ("primary", "stored")}
    assert await home(house, ready) == key
    assert look._report.lost == 1


class Node(Volume):
    """Says that it is addressed by content."""

    async def unpin(self, key: str, name: str) -> None:
        await self.delete(key)

    async def named(self, prefix: str = "") -> AsyncIterator[tuple[str, Stat]]:
        for name in list[str]():
            yield name, Stat(0, datetime.now(UTC))


async def test_a_flow_that_becomes_private_keeps_its_media_from_lying_in_the_open(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.flow("shown", visibility="public")
    media = (await some(house, "shown", 1))[0]
    key, other = await second(house, tmp_path)
    store = Node(other.root)
    house.parts.stores._opened[key] = (house.parts.stores._opened[key][0], store)
    await house.run(
        "update backends set url = 'ipfs+http://127.0.0.1:1', options = '{\"plain\": \"public\"}' where id = $1", key
    )
    house.parts.stores._read_at = float("-inf")
    await place(house, media, {LOCAL: "primary", key: "backup"})

    async def hidden(number: int) -> None:
        if number == 1:
            await house.flow("shown", visibility="private")

    verifying(monkeypatch, hidden)
    with suppress(Problem):
        await settle(house, media)
    assert await rows(house, media) == {LOCAL: ("primary", "stored"), key: ("backup", "wanted")}
    assert not any(p.is_file() for p in store.root.rglob("*"))
    assert await settle(house, media)
    async with house.database.connection() as connection:
        assert [row.cid for row in await copies.of_media(connection, UUID(hex=media))] == [None, None]


async def test_a_user_goes_from_everywhere_but_the_store_that_is_away(house: House, tmp_path: Path) -> None:
    made = await some(house, "general", 3)
    key, store = await second(house, tmp_path)
    await place(house, made[0], {LOCAL: "primary", key: "backup"})
    assert await settle(house, made[0])
    store.away = True
    await house.run("update users set deleted_at = now() where id = $1", house.keys["ann"])
    async with house.database.transaction() as connection:
        job = await jobs.enqueue(connection, jobs.PURGE_USER, app=house.app_id, user=house.keys["ann"])
        found = await jobs.find(connection, job)
    assert found is not None
    with pytest.raises(StoreUnavailable):
        await purge.purge_user(house.parts, found)
    assert [house.folder(media).exists() for media in made] == [False, False, False]
    assert [row["id"].hex for row in await house.many("select id from media")] == [made[0]]
    store.away = False
    assert await purge.purge_user(house.parts, found)
    assert not any(p.is_file() for p in store.root.rglob("*"))


async def test_who_has_begun_to_read_goes_on_where_the_media_has_moved(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, _ = await second(house, tmp_path)
    third, _ = await second(house, tmp_path, "third")
    whole = (house.folder(ready) / "0").read_bytes()
    await place(house, ready, {key: "primary"})
    await settle(house, ready)
    await hurry(house)
    assert await settle(house, ready)
    for wanted in ({third: "primary"}, {LOCAL: "primary"}):
        async with house.database.connection() as connection:
            found = await reading.find(connection, UUID(hex=ready))
        assert found is not None
        reader = Reader(house.parts.stores, found, "0")
        assert await reader.read(0, 100) == whole[:100]
        await place(house, ready, wanted)  # type: ignore[arg-type]
        await settle(house, ready)
        await hurry(house)
        assert await settle(house, ready)
        assert await reader.read(100, 200, begun=True) == whole[100:200]


async def test_a_media_without_a_whole_copy_is_lost_and_says_so(house: House, tmp_path: Path, ready: str) -> None:
    key, _ = await second(house, tmp_path)
    (house.folder(ready) / "0").write_bytes(b"damaged")
    await place(house, ready, {key: "primary"})
    with pytest.raises(Lost):
        await settle(house, ready)
