"""Views of media that lie elsewhere, as the API's process answers nginx: against real rows, with stores that fail on demand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chipmunk import apps, backends, config, copies, db, ids, media, media_keys, quotas, storing, users
from chipmunk.backend_fields import Described, settled
from chipmunk.copies import Stored
from chipmunk.errors import NotFound, Problem, Unavailable
from chipmunk.storage import Missing, StoreUnavailable
from chipmunk.storage.local import LocalStore
from chipmunk.storage.memory import MemoryStore
from chipmunk.storage.sealed import SealedStore
from chipmunk.stores import Stores
from chipmunk.storing import New
from gateway.api import fetching, stored
from gateway.api.stored import StoredViews

ORIGINAL, RUNG = bytes(range(256)) * 10_000, b"RIFF a rung"
Act = Callable[[], Awaitable[None]]


class Shelf(MemoryStore):
    """A store that can be away, silent or slow, and does something at its first read."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.reads = "there", 0
        self.then: Act | None = None

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        self.reads += 1
        if self.then is not None:
            await self.then()
        match self.state:
            case "away":
                raise StoreUnavailable()
            case "empty":
                raise Missing()
            case "silent":
                await asyncio.sleep(60)
        async for piece in super().open(key, start, end):
            match self.state:
                case "short":
                    yield piece[:-1]
                case "long":
                    yield piece + b"x"
                case "spoilt":
                    yield bytes([piece[0] ^ 1]) + piece[1:]
                case _:
                    yield piece[:5]
                    yield piece[5:]


