"""Opening links, and their pages, in this process on real servers: what depends on time, on Redis and on numbers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from chipmunk import apps, config, links, openings, quotas, storing, users
from chipmunk.db import Connection
from chipmunk.openings import Openings
from gateway.api.app import create
from gateway.api.call import Parts

KEYS = ("k" * 40,)
PASSWORD = "Grüße-9c41"
NOW = 1_800_000_000.0


class Api:
    """The API, and an owner's media in its database."""

    def __init__(self, http: httpx.AsyncClient, parts: Parts) -> None:
        self.http, self.parts = http, parts

    async def media(self, kind: str = "image", state: str = "ready", qualities: range = range(1, 7)) -> UUID:
        async with self.parts.database.transaction() as connection:
            app = await apps.default_app(connection)
            owner, _, _ = await users.put(connection, app, "ann", quota=None, suspended=None, given=frozenset())
        identifier = await quotas.reserve(self.parts.database, owner.key, 1000, 1000)
        rungs = [{"quality": q, "width": 1, "height": 1, "bytes": 1} for q in qualities]
        new = storing.New(
            identifier, app, owner.key, kind, "image/jpeg", "<é>.jpg", 1, 1, 1000, b"x", None, False, rungs, {}, ()  # type: ignore[arg-type]
        )  # fmt: skip
        async with self.parts.database.transaction() as connection:
            assert await quotas.settle(connection, owner.key, identifier, 1000, 0, 1)
            await storing.insert(connection, new, climbing=False)
            await connection.execute("update media set state = $2 where id = $1", identifier, state)
        return identifier

    async def link(self, of: UUID, password: str | None = None, **given: Any) -> links.Link:
        kept = None if password is None else await self.parts.passwords.hash(password)
        fields = {"audience": "anyone", "user": None, "original": False, "ttl": None, **given}
        async with self.parts.database.transaction() as connection:
            return await links.create(connection, of, password=kept, **fields)

    def path(self, link: links.Link) -> str:
        return f"/v1/links/{self.parts.links.sign(link.token)}/open"

    async def open(self, link: links.Link, address: str = "192.0.2.1", **body: object) -> httpx.Response:
        return await self.http.post(self.path(link), json=body, headers={"X-Forwarded-For": address})

    async def page(self, link: links.Link, **headers: str) -> httpx.Response:
        return await self.http.get(f"/share/{self.parts.links.sign(link.token)}", headers=headers)


@asynccontextmanager
async def api(database: str, redis_url: str, folder: Path, **given: Any) -> AsyncIterator[Api]:
    settings = config.load(
        {}, data_dir=folder, database_url=database, redis_url=redis_url, secret_keys=KEYS, master_keys=KEYS, **given
    )
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    app = create(settings)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        yield Api(http, app.state.parts)


@pytest.fixture
async def here(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, redis_url, tmp_path) as found:
        yield found


async def views(connection: Connection, link: links.Link) -> int:
    return int(await connection.fetchval("select views from links where id = $1", link.id))


