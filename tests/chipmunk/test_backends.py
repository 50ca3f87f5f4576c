"""Backends and flows' backends as rows: what stays true whatever is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chipmunk import apps, backends, config, db, flows, pinning
from chipmunk.backend_fields import Described, Settled, settled
from chipmunk.backends import LOCAL, Placed
from chipmunk.db import Connection, Database
from chipmunk.errors import BackendInUse, Conflict, NotFound, SettingsError, UnknownBackend
from chipmunk.ids import new_id
from chipmunk.vault import Vault

VAULT = Vault(["m" * 32])
CANARY = "canary-7c1f"


@pytest.fixture
async def held(database: str) -> AsyncIterator[Database]:
    async with db.opened(config.load({"CHIPMUNK_DATABASE_URL": database})) as opened:
        yield opened


@pytest.fixture
async def connection(held: Database) -> AsyncIterator[Connection]:
    async with held.connection() as connection:
        yield connection


def bucket(**fields: Any) -> Settled:
    url = fields.pop("url", "s3+https://s3.example.com/media")
    return settled("any", Described(url=url, access_key="ak", secret_key=CANARY, **fields))


async def roles(connection: Connection) -> dict[str, str | None]:
    return {b.id: b.role for b in await backends.every(connection)}


async def test_the_local_volume_is_there_and_serves_whom_nobody_told_otherwise(connection: Connection) -> None:
    (local,) = await backends.every(connection)
    assert (local.key, local.id, local.kind, local.role) == (LOCAL, "local", "local", "primary")


async def test_a_new_primary_takes_the_place_of_the_old_and_there_is_always_one(connection: Connection) -> None:
    assert (await backends.put(connection, VAULT, "main", bucket(role="primary")))[1] is True
    assert await roles(connection) == {"local": None, "main": "primary"}
    await backends.need_primary(connection)
    assert (await backends.put(connection, VAULT, "main", bucket(role="backup")))[1] is False
    with pytest.raises(Conflict):
        await backends.need_primary(connection)


async def test_a_secret_lies_sealed_for_its_backend_alone(connection: Connection) -> None:
    kept, _ = await backends.put(connection, VAULT, "main", bucket())
    row = await connection.fetchval("select b::text from backends b where name = 'main'")
    assert CANARY not in row
    assert CANARY.encode() not in kept.secret
    assert backends.as_settled(kept, VAULT) == bucket()
    await connection.execute("update backends set name = 'thief' where name = 'main'")
    with pytest.raises(Exception, match="sealed for"):
        backends.as_settled(await backends.get(connection, "thief"), VAULT)


async def test_a_change_is_noticed_and_what_the_last_look_found_no_longer_counts(connection: Connection) -> None:
    before, _ = await backends.put(connection, VAULT, "main", bucket())
    await backends.note_health(connection, before.key, "gone")
    down = await backends.get(connection, "main")
    assert (down.up, down.reason, down.changed_at) == (False, "gone", before.changed_at)
    after, _ = await backends.put(connection, VAULT, "main", bucket(region="eu-1"))
    assert (after.up, after.reason, after.checked_at, after.key) == (None, None, None, before.key)
    assert after.changed_at > before.changed_at


async def flow_of(connection: Connection, name: str = "f") -> int:
    app = await apps.default_app(connection)
    return (await flows.put(connection, app, name))[0].key


async def test_a_backend_that_is_named_used_or_a_default_cannot_go(connection: Connection) -> None:
    with pytest.raises(BackendInUse):
        await backends.delete(connection, "local")
    with pytest.raises(NotFound):
        await backends.delete(connection, "none")
    await backends.put(connection, VAULT, "main", bucket(role="archive"))
    with pytest.raises(BackendInUse):
        await backends.delete(connection, "main")
    await backends.put(connection, VAULT, "main", bucket())
    flow = await flow_of(connection)
    await backends.place_flow(connection, flow, [Placed("main", "primary")])
    with pytest.raises(BackendInUse):
        await backends.delete(connection, "main")
    await backends.place_flow(connection, flow, [])
    await backends.delete(connection, "main")
    assert await roles(connection) == {"local": "primary"}


async def stored(connection: Connection, backend: int, state: str = "stored", role: str | None = "primary") -> str:
    """A media with a copy there."""
    app = await apps.default_app(connection)
    owner = await connection.fetchval(
        "insert into users (app_id, name, quota_bytes) values ($1, $2, null) returning id", app, new_id().hex
    )
    media = new_id()
    await connection.execute(
        """
        insert into media (id, app_id, owner_id, state, kind, mime, filename, bytes, total_bytes, sha256, square, rungs, music)
        values ($1, $2, $3, 'ready', 'image', 'image/jpeg', 'a', 1, 1, $4, false, '[]', '{}')
        """,
        media, app, owner, b"\0" * 32,
    )  # fmt: skip
    await connection.execute(
        "insert into copies (media_id, backend_id, role, state) values ($1, $2, $3, $4)", media, backend, role, state
    )
    return media.hex


async def test_one_that_holds_media_neither_goes_nor_becomes_of_another_kind(connection: Connection) -> None:
    main, _ = await backends.put(connection, VAULT, "main", bucket())
    await stored(connection, main.key)
    with pytest.raises(BackendInUse):
        await backends.delete(connection, "main")
    node = settled("main", Described(url="ipfs+http://10.0.0.7:5001"))
    with pytest.raises(BackendInUse):
        await backends.put(connection, VAULT, "main", node)
    await backends.put(connection, VAULT, "main", bucket(url="s3+https://other.example.com/media"))


async def test_copies_are_counted_where_they_are_and_so_are_those_that_still_have_to_go(connection: Connection) -> None:
    main, _ = await backends.put(connection, VAULT, "main", bucket())
    await stored(connection, main.key)
    await stored(connection, main.key, "wanted", "backup")
    await stored(connection, main.key, role=None)
    gone = await stored(connection, main.key)
    await connection.execute("update media set state = 'deleted' where id = $1::uuid", gone)
    alone = await stored(connection, main.key)
    await connection.execute("delete from copies where media_id = $1::uuid", alone)
    assert await backends.counts(connection) == {main.key: (3, 2), LOCAL: (1, 0)}


async def test_a_flow_lies_where_it_says_or_where_all_do_and_pinned_where_all_do(connection: Connection) -> None:
    main, _ = await backends.put(connection, VAULT, "main", bucket())
    await backends.put(connection, VAULT, "cold", bucket(role="archive"))
    cold = (await backends.get(connection, "cold")).key
    one, two = await flow_of(connection, "one"), await flow_of(connection, "two")
    await backends.place_flow(connection, one, [Placed("local", "backup"), Placed("main", "primary")])
    assert await backends.wanted(connection, one) == {main.key: "primary", LOCAL: "backup"}
    assert await backends.wanted(connection, two) == {LOCAL: "primary", cold: "archive"}
    assert await backends.wanted(connection, one, pinned=True) == {LOCAL: "primary", cold: "archive"}
    shown = await backends.of_flows(connection, [one, two])
    assert shown == {one: [Placed("main", "primary"), Placed("local", "backup")]}


async def test_a_flow_is_put_only_where_there_is_something_and_by_its_admins_only_where_they_may(
    connection: Connection,
) -> None:
    await backends.put(connection, VAULT, "main", bucket())
    await backends.put(connection, VAULT, "free", bucket(choosable=True))
    flow = await flow_of(connection)
    await backends.place_flow(connection, flow, [Placed("main", "primary")])
    with pytest.raises(UnknownBackend):
        await backends.place_flow(connection, flow, [Placed("none", "primary")])
    placed = [Placed("free", "primary"), Placed("main", "backup")]
    with pytest.raises(UnknownBackend):
        await backends.place_flow(connection, flow, placed, choosable_only=True)
    assert await backends.of_flows(connection, [flow]) == {flow: [Placed("main", "primary")]}
    await backends.place_flow(connection, flow, [Placed("free", "primary")], choosable_only=True)


async def test_many_who_say_at_once_where_a_flow_lies_leave_what_one_of_them_said(held: Database) -> None:
    async with held.connection() as connection:
        await backends.put(connection, VAULT, "main", bucket())
        flow = await flow_of(connection)

    async def say(number: int) -> None:
        first, second = ("local", "main") if number % 2 else ("main", "local")
        async with held.transaction() as connection:
            await backends.place_flow(connection, flow, [Placed(first, "primary"), Placed(second, "backup")])

    await asyncio.gather(*(say(n) for n in range(20)))
    async with held.connection() as connection:
        assert len((await backends.of_flows(connection, [flow]))[flow]) == 2


def pinned(database: str, **named: object) -> config.Settings:
    given = {"CHIPMUNK_DATABASE_URL": database, "CHIPMUNK_MASTER_KEYS": "m" * 32}
    return config.load({**given, "CHIPMUNK_BACKENDS": json.dumps(named)} if named else given)


MAIN = {"url": "s3+http://127.0.0.1:9/media", "access_key": "ak", "secret_key": CANARY, "role": "primary"}


async def test_what_is_pinned_is_all_there_is_until_something_else_is(database: str, connection: Connection) -> None:
    await backends.put(connection, VAULT, "old", bucket(role="backup"))
    assert await pinning.pin(pinned(database, main=MAIN)) == ["main"]
    assert await roles(connection) == {"local": None, "old": None, "main": "primary"}
    main = await backends.get(connection, "main")
    assert backends.as_settled(main, VAULT).secret == {"access_key": "ak", "secret_key": CANARY}
    assert CANARY.encode() not in main.secret
    second = pinned(database, local={"url": "local:", "role": "primary"}, main={**MAIN, "role": "backup"})
    assert await pinning.pin(second) == ["local", "main"]
    assert await pinning.pin(second) == ["local", "main"]
    assert await roles(connection) == {"local": "primary", "old": None, "main": "backup"}
    assert await pinning.pin(pinned(database)) == []
    assert await roles(connection) == {"local": "primary", "old": None, "main": "backup"}


async def test_what_cannot_be_pinned_stops_the_start_and_changes_nothing(database: str, connection: Connection) -> None:
    for wrong in ({**MAIN, "url": "s3+http://h/x"}, {**MAIN, "region": "NO WHERE"[:2] + "_"}):
        with pytest.raises(SettingsError, match="CHIPMUNK_BACKENDS: main: "):
            await pinning.pin(pinned(database, main=wrong))
    assert await roles(connection) == {"local": "primary"}
