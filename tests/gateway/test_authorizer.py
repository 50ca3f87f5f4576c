"""The authorizer against a real database: what costs a query and what does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from chipmunk import apps, config, copies, flows, keys, links, media, quotas, revocations, sessions, storing, users
from chipmunk.db import Database, connect
from chipmunk.openings import Openings
from chipmunk.signing import Seal, random_identifier
from gateway.authorizer import Authorizer
from gateway.memory import Tags
from gateway.questions import Answer, Asked

KEYS = ("k" * 40,)
KEY = "cmk_0123456789abcdef"


class Counting(Database):
    """A database that counts how often somebody wanted a connection."""

    def __init__(self, pool: object) -> None:
        super().__init__(pool)
        self.asked = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[object]:
        self.asked += 1
        async with super().connection() as connection:
            yield connection


class World:
    """An app with an owner, their media and a session, and an authorizer that believes its memory."""

    def __init__(self, database: Counting) -> None:
        self.database, self.tags = database, Tags()
        settings = config.load({}, secret_keys=KEYS, operator_key="cmo_0123456789")
        self.authorizer = Authorizer(settings, database, self.tags)
        self.links, self.seal = Seal(KEYS, "link"), Seal(KEYS, "session")

    async def fill(self) -> None:
        async with self.database.transaction() as connection:
            app = await apps.default_app(connection)
            await keys.keep_that_of_settings(connection, KEY)
            user, _, _ = await users.put(connection, app, "ann", quota=None, suspended=None, given=frozenset())
            self.token = (await sessions.create(connection, self.seal, user.key, timedelta(hours=1), ["view"])).token
        size, identifier = 1000, await quotas.reserve(self.database, user.key, 1000, 1000)
        new = storing.New(
            identifier, app, user.key, "image", "image/jpeg", "é.jpg", 1, 1, size, b"x", None, False, [], {}, ()
        )  # fmt: skip
        async with self.database.transaction() as connection:
            flow = await flows.get(connection, app, "general")
            assert await quotas.settle(connection, user.key, identifier, size, 0, 1)
            await storing.insert(connection, new, climbing=False)
            await flows.put_media(connection, flow, identifier)
            found = await media.get(connection, app, identifier, None)
        assert found.token is not None
        self.media, self.signed = identifier, self.links.sign(found.token)
        self.tags.polled = time.monotonic() + 100
        self.database.asked = 0

    async def ask(self, signed: str, token: str = "") -> int:
        return (await self.answer(Asked(signed, f"Bearer {token}" if token else "", ""))).status

    async def answer(self, asked: Asked) -> Answer:
        """As a question of nginx is answered: at once where that can be, which must cost no query."""
        before = self.database.asked
        found = self.authorizer.answer(asked)
        assert self.database.asked == before
        return found if isinstance(found, Answer) else await found


@asynccontextmanager
async def world(url: str) -> AsyncIterator[World]:
    database = Counting(await connect(url))
    world = World(database)
    try:
        await world.fill()
        yield world
    finally:
        await database.close()


def test_a_forged_id_costs_no_query(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            forged = "A" * 22 + "." + "B" * 43
            assert await w.ask(forged) == 401
            assert await w.ask(forged, "cms_" + forged) == 401
            assert await w.ask(forged, "nonsense") == 401
            assert w.database.asked == 0
            assert await w.ask(forged, w.token) == 403
            before = w.database.asked
            for _ in range(50):
                assert await w.ask(forged, w.token) == 403
            assert w.database.asked == before

    asyncio.run(main())


def test_made_up_api_keys_cost_one_query_in_all(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            for n in range(50):
                assert await w.ask(w.signed, f"cmk_made_up_{n}") == 401
            assert w.database.asked <= 2
            assert await w.ask(w.signed, KEY) == 204

    asyncio.run(main())


def test_a_hot_decision_costs_no_query_until_something_is_revoked(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            assert await w.ask(w.signed, w.token) == 204
            before = w.database.asked
            for _ in range(20):
                assert await w.ask(w.signed, w.token) == 204
            assert w.database.asked == before
            async with w.database.transaction() as connection:
                await media.delete(connection, 1, w.media, None)
            w.tags.arrive([f"media:{w.media.hex}"], time.monotonic())
            assert await w.ask(w.signed, w.token) == 403

    asyncio.run(main())


def test_without_news_from_the_outbox_every_decision_asks_the_database(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            assert await w.ask(w.signed, w.token) == 204
            w.tags.polled = float("-inf")
            async with w.database.transaction() as connection:
                await connection.execute("delete from sessions")
            assert await w.ask(w.signed, w.token) == 401

    asyncio.run(main())


def test_every_revoking_act_arrives_under_a_tag_that_ends_what_it_must(database: str) -> None:
    """Links, sessions, members, flows, users and media: each act's tags are among those of the facts it ends."""

    async def main() -> None:
        async with world(database) as w:
            await w.ask(w.signed, w.token)
            outbox = revocations.Outbox(w.database)
            await outbox.poll()
            async with w.database.transaction() as connection:
                user = await users.get(connection, 1, "ann")
                await sessions.delete_all(connection, user.key)
            tags = await outbox.poll()
            assert f"user:{user.key}" in tags
            w.tags.arrive(tags, time.monotonic())
            assert await w.ask(w.signed, w.token) == 401

    asyncio.run(main())


