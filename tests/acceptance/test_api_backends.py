"""Backends: who may add, change and take them, what is refused, and what is told of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.backends import CANARY, DEAD, NOWHERE, Operator, dead, put
from tests.callers import (
    ABSENT,
    ACCEPTED,
    CREATED,
    FORBIDDEN,
    NOTHING,
    OK,
    Cast,
    answers,
    expected,
    for_the_operator_alone,
    outcome,
    pages,
)
from tests.client import App, fresh, problem
from tests.harness import System

IN_USE = "409 backend_in_use"

ROWS = {
    "add": for_the_operator_alone("PUT", lambda c: f"/v1/backends/{fresh('b')}", CREATED, body=DEAD),
    "look": for_the_operator_alone("GET", lambda c: "/v1/backends/local", OK),
    "look at none": for_the_operator_alone("GET", lambda c: f"/v1/backends/{fresh('no')}", ABSENT),
    "list": for_the_operator_alone("GET", lambda c: "/v1/backends?limit=1", OK),
    "take": for_the_operator_alone("DELETE", lambda c: f"/v1/backends/{dead(c)}", NOTHING),
    "take local": for_the_operator_alone("DELETE", lambda c: "/v1/backends/local", IN_USE),
    "scrub": for_the_operator_alone("POST", lambda c: f"/v1/backends/{dead(c)}/scrub", ACCEPTED),
    "scrub none": for_the_operator_alone("POST", lambda c: f"/v1/backends/{fresh('no')}/scrub", ABSENT),
}


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app, Operator(system):
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, name: str) -> None:
    assert answers(cast, ROWS[name]) == expected(cast, ROWS[name])


def test_a_backend_is_told_with_the_options_of_its_scheme_and_without_its_secret(cast: Cast) -> None:
    name = fresh("backend")
    answer = put(cast, name, **DEAD, role="archive", choosable=True, region="eu-1")
    assert answer.status_code == 201
    shown = answer.json()
    assert {k: v for k, v in shown.items() if k != "created_at"} == {
        "id": name, "kind": "s3", "url": NOWHERE, "role": "archive", "choosable": True, "status": "unknown",
        "region": "eu-1", "addressing": "path", "encryption": "", "kms_key": "", "cors": False,
        "reason": None, "checked_at": None, "copies": 0, "deletions_waiting": 0,
    }  # fmt: skip
    assert cast.ask("operator", "GET", f"/v1/backends/{name}").json() == shown
    changed = put(cast, name, url=NOWHERE, role=None, unchecked=True)
    assert (changed.status_code, changed.json()) == (200, {**shown, "role": None, "choosable": True})
    node = put(cast, fresh("node"), url="ipfs+http://127.0.0.1:9", token=CANARY, unchecked=True)
    assert (node.status_code, node.json()["kind"], node.json()["plain"]) == (201, "ipfs", "never")
    assert "region" not in node.json()
    cast.media()
    local = cast.ask("operator", "GET", "/v1/backends/local").json()
    assert (local["kind"], local["role"], "region" in local, "plain" in local) == ("local", "primary", False, False)
    assert local["copies"] > 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "url"),
        ({"url": "https://s3.example.com/media"}, "url"),
        ({"url": f"s3+https://AK:{CANARY}@s3.example.com/media"}, "url"),
        ({"url": "s3+https://s3.example.com"}, "url"),
        ({"url": "local:"}, "url"),
        ({"url": NOWHERE, "secret_key": CANARY}, "access_key"),
        ({**DEAD, "token": CANARY}, "token"),
        ({**DEAD, "plain": "public"}, "plain"),
        ({**DEAD, "url": "ipfs+http://127.0.0.1:9"}, "access_key"),
        ({"url": "ipfs+http://127.0.0.1:9", "region": "eu"}, "region"),
        ({**DEAD, "role": "main"}, "role"),
        ({**DEAD, "encryption": "rot13"}, "encryption"),
        ({**DEAD, "kms_key": "k"}, "kms_key"),
        ({**DEAD, "choosable": 1}, "choosable"),
        ({**DEAD, "options": {}}, "options"),
    ],
)
def test_what_cannot_be_is_refused_by_field_and_not_kept(cast: Cast, fields: dict[str, Any], field: str) -> None:
    name = fresh("backend")
    answer = put(cast, name, **fields)
    assert problem(answer, 422, "unprocessable")["field"] == field
    assert CANARY not in answer.text
    assert outcome(cast.ask("operator", "GET", f"/v1/backends/{name}")) == ABSENT


def test_a_store_that_is_not_there_is_not_kept_unless_nobody_is_to_look(cast: Cast) -> None:
    name = fresh("backend")
    answer = put(cast, name, **{**DEAD, "unchecked": False})
    found = problem(answer, 422, "bad_backend")
    assert (found["backend"], CANARY in answer.text) == (name, False)
    assert outcome(cast.ask("operator", "GET", f"/v1/backends/{name}")) == ABSENT
    bad = put(cast, name, **{**DEAD, "url": "s3+http://127.0.0.1:9/no..bucket"})
    problem(bad, 422, "bad_backend")


def test_another_server_needs_the_credentials_anew_and_the_same_one_keeps_them(cast: Cast) -> None:
    name = dead(cast)
    moved = put(cast, name, url="s3+http://127.0.0.1:10/media", unchecked=True)
    assert problem(moved, 422, "unprocessable")["field"] == "access_key"
    assert cast.ask("operator", "GET", f"/v1/backends/{name}").json()["url"] == NOWHERE
    assert outcome(put(cast, name, url="s3+http://127.0.0.1:9/other", unchecked=True)) == OK
    given = {**DEAD, "url": "s3+http://127.0.0.1:10/media"}
    assert outcome(put(cast, name, **given)) == OK


def test_no_flow_is_left_without_a_primary(cast: Cast) -> None:
    problem(put(cast, "local", url="local:", role=None), 409, "conflict")
    problem(put(cast, "local", url="local:", role="backup"), 409, "conflict")
    assert cast.ask("operator", "GET", "/v1/backends/local").json()["role"] == "primary"
    name = dead(cast)
    assert put(cast, name, url=NOWHERE, role="primary", unchecked=True).json()["role"] == "primary"
    assert cast.ask("operator", "GET", "/v1/backends/local").json()["role"] is None
    problem(cast.ask("operator", "DELETE", f"/v1/backends/{name}"), 409, "backend_in_use")
    assert put(cast, "local", url="local:", role="primary").json()["role"] == "primary"
    assert cast.ask("operator", "GET", f"/v1/backends/{name}").json()["role"] is None


def test_backends_are_listed_by_name_page_by_page(cast: Cast) -> None:
    names = {dead(cast) for _ in range(3)}
    operator = {"Authorization": f"Bearer {cast.good['operator']}"}
    with httpx.Client(base_url=cast.app.system.url, headers=operator) as http:
        found = [b["id"] for page in pages(http, "/v1/backends", 2) for b in page]
    assert found == sorted(found)
    assert names | {"local"} <= set(found)


def job_of(cast: Cast, answer: httpx.Response) -> str:
    assert answer.status_code == 202, answer.text
    job = str(answer.json()["job"])
    assert answer.headers["location"] == f"/v1/jobs/{job}"
    return job


def test_a_scrub_is_the_operators_job_and_runs_once_at_a_time(cast: Cast, no_worker: None) -> None:
    name = dead(cast)
    job = job_of(cast, cast.ask("operator", "POST", f"/v1/backends/{name}/scrub"))
    found = cast.ask("operator", "GET", f"/v1/jobs/{job}").json()
    assert (found["kind"], found["media"]) == ("scrub", None)
    assert {outcome(cast.ask(k, "GET", f"/v1/jobs/{job}")) for k in ("app", "owner", "other")} == {ABSENT}
    again = cast.ask("operator", "POST", f"/v1/backends/{name}/scrub")
    assert problem(again, 409, "conflict")["job"] == job
    assert outcome(cast.ask("operator", "DELETE", f"/v1/jobs/{job}")) == OK
    job = job_of(cast, cast.ask("operator", "POST", f"/v1/backends/{name}/scrub"))
    assert outcome(cast.ask("operator", "DELETE", f"/v1/jobs/{job}")) == OK


def test_a_secret_is_in_no_answer_no_log_and_nowhere_in_the_database(cast: Cast, system: System) -> None:
    name = dead(cast)
    token = put(cast, fresh("node"), url="ipfs+http://127.0.0.1:9", token=CANARY, unchecked=True)
    told = [token, put(cast, name, url=NOWHERE), put(cast, name, **{**DEAD, "extra": CANARY})]
    told += [put(cast, name, **{**DEAD, "url": f"s3+http://x:{CANARY}@127.0.0.1:9/media"})]
    told += [put(cast, name, **{**DEAD, "unchecked": False, "url": "s3+http://127.0.0.1:10/media"})]
    told += [put(cast, f"bad name {name}", **DEAD), cast.ask("app", "PUT", f"/v1/backends/{name}", json=DEAD)]
    told += [cast.ask("operator", "GET", path) for path in (f"/v1/backends/{name}", "/v1/backends", "/metrics")]
    for canary in (CANARY, str(DEAD["access_key"])):
        assert [a.url for a in told if canary in a.text + str(a.headers)] == []
        logs = {p.name: p.read_text(errors="replace") for p in (system.data_dir / "log").iterdir() if p.is_file()}
        assert [log for log, text in logs.items() if canary in text] == []
        assert canary not in system.output
        assert [table for table, text in asyncio.run(tables(system)).items() if spelled(canary, text)] == []


def spelled(secret: str, text: str) -> bool:
    return secret in text or secret.encode().hex() in text


async def tables(system: System) -> dict[str, str]:
    """All rows of all tables, as text."""
    connection = await asyncpg.connect(system.settings.database_url)
    try:
        names = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        return {n: json.dumps([r[0] for r in await connection.fetch(f'select t::text from "{n}" t')]) for (n,) in names}
    finally:
        await connection.close()


def test_a_key_in_a_browser_and_a_body_that_is_no_json_are_refused_here_too(cast: Cast) -> None:
    headers = {"Origin": "https://app.example"}
    answer = cast.ask("operator", "PUT", f"/v1/backends/{fresh('b')}", json=DEAD, headers=headers)
    assert outcome(answer) == "403 key_in_browser"
    for name, content in (("b", b"x"), ("b", b"[]")):
        given = {"content": content, "headers": {"Content-Type": "application/json"}}
        assert cast.ask("operator", "PUT", f"/v1/backends/{name}", **given).status_code in (400, 422)
    assert outcome(put(cast, "-bad", **DEAD)) == "400 bad_request"
    assert outcome(cast.ask("operator", "GET", "/v1/users")) == FORBIDDEN