async def test_only_so_many_wrong_passwords_of_a_link_are_looked_at_wherever_they_come_from(here: Api) -> None:
    link, other = [await here.link(await here.media(), PASSWORD) for _ in range(2)]
    tried = [await here.open(link, f"198.51.100.{n}", password=f"wrong {n}") for n in range(11)]
    assert [a.status_code for a in tried] == [403] * 10 + [429]
    refused = await here.open(link, "198.51.100.99", password=PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    form = await here.http.post(here.path(link), data={"password": PASSWORD})
    assert (form.status_code, form.headers["retry-after"], form.text.count("<form")) == (429, "6", 1)
    assert (await here.open(other, "198.51.100.99", password=PASSWORD)).status_code == 200


async def test_only_so_many_wrong_passwords_of_an_address_are_looked_at_whatever_the_link(here: Api) -> None:
    found = [await here.link(await here.media(), PASSWORD) for _ in range(12)]
    for addresses in (["203.0.113.7"] * 11, [f"2001:db8:1:2::{n}" for n in range(11)]):
        tried = [await here.open(k, a, password="wrong") for k, a in zip(found, addresses, strict=False)]
        assert [a.status_code for a in tried] == [403] * 10 + [429]
    assert (await here.open(found[-1], "2001:db8:1:3::1", password=PASSWORD)).status_code == 200


async def test_right_passwords_count_for_nothing(here: Api) -> None:
    link = await here.link(await here.media(), PASSWORD)
    for _ in range(25):
        assert (await here.open(link, "203.0.113.9", password=PASSWORD)).status_code == 200


async def test_without_redis_links_open_all_the_same(database: str, tmp_path: Path) -> None:
    async with api(database, "redis://127.0.0.1:1", tmp_path) as here:
        link = await here.link(await here.media(), PASSWORD)
        assert (await here.open(link, password=PASSWORD)).status_code == 200
        assert (await here.open(link, password="wrong")).status_code == 403


async def test_of_many_who_open_the_last_views_just_so_many_win(here: Api) -> None:
    link = await here.link(await here.media(), max_views=3)
    answers = await asyncio.gather(*(here.open(link) for _ in range(12)))
    assert sorted(a.status_code for a in answers) == [200] * 3 + [404] * 9
    async with here.parts.database.connection() as connection:
        assert await views(connection, link) == 3


async def test_a_wrong_password_uses_no_view_up(here: Api) -> None:
    link = await here.link(await here.media(), PASSWORD, max_views=1)
    for body in ({"password": "wrong"}, {"password": ""}, {"password": None}, {}):
        assert (await here.open(link, **body)).status_code == 403
    assert (await here.open(link, password=PASSWORD)).status_code == 200
    assert (await here.open(link, password=PASSWORD)).status_code == 404


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b'{"password": "\\ud800abc"}', 422),
        ("application/json", b'{"password": "a\\u0000bc"}', 403),
        ("application/json", b'{"password": 1234}', 422),
        ("application/json", b'{"password": "' + b"a" * 201 + b'"}', 422),
        ("application/json", b'{"views": 1}', 422),
        ("application/json", b"[" * 5000, 400),
        ("application/x-www-form-urlencoded", b"password=%ff%fe", 400),
        ("application/x-www-form-urlencoded", b"password=%00abc", 403),
        ("application/x-www-form-urlencoded", b"password=a&password=b", 400),
        ("application/x-www-form-urlencoded", b"\xff", 400),
        ("application/x-www-form-urlencoded", b"&".join(b"a=b" for _ in range(100)), 400),
        ("application/x-www-form-urlencoded", b"more=1", 422),
        ("application/x-www-form-urlencoded; charset=latin-1", b"password=abcd", 415),
        ("application/x-www-form-urlencoded", b"password=" + b"a" * 70_000, 413),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("text/plain", b"password=abcd", 415),
    ],
)
async def test_a_body_that_cannot_be_is_refused(here: Api, kind: str, body: bytes, status: int) -> None:
    link = await here.link(await here.media(), PASSWORD)
    answer = await here.http.post(here.path(link), content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text


async def test_an_opening_lasts_ten_minutes_or_as_long_as_its_link(here: Api) -> None:
    long, short = [
        await here.link(await here.media(), max_views=9, ttl=timedelta(seconds=s)) for s in (10_000, 200)
    ]  # fmt: skip
    for link, least, most in ((long, 590, 600), (short, 190, 200)):
        answer = await here.open(link)
        cookie = answer.headers.get_list("set-cookie")[0]
        assert "Secure" not in cookie
        proof = re.match("chipmunk_opening=([^;]+)", cookie)[1]  # type: ignore[index]
        lasts = [s for s in (least, most + 1) if here.parts.openings.proves(proof, link.token, time.time() + s)]
        assert lasts == [least]


async def test_behind_tls_the_cookie_goes_over_tls_alone(here: Api) -> None:
    link = await here.link(await here.media(), max_views=9)
    answer = await here.http.post(here.path(link), headers={"X-Forwarded-Proto": "https"})
    assert all("; Secure" in c for c in answer.headers.get_list("set-cookie"))


async def test_a_proof_is_of_its_link_alone_and_ends(here: Api) -> None:
    mine, other = [(await here.link(await here.media(), max_views=9)).token for _ in range(2)]
    proof = here.parts.openings.sign(mine, NOW + openings.SECONDS)
    assert here.parts.openings.proves(proof, mine, NOW)
    assert here.parts.openings.proves(proof, mine, NOW + 599)
    assert not here.parts.openings.proves(proof, mine, NOW + 600)
    assert not here.parts.openings.proves(proof, other, NOW)
    assert not Openings(("other" * 8,)).proves(proof, mine, NOW)
    assert Openings(("new" * 14, *KEYS)).proves(proof, mine, NOW), "keys are turned without closing what was opened"
    assert here.parts.openings.sign(mine, NOW) != here.parts.openings.sign(mine, NOW)
    signed = here.parts.links.sign(mine)
    for forged in ("", ".", "...", signed, f"{proof}\n", proof[1:], f"{proof}é", "\udcff", "a" * 10_000):
        assert not here.parts.openings.proves(forged, mine, NOW), forged


PAGES = [  # kind, state, its rungs, original; what its page has
    ("image", "ready", range(1, 7), False, ["5/", "6/"]),
    ("image", "processing", range(1, 4), True, ["0/", "5/", "6/"]),
    ("image", "failed", range(1, 4), False, ["3/"]),
    ("image", "failed", range(0), True, ["0/"]),
    ("image", "failed", range(0), False, []),
    ("audio", "ready", range(1, 7), True, ["0/", "5/", "6/"]),
    ("audio", "ready", range(0), True, ["0/"]),
    ("video", "ready", range(0), True, ["0/"]),
    ("video", "ready", range(0), False, []),
    ("file", "ready", range(0), True, ["0/"]),
]


@pytest.mark.parametrize(("kind", "state", "rungs", "original", "addresses"), PAGES)
async def test_the_page_of_each_kind_of_media_has_what_there_is_of_it(
    here: Api, kind: str, state: str, rungs: range, original: bool, addresses: list[str]
) -> None:
    link = await here.link(await here.media(kind, state, rungs), original=original)
    page = await here.page(link)
    assert page.status_code == 200
    signed = here.parts.links.sign(link.token)
    found = sorted({a.removeprefix(f"/{signed}/") for a in re.findall(r'(?:src|href)="([^"]+)"', page.text)})
    assert found == addresses
    assert ("&lt;é&gt;.jpg" in page.text) is original
    assert (f"<{kind} controls" in page.text) is (original and kind in ("audio", "video"))


@pytest.mark.parametrize("lock", [{}, {"max_views": 2}])
async def test_what_is_in_the_trash_is_shared_with_nobody(here: Api, lock: dict[str, Any]) -> None:
    identifier = await here.media()
    link = await here.link(identifier, **lock)
    async with here.parts.database.transaction() as connection:
        await connection.execute(
            "update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() where id = $1",
            identifier,
        )
    assert (await here.page(link)).status_code == 404
    assert (await here.open(link)).status_code == 404


LOCKS: list[dict[str, Any]] = [{"password": PASSWORD}, {"max_views": 2}, {"password": PASSWORD, "max_views": 2}]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: " and ".join(lock))
async def test_a_page_asks_for_what_opens_its_link_and_shows_nothing_until_then(
    here: Api, lock: dict[str, Any]
) -> None:
    link = await here.link(await here.media(), original=True, **lock)
    signed = here.parts.links.sign(link.token)
    closed = await here.page(link)
    assert closed.status_code == 200
    assert closed.text.count(signed) == 1, "where the form goes"
    assert "é" not in closed.text
    assert ('type="password"' in closed.text) is ("password" in lock)
    given = {"password": lock["password"]} if "password" in lock else {"password": ""}
    answer = await here.http.post(here.path(link), data=given)
    here.http.cookies.clear()
    assert (answer.status_code, answer.headers["location"]) == (303, f"/share/{signed}")
    proof = re.match("chipmunk_opening=([^;]+)", answer.headers["set-cookie"])[1]  # type: ignore[index]
    shown = await here.page(link, Cookie=f"chipmunk_opening={proof}")
    assert (shown.status_code, f'src="/{signed}/5/"' in shown.text, "<form" in shown.text) == (200, True, False)
    old = here.parts.openings.sign(link.token, time.time() - 1)
    assert (await here.page(link, Cookie=f"chipmunk_opening={old}")).text == (await here.page(link)).text


async def test_a_password_is_kept_as_a_hash_of_argon2id_alone(here: Api) -> None:
    link = await here.link(await here.media(), PASSWORD)
    async with here.parts.database.connection() as connection:
        kept = await connection.fetchval("select password from links where id = $1", link.id)
    assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]+\$[\w+/]+", kept)
    assert await here.parts.passwords.hash(PASSWORD) != kept
