"""Where flows lie: who may say so and have them moved, and who is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.backends import Operator, dead, flow, on
from tests.callers import (
    ABSENT,
    ACCEPTED,
    NOTHING,
    OK,
    SCOPE,
    Cast,
    answers,
    expected,
    outcome,
    pages,
    row,
)
from tests.client import App, fresh, problem
from tests.harness import System, until


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app, Operator(system):
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.fixture
def made(cast: Cast) -> Iterator[list[str]]:
    """Flows that give up their backends at the end, so that these can go."""
    flows: list[str] = []
    yield flows
    for name in flows:
        cast.app.http.delete(f"/v1/flows/{name}")


def led(cast: Cast, made: list[str]) -> str:
    """A flow that the owner is an admin of."""
    name = flow(cast.app)
    made.append(name)
    assert cast.app.http.put(f"/v1/flows/{name}/members/{cast.owner}", json={"role": "admin"}).status_code == 201
    return name


@pytest.mark.parametrize(("method", "path", "done"), [("PUT", "backends", OK), ("POST", "move", ACCEPTED)])
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(
    cast: Cast, made: list[str], method: str, path: str, done: str
) -> None:
    body: dict[str, Any] = {"backends": []}
    asked = row(method, lambda c: f"/v1/flows/{led(c, made)}/{path}", done, done, "manage", body=body)
    assert answers(cast, asked) == expected(cast, asked)
    none = row(method, lambda c: f"/v1/flows/{fresh('no')}/{path}", ABSENT, ABSENT, "manage", body=body)
    assert answers(cast, none) == expected(cast, none)


def test_a_flow_says_where_it_lies_and_says_so_again_in_every_answer(cast: Cast, made: list[str]) -> None:
    one, two = dead(cast), dead(cast)
    where = [on(one), on("local", "backup"), on(two, "archive")]
    name = fresh("flow")
    made.append(name)
    answer = cast.app.http.put(f"/v1/flows/{name}", json={"backends": [where[2], where[0], where[1]]})
    assert (answer.status_code, sorted(answer.json()["backends"], key=str)) == (201, sorted(where, key=str))
    assert answer.json()["backends"][0] == on(one)
    assert cast.app.http.put(f"/v1/flows/{name}", json={"square": True}).json()["backends"] == answer.json()["backends"]
    assert cast.app.http.get(f"/v1/flows/{name}").json()["backends"] == answer.json()["backends"]
    listed = [f for page in pages(cast.app.http, "/v1/flows", 50) for f in page]
    assert {f["id"]: f["backends"] for f in listed}[name] == answer.json()["backends"]
    problem(cast.ask("operator", "DELETE", f"/v1/backends/{one}"), 409, "backend_in_use")
    assert cast.app.http.put(f"/v1/flows/{name}", json={"backends": []}).json()["backends"] == []
    assert outcome(cast.ask("operator", "DELETE", f"/v1/backends/{one}")) == NOTHING


@pytest.mark.parametrize(
    "where",
    [
        [on("local", "backup")],
        [on("local"), on("local", "backup")],
        [on("local"), on("other")],
        [{"backend": "local"}],
        [{"backend": "local", "role": "admin"}],
        [{**on("local"), "x": 1}],
        [on("no name")],
        "local",
        None,
    ],
)
def test_a_flow_lies_nowhere_that_cannot_be(cast: Cast, made: list[str], where: Any) -> None:
    name = flow(cast.app)
    made.append(name)
    for path in (f"/v1/flows/{name}", f"/v1/flows/{name}/backends"):
        problem(cast.app.http.put(path, json={"backends": where}), 422, "unprocessable")
    assert cast.app.http.get(f"/v1/flows/{name}").json()["backends"] == []


def test_the_app_names_any_backend_and_admins_of_a_flow_those_that_they_may_choose(cast: Cast, made: list[str]) -> None:
    mine, free, name = dead(cast), dead(cast, choosable=True), led(cast, made)
    path, body = f"/v1/flows/{name}/backends", {"backends": [on(mine)]}
    found = problem(cast.ask("owner", "PUT", path, json=body), 422, "unknown_backend")
    unknown = problem(cast.ask("owner", "PUT", path, json={"backends": [on("none")]}), 422, "unknown_backend")
    assert {**found, "backend": ""} == {**unknown, "backend": ""}
    problem(cast.ask("owner", "POST", f"/v1/flows/{name}/move", json=body), 422, "unknown_backend")
    chosen = cast.ask("owner", "PUT", path, json={"backends": [on(free)]})
    assert (chosen.status_code, chosen.json()) == (200, {"backends": [on(free)]})
    assert cast.app.http.put(path, json=body).json() == body
    assert cast.ask("owner", "PUT", path, json={"backends": []}).json() == {"backends": []}
    assert outcome(cast.ask("view", "PUT", path, json=body)) == SCOPE


def job_of(cast: Cast, answer: httpx.Response) -> str:
    assert answer.status_code == 202, answer.text
    job = str(answer.json()["job"])
    assert answer.headers["location"] == f"/v1/jobs/{job}"
    return job


def test_a_flow_moves_once_at_a_time_and_its_job_is_the_starters_and_the_operators(
    cast: Cast, made: list[str], system: System, no_worker: None
) -> None:
    name, gone = led(cast, made), dead(cast, choosable=True)
    cast.media(flow=name)
    body = {"backends": [on(gone)]}
    job = job_of(cast, cast.ask("owner", "POST", f"/v1/flows/{name}/move", json=body))
    assert cast.app.http.get(f"/v1/flows/{name}").json()["backends"] == [on(gone)]
    for again in ({}, {"backends": []}):
        second = cast.app.http.post(f"/v1/flows/{name}/move", json=again)
        assert problem(second, 409, "conflict")["job"] == job
    assert cast.app.http.get(f"/v1/flows/{name}").json()["backends"] == [on(gone)]
    asked = {k: outcome(cast.ask(k, "GET", f"/v1/jobs/{job}")) for k in ("owner", "app", "operator", "other", "upload")}
    assert asked == {"owner": OK, "app": OK, "operator": OK, "other": ABSENT, "upload": SCOPE}
    assert outcome(cast.ask("operator", "DELETE", f"/v1/jobs/{job}")) == OK
    assert cast.app.http.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    system.kill("worker-1", signal.SIGCONT)
    back = job_of(cast, cast.app.http.post(f"/v1/flows/{name}/move", json={"backends": []}))
    until(lambda: cast.app.http.get(f"/v1/jobs/{back}").json()["state"] == "completed", 40, "the way back")
    assert cast.app.http.get(f"/v1/jobs/{back}").json()["progress"]["done"] == 1


def test_a_media_tells_the_app_and_its_owner_where_it_lies_and_nobody_else(cast: Cast, made: list[str]) -> None:
    name = flow(cast.app)
    made.append(name)
    cast.app.http.put(f"/v1/flows/{name}/members/{cast.other}", json={"role": "viewer"})
    media = cast.media(flow=name)
    for kind in ("app", "owner"):
        told = cast.ask(kind, "GET", f"/v1/media/{media}").json()
        assert told["stored"] == [{"backend": "local", "role": "primary", "state": "stored"}]
        assert told["cid"] is None
    assert not {"stored", "cid"} & set(cast.ask("other", "GET", f"/v1/media/{media}").json())
    for kind in ("app", "other"):
        (listed,) = cast.ask(kind, "GET", f"/v1/flows/{name}/media").json()["items"]
        assert not {"stored", "cid"} & set(listed)
