"""The audit log is only added to, is read by index, and forgets what is old by one way alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from chipmunk import audit
from chipmunk.audit import APP, COLUMNS, OPERATOR, SYSTEM, Actor
from chipmunk.db import Connection
from chipmunk.ids import new_id
from chipmunk.operations.table import OPERATIONS
from chipmunk.operations.trail import ACTIONS_OF, UNNOTED


def run(database: str, story: Callable[[Connection], Awaitable[None]]) -> None:
    async def told() -> None:
        connection = await asyncpg.connect(database)
        try:
            await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            await story(connection)
        finally:
            await connection.close()

    asyncio.run(told())


async def actions(connection: Connection, app: int | None = 1, **asked: Any) -> list[str]:
    return [row.action for row in await audit.page(connection, app, **asked)]


def test_no_statement_changes_or_takes_a_row(database: str) -> None:
    async def story(connection: Connection) -> None:
        await audit.note(connection, APP, "user.made", app=1, user=7)
        for statement in (
            "update audit set action = 'x'",
            "delete from audit",
            "truncate audit",
            "truncate audit restart identity cascade",
            "set session_replication_role = replica; delete from audit",
            "insert into audit (id, actor, action) overriding system value values (1, 'app', 'x') on conflict (id) do update "
            "set action = 'x'",
            "merge into audit a using (values (1)) v on true when matched then delete",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only added to"):
                await connection.execute(statement)
            await connection.execute("set session_replication_role = origin")
        assert await actions(connection) == ["user.made"]

    run(database, story)


def test_what_is_old_goes_by_the_one_function_oldest_first_and_no_more_than_told(database: str) -> None:
    async def story(connection: Connection) -> None:
        await connection.execute(
            """
            insert into audit (at, app_id, actor, action)
            select now() - make_interval(days => 10 - n), 1, 'app', 'n' || n from generate_series(1, 9) n
            """
        )
        assert await connection.fetchval("select forget_audit(interval '5 days', 2)") == 2
        assert await actions(connection) == [f"n{n}" for n in range(9, 2, -1)]
        await audit.forget_old(connection, 0)
        assert len(await actions(connection)) == 7
        await audit.forget_old(connection, 5)
        assert await actions(connection) == ["n9", "n8", "n7", "n6"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("delete from audit")
        async with connection.transaction():
            await audit.forget_old(connection, 5)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute("delete from audit")

    run(database, story)


def test_a_row_is_found_by_whose_it_is_by_who_did_it_and_by_its_media(database: str) -> None:
    async def story(connection: Connection) -> None:
        ann, bob, media = 1, 2, new_id()
        await connection.execute("insert into apps (name) values ('other')")
        await connection.execute(
            "insert into users (app_id, name) values (1, 'ann'), (1, 'bob'), (2, 'ann')",
        )
        session = new_id()
        await audit.note(connection, Actor("user", ann, session), "own", app=1, user=ann, media=media)
        await audit.note(connection, Actor("user", bob), "by bob", app=1, user=ann, media=media, flow="trips")
        await audit.note(connection, APP, "by the app", app=1, user=bob)
        await audit.note(connection, SYSTEM, "flow", app=1, flow="trips")
        await audit.note(connection, OPERATOR, "backend", app=None)
        await audit.note(connection, APP, "elsewhere", app=2, user=3, media=media)
        assert await actions(connection, users=[ann]) == ["by bob", "own"]
        assert await actions(connection, users=[bob]) == ["by the app", "by bob"]
        assert await actions(connection, users=[ann, bob]) == ["by the app", "by bob", "own"]
        assert await actions(connection, media=media) == ["by bob", "own"]
        assert await actions(connection, media=media, users=[bob]) == ["by bob"]
        assert await actions(connection) == ["flow", "by the app", "by bob", "own"]
        assert await actions(connection, 2) == ["elsewhere"]
        assert len(await actions(connection, None)) == 6
        assert await actions(connection, None, media=media) == ["elsewhere", "by bob", "own"]
        assert await audit.users_named(connection, "ann", 1) == [ann]
        assert sorted(await audit.users_named(connection, "ann", None)) == [ann, 3]
        own = (await audit.page(connection, 1, users=[ann]))[-1]
        assert (own.by_name, own.user, own.session, own.request) == ("ann", "ann", session, None)
        await connection.execute("update users set deleted_at = now() where id = $1", ann)
        nameless = (await audit.page(connection, 1, media=media))[-1]
        assert (nameless.by, nameless.by_name, nameless.user) == (ann, None, None)

    run(database, story)


def test_pages_follow_each_other_without_a_gap_or_a_repeat(database: str) -> None:
    async def story(connection: Connection) -> None:
        for n in range(7):
            by = Actor("user", 1 + n % 2)
            await audit.note(connection, by, f"n{n}", app=1, user=1)
        for asked in ({}, {"users": [1]}):
            found, before = [], None
            while rows := await audit.page(connection, 1, **asked, before=before, limit=3):
                found += [row.action for row in rows]
                before = rows[-1].id
            assert found == [f"n{n}" for n in range(6, -1, -1)]

    run(database, story)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_page_reads_what_is_on_it_of_however_long_a_log(database: str, plans: str) -> None:
    media = UUID(int=5)

    async def story(connection: Connection) -> None:
        await connection.execute(
            f"""
            insert into users (app_id, name) select 1, 'user' || n from generate_series(1, 200) n;
            insert into audit ({COLUMNS})
            select 1, 'user', 1 + n % 200, null, null, 'a', 1 + (n / 3) % 200, lpad(to_hex(n / 50), 32, '0')::uuid, null, null,
                   null, '{{}}'
            from generate_series(1, 20000) n;
            analyze audit; analyze users; set plan_cache_mode = {plans}
            """
        )
        asked: list[Any] = []
        connection.add_query_logger(asked.append)
        for one in ({}, {"users": [7]}, {"media": media}, {"media": media, "users": [7]}):
            await audit.page(connection, 1, **one, limit=10)  # type: ignore[arg-type]
        await audit.page(connection, None, limit=10)
        await asyncio.sleep(0)
        connection.remove_query_logger(asked.append)
        asked = [record for record in asked if "audit a" in record.query]
        assert len(asked) == 5
        for record in list(asked):
            told = await connection.fetchval(f"explain (analyze, format json) {record.query}", *record.args)
            read = sum(
                node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
                for node in nodes((told if isinstance(told, list) else json.loads(told))[0]["Plan"])
                if node.get("Relation Name") == "audit"
            )
            assert read <= 110, (record.query, read)

    run(database, story)


def test_each_call_that_changes_something_has_its_actions_or_says_why_none() -> None:
    changing = {operation.name for operation in OPERATIONS if operation.method != "GET"}
    assert not ACTIONS_OF.keys() & UNNOTED.keys()
    assert changing - ACTIONS_OF.keys() - UNNOTED.keys() == set()
    assert (ACTIONS_OF.keys() | UNNOTED.keys()) - {operation.name for operation in OPERATIONS} == set()
    assert {action for told in ACTIONS_OF.values() for action in told} == set(audit.ACTIONS)
