"""A search finds what the viewer may see and nothing else, newest first, by steps that are counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chipmunk import flows, ids, media, search, storing, tagging, words
from chipmunk.db import Database, connect
from chipmunk.errors import Forbidden, NotFound
from chipmunk.search import Filters

NOW = datetime.now(UTC).timestamp() - 1000


@dataclass
class Place:
    """An app with users and flows, rows by name."""

    db: Database
    users: dict[str, int] = field(default_factory=dict)
    flows: dict[str, int] = field(default_factory=dict)
    stored: int = 0

    async def user(self, name: str, app: int = 1) -> int:
        async with self.db.connection() as connection:
            self.users[name] = await connection.fetchval(
                "insert into users (app_id, name) values ($1, $2) returning id", app, name
            )
        return self.users[name]

    async def flow(self, name: str, **roles: str) -> int:
        async with self.db.transaction() as connection:
            self.flows[name] = (await flows.put(connection, 1, name))[0].key
            for user, role in roles.items():
                await connection.execute(
                    "insert into flow_members values ($1, $2, $3)", self.flows[name], self.users[user], role
                )
        return self.flows[name]

    async def media(self, owner: str, filename: str = "a.jpg", *, app: int = 1, flow: str = "", **given: Any) -> UUID:
        """Each is a second newer than the one before."""
        self.stored += 1
        said = {name: given.pop(name) for name in ("title", "notes", "tags") if name in given}
        fields: dict[str, Any] = {
            "kind": "image", "mime": "image/jpeg", "width": 1, "height": 1, "bytes": 10, "sha256": bytes(32),
            "placeholder": None, "square": False, "rungs": [], "music": {},
            "flow_ids": (self.flows[flow],) if flow else (),
        }  # fmt: skip
        new = storing.New(
            ids.new_id(NOW + self.stored), app, self.users[owner], filename=filename, **{**fields, **given}
        )
        async with self.db.transaction() as connection:
            await storing.insert(connection, new, climbing=False)
            if said:
                await tagging.change(connection, app, new.id, None, said)
        return new.id

    async def found(self, viewer: str | None, q: str | None = None, *, app: int = 1, **wanted: Any) -> list[UUID]:
        """Of all pages of three, each of which is asked for as `next` says."""
        for name in ("owner", "flow"):
            if name in wanted:
                wanted[name] = (self.users if name == "owner" else self.flows)[wanted[name]]
        filters = Filters(asked=None if q is None else words.asked(q), **wanted)
        key, every, before = None if viewer is None else self.users[viewer], [], None
        async with self.db.connection() as connection:
            while True:
                page = await search.page(connection, app, key, filters, before=before, limit=3)
                every += [one.id for one in page.media]
                if page.next is None:
                    return every
                assert before is None or page.next < before
                before = page.next

    async def listed(self) -> list[tuple[UUID, str]]:
        async with self.db.connection() as connection:
            return [tuple(r) for r in await connection.fetch("select media_id, word from media_words order by 1, 2")]


@pytest.fixture
async def place(database: str) -> AsyncIterator[Place]:
    opened = Database(await connect(database))
    made = Place(opened)
    for name in ("ann", "ben", "eve"):
        await made.user(name)
    await made.flow("trips", ben="viewer")
    yield made
    await opened.close()


async def test_a_media_is_found_by_all_that_is_said_of_it(place: Place) -> None:
    cat = await place.media("ann", "IMG_1234.jpg", title="A café cat", notes="Aunt Mary's", tags=["Summer 2019", "🎉"])
    song = await place.media("ann", "x.mp3", kind="audio", mime="audio/mpeg", music={"artist": "The Who"})
    told = await place.media("ann", "y.jpg", meta={"camera": {"maker": ["Zenit", 35]}})
    for q in (
        "cat",
        "CAFE",
        "img_1234",
        "1234",
        "mary",
        '"cafe cat"',
        "a cat -dog",
        "dog or cat",
        "ca* 1234",
        "summer",
    ):
        assert await place.found("ann", q) == [cat], q
    for q in ("dog", '"cat cafe"', "cat -1234", "cat dog", "maryx", "cat img_12"):
        assert await place.found("ann", q) == [], q
    assert await place.found("ann", "the who") == [song]
    assert await place.found("ann", "zenit") == await place.found("ann", "maker 35") == [told]
    assert await place.found("ann", "jpg or mp3") == [told, song, cat]
    assert await place.found("ann", "-cat") == [told, song]
    assert await place.found("ann", tags=("SUMMER 2019", "🎉")) == [cat]
    assert await place.found("ann", tags=("summer",)) == await place.found("ann", tags=("🎉", "none")) == []
    assert await place.found("ann", "cat", tags=("🎉",), kind="image") == [cat]


async def test_a_media_is_found_by_its_properties(place: Place) -> None:
    old = await place.media("ann", bytes=5, placeholder=bytes([0, 0, 0]))
    new = await place.media("ann", bytes=50, mime="image/png", placeholder=_thumbhash(200, 30, 40), flow="trips")
    music = await place.media("ben", bytes=500, kind="audio", mime="audio/mpeg")
    async with place.db.connection() as connection:
        moments = [await connection.fetchval("select created_at from media where id = $1", one) for one in (old, new)]
        await connection.execute("update media set created_at = created_at - interval '9 days' where id = $1", old)
    assert await place.found(None) == [music, new, old]
    assert await place.found(None, kind="image") == [new, old]
    assert await place.found(None, mime="audio/mpeg") == [music]
    assert await place.found(None, owner="ann") == [new, old]
    assert await place.found(None, flow="trips") == await place.found(None, flow="trips", owner="ann") == [new]
    assert await place.found(None, flow="trips", owner="ben") == []
    assert await place.found(None, larger=50) == [music, new]
    assert await place.found(None, smaller=50) == [old]
    assert await place.found(None, after=moments[1]) == [music, new]
    assert await place.found(None, before=moments[1]) == [old]
    assert await place.found(None, after=moments[0] - timedelta(days=8), before=moments[1]) == []
    assert await place.found(None, colour=(210, 25, 45)) == [new]
    assert await place.found(None, colour=(30, 200, 40)) == []


def _thumbhash(red: int, green: int, blue: int) -> bytes:
    r, g, b = red / 255, green / 255, blue / 255
    parts = (r + g + b) / 3 * 63, ((r + g) / 2 - b) * 31.5 + 31.5, (r - g) * 31.5 + 31.5
    return sum(round(part) << 6 * n for n, part in enumerate(parts)).to_bytes(3, "little")


async def test_nobody_finds_what_they_may_not_see_nor_by_what_they_may_not_see(place: Place) -> None:
    other = await place.user("zoe", await _app(place))
    own = await place.media("ann", "cat.jpg")
    shared = await place.media("ann", "cat.jpg", flow="trips", notes="secret", meta={"place": "hidden"}, tags=["t"])
    await place.media("zoe", "cat.jpg", app=2)
    assert other
    assert await place.found(None, "cat") == await place.found("ann", "cat") == [shared, own]
    assert await place.found("ben", "cat") == await place.found("ben", tags=("t",)) == [shared]
    assert await place.found("eve", "cat") == await place.found("eve") == []
    for q in ("secret", "hidden", "place", "sec*", "cat secret", '"secret"', "secret or hidden"):
        assert await place.found("ben", q) == [], q
        assert await place.found("ann", q) == await place.found(None, q) == [shared], q
    assert await place.found("ben", "cat -secret") == [shared]
    assert await place.found("ann", "cat -secret") == [own]
    assert await place.found("eve", flow="trips") == await place.found("eve", owner="ann") == []
    assert await place.found("ben", owner="ann") == await place.found("ben", flow="trips", owner="ann") == [shared]
    assert await place.found("ann", flow="trips") == [shared]
    assert await place.found("ben", owner="ben") == []
    async with place.db.connection() as connection:
        await connection.execute("update users set suspended = true where name = 'ann'")
    assert await place.found("ben", "cat") == []
    assert await place.found(None, "cat") == [shared, own]
    async with place.db.transaction() as connection:
        await connection.execute("update users set suspended = false where name = 'ann'")
        await media.delete(connection, 1, shared, None)
    assert await place.found("ben", "cat") == []
    assert await place.found(None, "cat") == await place.found("ann", "cat") == [own]
    async with place.db.connection() as connection:
        await connection.execute("update users set deleted_at = now() where name = 'ann'")
    assert await place.found(None, "cat") == []


async def _app(place: Place) -> int:
    async with place.db.connection() as connection:
        key: int = await connection.fetchval("insert into apps (name) values ('other') returning id")
    return key


@pytest.mark.parametrize("steps", [2, 5, 2000])
async def test_pages_that_end_early_miss_nothing_and_repeat_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(search, "STEPS", steps)
    monkeypatch.setattr(search, "FEWEST", 2)
    await place.flow("walks", ben="editor")
    made: dict[str, list[UUID]] = {}
    for n in range(30):
        owner, flow = ("ann", "ben")[n % 2], ("", "trips", "walks")[n % 3]
        one = await place.media(owner, f"{'common' if n % 4 else 'rare'} {n}.jpg", flow=flow)
        for name, whose in (("app", True), ("ann", owner == "ann"), ("ben", owner == "ben" or flow)):
            if whose:
                made.setdefault(name, []).insert(0, one)
                made.setdefault(f"{name} {'common' if n % 4 else 'rare'}", []).insert(0, one)
    for name, viewer in (("app", None), ("ann", "ann"), ("ben", "ben")):
        assert await place.found(viewer) == made[name]
        for q in ("common", "rare"):
            assert await place.found(viewer, f"{q} jpg") == made[f"{name} {q}"]
        assert await place.found(viewer, "common or rare") == made[name]
        assert await place.found(viewer, "com*") == made[f"{name} common"]
        assert await place.found(viewer, "common rare") == []


async def test_what_comes_while_somebody_pages_moves_nothing(place: Place) -> None:
    made = [await place.media("ann", "cat.jpg") for _ in range(6)][::-1]
    filters, seen, before = Filters(asked=words.asked("cat")), [], None
    for _ in range(3):
        async with place.db.connection() as connection:
            page = await search.page(connection, 1, place.users["ann"], filters, before=before, limit=2)
        seen += [one.id for one in page.media]
        before = page.next
        await place.media("ann", "cat.jpg")
    assert seen == made
    assert before is None


async def test_only_the_app_and_the_owner_say_what_a_media_is(place: Place) -> None:
    await place.flow("edited", ben="admin")
    one = await place.media("ann", "x.jpg", flow="edited")
    for caller, refusal in (("ben", Forbidden), ("eve", NotFound)):
        async with place.db.transaction() as connection:
            with pytest.raises(refusal):
                await tagging.change(connection, 1, one, place.users[caller], {"title": "mine"})
    async with place.db.transaction() as connection:
        with pytest.raises(NotFound):
            await tagging.change(connection, 2, one, None, {"title": "mine"})
        changed = await tagging.change(
            connection, 1, one, place.users["ann"], {"title": "Hers", "tags": ["a", "A", "ä"]}
        )
    assert (changed.title, changed.tags, changed.notes) == ("Hers", ["a"], None)


async def test_the_lists_of_words_are_as_the_media_are_however_they_change_at_once(place: Place) -> None:
    one = await place.media("ann", "x.jpg", title="first", tags=["one"])
    other = await place.media("ann", "y.jpg")

    async def change(n: int) -> None:
        async with place.db.transaction() as connection:
            said = {"title": f"t{n}"} if n % 2 else {"tags": [f"g{n}"], "notes": f"n{n}"}
            await tagging.change(connection, 1, one, None, said)

    await asyncio.gather(*map(change, range(20)))
    async with place.db.connection() as connection:
        rows = await connection.fetch("select id, unnest(tsvector_to_array(words)) as word from media order by 1, 2")
    assert await place.listed() == sorted((r["id"], r["word"]) for r in rows)
    assert {word for media_id, word in await place.listed() if media_id == other} == {"y", "jpg"}
    async with place.db.transaction() as connection:
        await media.delete(connection, 1, one, None)
        await connection.execute("update users set media_count = 2, used_bytes = 1000")
        await media.purge(connection, one)
    assert {media_id for media_id, _ in await place.listed()} == {other}


async def test_media_that_came_before_there_were_words_get_theirs(place: Place) -> None:
    made = [await place.media("ann", "cat.jpg", title="Café", meta={"a": "b"}) for _ in range(3)][::-1]
    before = await place.listed()
    async with place.db.connection() as connection:
        await connection.execute("update media set words = null")
    assert await place.listed() == []
    assert await place.found("ann", "cat") == []
    assert await place.found("ann") == made
    async with place.db.transaction() as connection:
        assert await tagging.find_words(connection) == 3
        assert await tagging.find_words(connection) == 0
    assert await place.listed() == before
    assert await place.found("ann", "cafe b") == made