class House:
    """A media with an original and rungs 1 to 3, shelves behind real rows, and the app."""

    def __init__(self, database: db.Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        settings = config.load({}, secret_keys=("k" * 40,), master_keys=("m" * 40,))
        self.stores = Stores(settings, database, LocalStore(folder / "store"))
        self.app = StoredViews()
        self.state = SimpleNamespace(parts=SimpleNamespace(database=database, stores=self.stores))

    async def fill(self, state: str = "ready") -> None:
        async with self.database.transaction() as connection:
            app = await apps.default_app(connection)
            user, _, _ = await users.put(connection, app, "ann", quota=None, suspended=None, given=frozenset())
        self.media = await quotas.reserve(self.database, user.key, 1000, 1000)
        rungs = [{"quality": q, "width": 1, "height": 1, "bytes": len(RUNG)} for q in (1, 2, 3)]
        new = New(
            self.media, app, user.key, "image", "image/jpeg", "é.jpg", 1, 1, len(ORIGINAL), b"x", None, False, rungs, {}, (),
        )  # fmt: skip
        async with self.database.transaction() as connection:
            await storing.insert(connection, new, climbing=state == "processing")

    async def shelf(self, name: str, role: backends.Role | None, url: str = "s3+http://127.0.0.1:9/bucket") -> Shelf:
        """A backend of that name with a copy; the primary serves."""
        shelf, given = Shelf(), {"access_key": "a", "secret_key": "b"} if url.startswith("s3") else {}
        described = Described.model_validate({"url": url, **given})
        async with self.database.transaction() as connection:
            made, _ = await backends.put(connection, self.stores.vault, name, settled(name, described))
            await copies.place(connection, self.media, {**await self.roles(connection), made.key: role or "backup"})
            self.stores._opened[made.key] = (made.changed_at, shelf)
            self.stores._read_at = float("-inf")
            key = None if made.kind == "s3" else await media_keys.made(connection, self.stores.vault, self.media)
            keeping = shelf if key is None else SealedStore(shelf, key, self.folder)
            objects = {}
            for file, data in {"0": ORIGINAL, **{f"{q}.webp": RUNG for q in (1, 2, 3)}}.items():
                source = self.folder / "source"
                source.write_bytes(data)
                used = await keeping.put(copies.object_key(self.media, file), source)
                objects[file] = Stored(used, len(data), hashlib.sha256(data).hexdigest())
            wanted = next(c for c in await copies.of_media(connection, self.media) if c.backend == made.key)
            await copies.store(connection, wanted, objects, None)
            if role == "primary":
                await copies.serve_from(connection, self.media, made.key)
        return shelf

    async def roles(self, connection: db.Connection) -> dict[int, backends.Role]:
        rows = await copies.of_media(connection, self.media)
        return {row.backend: row.role for row in rows if row.role is not None and row.backend != backends.LOCAL}

    async def ask(
        self, quality: int, method: str = "GET", path: str = "", leaves: float = 60, again: bool = False, **asked: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The answer; cut short where the app ends before its end. Whoever asks leaves after some seconds."""
        path = path or f"/-/stored/{ids.folder(self.media)}/{quality}{'/again' * again}"
        said = [(name.replace("_", "-").encode(), value.encode()) for name, value in asked.items()]
        scope = {"type": "http", "method": method, "raw_path": path.encode(), "headers": said, "app": self}
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(leaves)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            await asyncio.sleep(0)

        await self.app(scope, receive, send)
        fields = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        self.ended = not sent[-1].get("more_body", False)
        return sent[0]["status"], fields, b"".join(m["body"] for m in sent[1:])


@pytest.fixture
async def house(database: str, tmp_path: Path) -> AsyncIterator[House]:
    async with db.opened(config.load({"CHIPMUNK_DATABASE_URL": database})) as opened:
        yield House(opened, tmp_path)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SOON", (0.2, 0.4))
    monkeypatch.setattr(fetching, "LAST", (0.6, 1.0))


async def test_a_rung_comes_whole_for_nginx_to_keep(house: House) -> None:
    await house.fill()
    await house.shelf("first", "primary")
    status, fields, body = await house.ask(3)
    assert (status, body) == (200, RUNG)
    assert fields.pop("last-modified").endswith(" GMT")
    assert fields == {
        "content-type": "image/webp",
        "content-length": str(len(RUNG)),
        "etag": f'"{hashlib.sha256(RUNG).hexdigest()[:32]}"',
        "accept-ranges": "bytes",
        "x-accel-expires": "604800",
    }
    with pytest.raises(NotFound):
        await house.ask(4)


async def test_a_rung_that_stands_in_for_one_that_is_being_made_is_not_kept(house: House) -> None:
    await house.fill("processing")
    await house.shelf("first", "primary")
    for quality in (4, 5, 6):
        status, fields, body = await house.ask(quality)
        assert (status, body) == (200, RUNG)
        assert (fields["cache-control"], fields["x-accel-expires"]) == ("no-store", "0")
    assert "cache-control" not in (await house.ask(3))[1]


@pytest.mark.parametrize("state", ["away", "silent", "empty", "short", "long", "spoilt"])
@pytest.mark.parametrize("quality", [0, 2])
async def test_another_copy_is_asked_where_the_first_gives_nothing_or_something_else(
    house: House, state: str, quality: int
) -> None:
    await house.fill()
    first, second = await house.shelf("first", "primary"), await house.shelf("second", "backup")
    first.state = state
    status, _, body = await house.ask(quality, range="bytes=0-9" if quality == 0 and state != "spoilt" else "")
    if quality == 0 and state == "spoilt":
        assert not house.ended  # its last stretch is missing: the connection is cut
        assert len(body) < len(ORIGINAL)
        return
    assert (status, body) == ((206, ORIGINAL[:10]) if quality == 0 else (200, RUNG))
    assert (first.reads, second.reads) == (1, 1)
    await house.ask(quality, range="bytes=0-9")
    assert first.reads == (1 if state in ("away", "silent") else 2)  # what is down is asked last for a while


async def test_where_no_copy_can_be_read_it_is_unavailable_for_now(house: House) -> None:
    await house.fill()
    first, second = await house.shelf("first", "primary"), await house.shelf("second", "archive")
    async with house.database.transaction() as connection:
        await copies.let_leave(connection, house.media)
        await copies.forget(connection, house.media, backends.LOCAL)
    first.state, second.state = "away", "silent"
    for quality in (0, 1, 0):
        with pytest.raises(Unavailable):
            await house.ask(quality)
    first.state = "there"
    assert (await house.ask(1))[2] == RUNG


async def test_a_backend_that_failed_its_check_is_asked_last(house: House) -> None:
    await house.fill()
    first, second = await house.shelf("first", "primary"), await house.shelf("second", "backup")
    async with house.database.connection() as connection:
        found = await backends.get(connection, "first")
        await backends.note_health(connection, found.key, "It is down.")
    assert (await house.ask(1))[2] == RUNG
    assert (first.reads, second.reads) == (0, 1)


async def test_the_local_volume_is_nginxs_to_send(house: House) -> None:
    await house.fill()
    for quality, file, mime in ((0, "0", "image/jpeg"), (2, "2.webp", "image/webp")):
        status, fields, body = await house.ask(quality)
        assert (status, body) == (200, b"")
        path = f"/-/local/{ids.folder(house.media)}/{file}"
        assert fields == {"content-type": mime, "content-length": "0", "x-accel-redirect": path}
    first = await house.shelf("first", "primary")
    first.state = "away"
    assert "x-accel-redirect" in (await house.ask(2))[1]
    assert "x-accel-redirect" in (await house.ask(0))[1]


async def test_what_nginx_did_not_find_on_the_local_volume_is_read_from_wherever_it_is(house: House) -> None:
    await house.fill()
    for quality in (0, 2):
        with pytest.raises(Unavailable):
            await house.ask(quality, again=True)
    first = await house.shelf("first", "primary")
    first.state = "away"
    for quality in (0, 2):
        assert "x-accel-redirect" in (await house.ask(quality))[1]
        with pytest.raises(Unavailable):
            await house.ask(quality, again=True)
    first.state = "there"
    assert (await house.ask(2, again=True))[2] == RUNG
    assert (await house.ask(0, again=True))[2] == ORIGINAL
    assert (await house.ask(0, again=True, range="bytes=0-9"))[2] == ORIGINAL[:10]
    async with house.database.transaction() as connection:
        await media.delete(connection, await apps.default_app(connection), house.media, None)
    with pytest.raises(NotFound):
        await house.ask(2, again=True)


async def test_an_original_is_sealed_on_ipfs_and_comes_as_it_was(house: House) -> None:
    await house.fill()
    node = await house.shelf("node", "primary", "ipfs+http://127.0.0.1:5001")
    assert ORIGINAL[:100] not in node._objects[copies.object_key(house.media, "0")][0]
    assert (await house.ask(0))[2] == ORIGINAL
    assert (await house.ask(0, range="bytes=1500000-1500099"))[2] == ORIGINAL[1_500_000:1_500_100]
    assert (await house.ask(3))[2] == RUNG


async def test_what_rows_can_say_is_answered_without_the_store(house: House) -> None:
    await house.fill()
    first = await house.shelf("first", "primary")
    status, fields, body = await house.ask(0, "HEAD")
    assert (status, fields["content-length"], body) == (200, str(len(ORIGINAL)), b"")
    assert (fields["content-type"], fields["accept-ranges"]) == ("image/jpeg", "bytes")
    tag = fields["etag"]
    assert (await house.ask(0, if_none_match=tag))[0] == 304
    assert (await house.ask(0, if_match='"other"'))[0] == 412
    status, fields, _ = await house.ask(0, range=f"bytes={len(ORIGINAL)}-")
    assert (status, fields["content-range"]) == (416, f"bytes */{len(ORIGINAL)}")
    status, fields, body = await house.ask(0, "HEAD", range="bytes=0-9")
    assert (status, fields["content-length"], fields["content-range"]) == (206, "10", f"bytes 0-9/{len(ORIGINAL)}")
    assert first.reads == 0


async def test_a_deleted_media_is_gone_also_when_it_goes_while_it_is_read(house: House) -> None:
    await house.fill()
    first = await house.shelf("first", "primary")

    async def delete() -> None:
        first.then = None
        async with house.database.transaction() as connection:
            app = await apps.default_app(connection)
            await media.delete(connection, app, house.media, None)

    first.then = delete
    for _ in range(2):
        with pytest.raises(NotFound):
            await house.ask(2)
    assert first.reads == 1


@pytest.mark.parametrize(
    "change", [lambda p: p + "/", lambda p: p[:-1] + "7", lambda p: p.upper(), lambda p: "/v1/.." + p, lambda p: p + "?x",
               lambda p: p.replace("/-/stored/", "/-/stored/00/00/"), lambda p: p[:10] + "00/00" + p[15:]],
)  # fmt: skip
async def test_only_the_one_spelling_of_an_address_is_answered(house: House, change: Callable[[str], str]) -> None:
    await house.fill()
    await house.shelf("first", "primary")
    with pytest.raises(NotFound):
        await house.ask(3, path=change(f"/-/stored/{ids.folder(house.media)}/3"))
    with pytest.raises(NotFound):
        await house.ask(3, "POST")


async def test_reading_stops_when_who_asked_has_gone(house: House) -> None:
    await house.fill()
    first = await house.shelf("first", "primary")
    first.then = lambda: asyncio.sleep(0.1)
    _, _, body = await house.ask(0, leaves=0.15)
    assert not house.ended
    assert len(body) < len(ORIGINAL)
    assert first.reads <= 3


async def test_where_the_store_dies_under_a_download_another_gives_the_rest_and_without_one_it_is_cut(
    house: House,
) -> None:
    await house.fill()
    first, second = await house.shelf("first", "primary"), await house.shelf("second", "backup")

    async def die() -> None:
        if first.reads == 2:
            first.state = "away"

    first.then = die
    assert (await house.ask(0))[2] == ORIGINAL
    assert house.ended
    assert second.reads >= 1
    house.stores._down.clear()
    first.state, first.reads, second.state = "there", 0, "away"
    body = (await house.ask(0))[2]
    assert not house.ended
    assert body == ORIGINAL[: len(body)]
    assert 0 < len(body) < len(ORIGINAL)


async def test_so_many_originals_at_once_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST_AT_ONCE", 3)
    await house.fill()
    first = await house.shelf("first", "primary")
    first.then = lambda: asyncio.sleep(0.05)
    found = await asyncio.gather(*(house.ask(0) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Problem) and one.status == 503 for one in found) == 2
    assert (await house.ask(0))[2] == ORIGINAL


def test_a_media_says_itself_when_it_was_made() -> None:
    found = stored.reading.Readable(ids.new_id(1_700_000_000.9), False, "a/b", frozenset(), ())
    assert stored._file(found, Stored("k", 1, "0" * 64)).modified.timestamp() == 1_700_000_000