def test_the_headers_name_folder_type_and_a_safe_name(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            answer = await w.answer(Asked(w.signed, "", w.token))
            found = dict(answer.headers)
            hexed = w.media.hex
            folder = f"/{hexed[-4:-2]}/{hexed[-2:]}/{hexed}"
            assert found[b"x-media"] == f"{folder} ready 1 image/jpeg %C3%A9.jpg".encode()

    asyncio.run(main())


def test_of_a_media_that_lies_elsewhere_the_folder_is_marked_and_no_backend_named(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            before = dict((await w.answer(Asked(w.signed, "", w.token))).headers)[b"x-media"]
            async with w.database.transaction() as connection:
                key = await connection.fetchval(
                    "insert into backends (name, url) values ('s3', 's3+http://127.0.0.1:1/b') returning id"
                )
                await copies.serve_from(connection, w.media, key)
            w.tags.arrive([f"media:{w.media.hex}"], time.monotonic())
            answer = await w.answer(Asked(w.signed, "", w.token))
            assert dict(answer.headers)[b"x-media"] == b"@" + before

    asyncio.run(main())


def test_a_type_that_is_none_does_not_reach_the_wire(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            async with w.database.transaction() as connection:
                await connection.execute("update media set mime = $1", "image/jpeg\r\nx-accel-expires: 9999")
            answer = await w.answer(Asked(w.signed, "", w.token))
            assert b" ready 1 application/octet-stream %C3%A9.jpg\r\n" in answer.wire
            assert (answer.status, b"9999" in answer.wire) == (204, False)

    asyncio.run(main())


def test_an_unknown_link_that_was_signed_is_not_there(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            unknown = w.links.sign(random_identifier())
            assert await w.ask(unknown, w.token) == 403
            assert await w.ask(unknown) == 401

    asyncio.run(main())


async def shared(w: World, **fields: object) -> str:
    """A link for anyone with these fields, signed."""
    given: dict[str, Any] = {"audience": "anyone", "user": None, "original": True, "ttl": None, **fields}
    async with w.database.transaction() as connection:
        link = await links.create(connection, w.media, **given)
    return w.links.sign(link.token)


STATES: dict[
    str, tuple[dict[str, object], str, int]
] = {  # a link, what is done to it, and what its proof is worth then
    "plain": ({}, "", 204),
    "with a password": ({"password": "hash"}, "", 204),
    "with views": ({"max_views": 1}, "", 204),
    "used up": ({"max_views": 1}, "update links set views = 1 where token = $1", 204),
    "expired": ({"max_views": 1}, "update links set expires_at = now() - interval '1 s' where token = $1", 401),
    "revoked": ({"max_views": 1}, "delete from links where token = $1", 401),
    "of a suspended owner": ({"max_views": 1}, "update users set suspended = true where $1::uuid is not null", 401),
    "of a media in the trash": (
        {"max_views": 1},
        "update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() where $1 <> id",
        401,
    ),
    "of a deleted media": ({"max_views": 1}, "update media set state = 'deleted' where $1::uuid is not null", 401),
}


@pytest.mark.parametrize("state", STATES)
def test_a_proof_opens_its_own_link_for_as_long_as_both_last(database: str, state: str) -> None:
    fields, act, status = STATES[state]

    async def main() -> None:
        async with world(database) as w:
            signed, other = await shared(w, **fields), await shared(w, max_views=1)
            token, another = w.links.open(signed), w.links.open(other)
            assert token
            assert another
            if act:
                async with w.database.transaction() as connection:
                    await connection.execute(act, token)
            openings, now = Openings(KEYS), time.time()
            for proof, expected in (
                ("", 204 if state == "plain" else 401),
                ("nonsense", 204 if state == "plain" else 401),
                (openings.sign(another, now + 600), 204 if state == "plain" else 401),
                (openings.sign(token, now - 1), 204 if state == "plain" else 401),
                (openings.sign(token, now + 600), status),
            ):
                for _ in range(3):
                    answer = await w.answer(Asked(signed, "", "", proof))
                    kept = b"1" if state == "plain" else b"0"
                    assert (answer.status, dict(answer.headers)[b"x-accel-expires"]) == (expected, kept)

    asyncio.run(main())


def test_the_owner_s_own_sight_of_a_link_that_has_to_be_opened_is_kept_by_nobody(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            signed = await shared(w, max_views=1)
            for token in (w.token, KEY):
                answer = await w.answer(Asked(signed, f"Bearer {token}", ""))
                assert (answer.status, dict(answer.headers)[b"x-accel-expires"]) == (204, b"0")

    asyncio.run(main())


def test_an_opened_link_costs_no_query_until_it_is_revoked(database: str) -> None:
    async def main() -> None:
        async with world(database) as w:
            signed = await shared(w, password="hash")
            token = w.links.open(signed)
            assert token
            seen = Asked(signed, "Bearer cms_nonsense", "", Openings(KEYS).sign(token, time.time() + 600))
            assert (await w.answer(seen)).status == 204
            before = w.database.asked
            for _ in range(20):
                assert (await w.answer(seen)).status == 204
            assert w.database.asked == before
            async with w.database.transaction() as connection:
                tags = await links.revoke_all(connection, w.media)
            w.tags.arrive(tags, time.monotonic())
            assert (await w.answer(seen)).status == 401

    asyncio.run(main())
