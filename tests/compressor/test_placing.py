"""Where bytes lie: brought, verified, served, taken away. The second place is a volume of its own behind a real row."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from chipmunk import backends, copies, ids, jobs
from chipmunk import media as medias
from chipmunk.backend_fields import Role
from chipmunk.storage import Store, StoreUnavailable
from chipmunk.storage.linter import read
from chipmunk.storage.local import LocalStore
from compressor import placing, sweep
from tests.compressor.conftest import House, photo, working

LOCAL = backends.LOCAL


class Volume(LocalStore):
    """A volume that can be away, spoil what it is given, or be slow."""

    away = False
    spoils = False

    async def put(self, key: str, source: Path) -> str:
        self._there()
        kept = await super().put(key, source)
        if self.spoils:
            self.path(kept).write_bytes(b"spoilt")
        return kept

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        self._there()
        async for chunk in super().open(key, start, end):
            yield chunk

    async def delete(self, key: str) -> None:
        self._there()
        await super().delete(key)

    def _there(self) -> None:
        if self.away:
            raise StoreUnavailable()


async def second(house: House, tmp_path: Path, name: str = "second", role: Role | None = None) -> tuple[int, Volume]:
    """A backend whose store is a volume of its own."""
    store = Volume(tmp_path / name)
    store.root.mkdir()
    async with house.database.transaction() as connection:
        if role == "primary":
            await connection.execute("update backends set role = null where role = 'primary'")
        key, changed = await connection.fetchrow(
            "insert into backends (name, url, role) values ($1, $2, $3) returning id, changed_at",
            name, f"s3+http://127.0.0.1:1/{name}", role,
        )  # fmt: skip
    house.parts.stores._opened[key] = (changed, store)
    house.parts.stores._read_at = float("-inf")
    return key, store


async def rows(house: House, media: str) -> dict[int, tuple[str | None, str]]:
    async with house.database.connection() as connection:
        return {c.backend: (c.role, c.state) for c in await copies.of_media(connection, UUID(hex=media))}


async def home(house: House, media: str) -> int:
    async with house.database.connection() as connection:
        return await medias.home(connection, UUID(hex=media))


async def place(house: House, media: str, wanted: dict[int, Role]) -> None:
    async with house.database.transaction() as connection:
        await copies.place(connection, UUID(hex=media), wanted)


async def settle(house: House, media: str) -> bool:
    return await placing.settle(house.parts, UUID(hex=media))


async def hurry(house: House) -> None:
    await house.run("update copies set leave_at = now() where leave_at is not null")


@pytest.fixture
async def ready(house: House) -> str:
    """A media on the local volume, its ladder done."""
    async with working(house.parts):
        media = str((await house.stored(photo(1400, 1000)))["id"])
        await house.until("ready", media)
    return media


async def contents(store: Store, media: str) -> dict[str, str]:
    """The SHA-256 of each of the seven files."""
    folder = ids.folder(UUID(hex=media))
    names = ["0", *(f"{q}.webp" for q in range(1, 7))]
    return {n: hashlib.sha256(await read(store, f"{folder}/{n}")).hexdigest() for n in names}


async def test_an_upload_goes_where_flows_that_name_no_backend_go(house: House, tmp_path: Path) -> None:
    key, store = await second(house, tmp_path, role="primary")
    async with working(house.parts):
        media = str((await house.stored(photo(1400, 1000)))["id"])
        async with asyncio.timeout(20):
            while await home(house, media) != key:
                await asyncio.sleep(0.05)
        here = await contents(house.parts.store, media)
        assert await contents(store, media) == here
        await hurry(house)
        async with asyncio.timeout(20):
            while await rows(house, media) != {key: ("primary", "stored")}:
                await asyncio.sleep(0.1)
    assert not house.folder(media).exists()


async def test_a_flow_may_name_its_own_and_keep_a_backup(house: House, tmp_path: Path) -> None:
    key, store = await second(house, tmp_path)
    await house.flow("kept")
    async with house.database.transaction() as connection:
        flow = await connection.fetchval("select id from flows where name = 'kept'")
        await backends.place_flow(
            connection, flow, [backends.Placed("local", "primary"), backends.Placed("second", "backup")]
        )
    async with working(house.parts):
        media = str((await house.stored(photo(), flow="kept"))["id"])
        plain = str((await house.stored(photo(seed=2)))["id"])
        async with asyncio.timeout(20):
            while await rows(house, media) != {LOCAL: ("primary", "stored"), key: ("backup", "stored")}:
                await asyncio.sleep(0.05)
    assert await home(house, media) == LOCAL
    assert await contents(store, media) == await contents(house.parts.store, media)
    assert await rows(house, plain) == {}


async def test_a_source_stays_until_its_copy_is_whole(house: House, tmp_path: Path, ready: str) -> None:
    key, store = await second(house, tmp_path)
    store.spoils = True
    await place(house, ready, {key: "primary"})
    with pytest.raises(StoreUnavailable):
        await settle(house, ready)
    assert await home(house, ready) == LOCAL
    assert await rows(house, ready) == {LOCAL: (None, "stored"), key: ("primary", "wanted")}
    assert house.folder(ready).exists()
    store.spoils = False
    assert not await settle(house, ready)
    assert await home(house, ready) == key
    assert house.folder(ready).exists()
    await hurry(house)
    assert await settle(house, ready)
    assert not house.folder(ready).exists()


async def test_there_and_back_again_leaves_no_trace(house: House, tmp_path: Path, ready: str) -> None:
    key, store = await second(house, tmp_path)
    before = await contents(house.parts.store, ready)
    for wanted, last in (({key: "primary"}, key), ({LOCAL: "primary"}, LOCAL)):
        await place(house, ready, wanted)  # type: ignore[arg-type]
        assert not await settle(house, ready)
        await hurry(house)
        assert await settle(house, ready)
        assert await home(house, ready) == last
    assert await contents(house.parts.store, ready) == before
    assert await rows(house, ready) == {}
    assert [p for p in store.root.rglob("*") if p.is_file()] == []


async def test_what_was_leaving_and_is_wanted_again_stays(house: House, tmp_path: Path, ready: str) -> None:
    key, _ = await second(house, tmp_path)
    await place(house, ready, {key: "primary"})
    await settle(house, ready)
    await place(house, ready, {LOCAL: "primary"})
    await hurry(house)
    await settle(house, ready)
    assert await home(house, ready) == LOCAL
    assert house.folder(ready).exists()


async def test_a_damaged_source_is_never_copied(house: House, tmp_path: Path, ready: str) -> None:
    key, store = await second(house, tmp_path)
    (house.folder(ready) / "0").write_bytes(b"damaged")
    await place(house, ready, {key: "primary"})
    with pytest.raises(Exception, match="No store"):
        await settle(house, ready)
    assert await home(house, ready) == LOCAL
    assert not any(p.is_file() for p in store.root.rglob("*"))


async def test_a_delete_takes_every_copy_and_waits_for_a_store_that_is_away(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    assert await settle(house, ready)
    store.away = True
    answer = await house.http.delete(f"/v1/media/{ready}")
    assert answer.status_code == 204
    assert not house.folder(ready).exists()
    assert await rows(house, ready) == {key: ("backup", "stored")}
    async with house.database.connection() as connection:
        assert (await backends.counts(connection))[key] == (1, 1)
    assert (await house.standing())[2] == 1
    store.away = False
    async with working(house.parts):
        async with asyncio.timeout(30):
            while (await house.standing()) != (0, 0, 0):
                await asyncio.sleep(0.1)
    assert not any(p.is_file() for p in store.root.rglob("*"))


async def test_a_media_deleted_while_it_is_copied_leaves_nothing(house: House, tmp_path: Path, ready: str) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    real = placing.verify
    deleted = False

    async def slow(target: Store, put: copies.Stored) -> None:
        nonlocal deleted
        await real(target, put)
        if not deleted:
            deleted = True
            await house.http.delete(f"/v1/media/{ready}")

    placing.verify = slow
    try:
        await asyncio.gather(settle(house, ready), return_exceptions=True)
    finally:
        placing.verify = real
    assert deleted
    assert not any(p.is_file() for p in store.root.rglob("*"))
    assert await house.standing() == (0, 0, 0)


async def enqueue(house: House, kind: str, payload: dict[str, int]) -> UUID:
    async with house.database.transaction() as connection:
        return await jobs.enqueue(connection, kind, app=house.app_id, payload=payload)


async def ended(house: House, job: UUID, seconds: float = 60) -> jobs.Job:
    async with asyncio.timeout(seconds):
        while True:
            async with house.database.connection() as connection:
                found = await jobs.find(connection, job)
            assert found is not None
            if found.state not in ("queued", "running"):
                return found
            await asyncio.sleep(0.1)


async def test_a_flow_moves_whole_and_says_how_far_it_is(house: House, tmp_path: Path) -> None:
    key, store = await second(house, tmp_path)
    await house.flow("trip")
    async with working(house.parts):
        made = [str((await house.stored(photo(seed=n), flow="trip"))["id"]) for n in range(6)]
        for media in made:
            await house.until("ready", media)
        async with house.database.transaction() as connection:
            flow = await connection.fetchval("select id from flows where name = 'trip'")
            await backends.place_flow(connection, flow, [backends.Placed("second", "primary")])
        job = await ended(house, await enqueue(house, jobs.MOVE, {"flow": flow}))
    assert job.state == "completed"
    assert job.progress == {"total": 6, "done": 6, "failed": 0}
    for media in made:
        assert await rows(house, media) == {key: ("primary", "stored")}
        assert not house.folder(media).exists()
        assert len(await contents(store, media)) == 7


async def test_a_scrub_mends_what_is_damaged_and_takes_what_nobody_knows(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {key: "primary", LOCAL: "backup"})
    await settle(house, ready)
    before = await contents(house.parts.store, ready)
    store.path(f"{ids.folder(UUID(hex=ready))}/3.webp").write_bytes(b"rotten")
    async with working(house.parts):
        job = await ended(house, await enqueue(house, jobs.SCRUB, {"backend": key}))
        assert job.progress is not None
        assert (job.progress["checked"], job.progress["damaged"], job.progress["lost"]) == (1, 1, 0)
        async with asyncio.timeout(20):
            while await rows(house, ready) != {key: ("primary", "stored"), LOCAL: ("backup", "stored")}:
                await asyncio.sleep(0.1)
    assert await contents(store, ready) == before
    assert await home(house, ready) == key


async def test_the_sweep_has_forgotten_copies_made(house: House, tmp_path: Path, ready: str) -> None:
    key, _ = await second(house, tmp_path)
    await place(house, ready, {LOCAL: "primary", key: "backup"})
    await sweep.Sweeper(house.parts)._jobs()
    async with working(house.parts):
        async with asyncio.timeout(20):
            while await rows(house, ready) != {LOCAL: ("primary", "stored"), key: ("backup", "stored")}:
                await asyncio.sleep(0.1)


async def test_a_store_that_is_gone_for_good_is_given_up_without_what_lies_elsewhere(
    house: House, tmp_path: Path, ready: str
) -> None:
    key, store = await second(house, tmp_path)
    await place(house, ready, {key: "primary", LOCAL: "backup"})
    await settle(house, ready)
    async with working(house.parts):
        alone = str((await house.stored(photo(seed=9)))["id"])
        await house.until("ready", alone)
    await place(house, alone, {key: "primary"})
    await settle(house, alone)
    await hurry(house)
    await settle(house, alone)
    store.away = True
    async with house.database.transaction() as connection:
        assert await backends.give_up(connection, "second") == 1
    assert await home(house, ready) == LOCAL
    assert await rows(house, ready) == {LOCAL: ("backup", "stored")}
    assert await rows(house, alone) == {key: ("primary", "stored")}
    await house.http.delete(f"/v1/media/{alone}")
    async with house.database.transaction() as connection:
        assert await backends.give_up(connection, "second") == 0
        await backends.delete(connection, "second")


async def test_a_move_ends_with_a_reason_where_only_lost_media_are_left(house: House, tmp_path: Path) -> None:
    key, _ = await second(house, tmp_path)
    await house.flow("torn")
    async with working(house.parts):
        made = [str((await house.stored(photo(seed=n), flow="torn"))["id"]) for n in range(2)]
        for media in made:
            await house.until("ready", media)
        (house.folder(made[0]) / "0").write_bytes(b"damaged")
        async with house.database.transaction() as connection:
            flow = await connection.fetchval("select id from flows where name = 'torn'")
            await backends.place_flow(connection, flow, [backends.Placed("second", "primary")])
        job = await ended(house, await enqueue(house, jobs.MOVE, {"flow": flow}))
    assert (job.state, job.progress) == ("failed", {"total": 2, "done": 1, "failed": 1})
    assert job.reason is not None
    assert job.reason.startswith("Of 1 media no copy is whole")
    assert await rows(house, made[1]) == {key: ("primary", "stored")}
