"""Users: who may do what, what a PUT means, what is refused, how lists page, and what deleting one ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.callers import (
    ABSENT,
    ACCEPTED,
    CREATED,
    OK,
    Cast,
    Row,
    answers,
    bare,
    expected,
    for_the_app_alone,
    outcome,
    pages,
    row,
)
from tests.client import App, fresh, photo, problem
from tests.harness import System, until


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


ROWS: dict[str, Row] = {
    "make a user": for_the_app_alone("PUT", lambda c: f"/v1/users/{fresh('user')}", CREATED, body={}),
    "change a user": for_the_app_alone("PUT", lambda c: f"/v1/users/{c.owner}", OK, body={"suspended": False}),
    "look at a user": row("GET", lambda c: f"/v1/users/{c.owner}", OK, OK, "view"),
    "look at no user": row("GET", lambda c: f"/v1/users/{fresh('no')}", ABSENT, ABSENT, "view"),
    "list users": for_the_app_alone("GET", lambda c: "/v1/users?limit=1", OK),
    "delete a user": for_the_app_alone("DELETE", lambda c: f"/v1/users/{c.app.user()}", ACCEPTED),
    "delete no user": for_the_app_alone("DELETE", lambda c: f"/v1/users/{fresh('no')}", ABSENT),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, name: str) -> None:
    assert answers(cast, ROWS[name]) == expected(cast, ROWS[name])


def test_a_user_cannot_tell_another_one_from_none(cast: Cast) -> None:
    nobody = fresh("nobody")
    for method, path in (("GET", "/v1/users/{}"), ("DELETE", "/v1/users/{}/sessions"), ("DELETE", "/v1/users/{}")):
        there = cast.ask("other", method, path.format(cast.owner))
        absent = cast.ask("other", method, path.format(nobody))
        assert bare(there, cast.owner) == bare(absent, nobody), path


def test_a_put_makes_what_is_not_there_and_changes_only_what_it_names(app: App) -> None:
    path = f"/v1/users/{fresh('user')}"
    made = app.http.put(path, json={})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    user = made.json()
    assert user == {
        "id": path.rpartition("/")[2],
        "quota_bytes": app.system.settings.default_quota_bytes,
        "used_bytes": 0,
        "reserved_bytes": 0,
        "media_count": 0,
        "suspended": False,
        "created_at": user["created_at"],
    }
    assert datetime.fromisoformat(user["created_at"]).utcoffset() is not None
    steps: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"quota_bytes": 5}, {"quota_bytes": 5}),
        ({}, {}),
        ({"suspended": True}, {"suspended": True}),
        ({"quota_bytes": None}, {"quota_bytes": None}),
        ({"quota_bytes": 2**62, "suspended": False}, {"quota_bytes": 2**62, "suspended": False}),
        ({"quota_bytes": 0}, {"quota_bytes": 0}),
    ]
    for body, change in steps:
        user |= change
        for _ in range(2):
            answer = app.http.put(path, json=body)
            assert (answer.status_code, answer.json()) == (200, user), body
        assert app.http.get(path).json() == user
    assert app.http.put(path).status_code == 200, "no body at all changes nothing"


def test_a_new_user_may_be_without_limit_or_suspended_from_the_start(app: App) -> None:
    assert app.standing(app.user(quota_bytes=None))["quota_bytes"] is None
    assert app.standing(app.user(suspended=True))["suspended"] is True


@pytest.mark.parametrize("name", ["a", "7", "A.b_c@d-e", "x" * 128, "ann@example.org"])
def test_a_name_may_be_all_that_the_contract_says(app: App, name: str) -> None:
    answer = app.http.put(f"/v1/users/{name}", json={})
    assert answer.status_code in (200, 201)
    assert answer.json()["id"] == name


def test_names_that_differ_in_case_are_two_users(app: App) -> None:
    name = fresh("Case")
    assert app.http.put(f"/v1/users/{name}", json={"quota_bytes": 1}).status_code == 201
    assert app.http.put(f"/v1/users/{name.lower()}", json={"quota_bytes": 2}).status_code == 201
    assert app.standing(name)["quota_bytes"] == 1


JSON = "application/json"
BODIES: dict[str, tuple[str, bytes, int, str]] = {
    "an unknown field": (JSON, b'{"quota": 5}', 422, "unprocessable"),
    "a quota in words": (JSON, b'{"quota_bytes": "5"}', 422, "unprocessable"),
    "a quota that is true": (JSON, b'{"quota_bytes": true}', 422, "unprocessable"),
    "a quota below none": (JSON, b'{"quota_bytes": -1}', 422, "unprocessable"),
    "a quota past all disks": (JSON, b'{"quota_bytes": %d}' % (2**62 + 1), 422, "unprocessable"),
    "a quota of a thousand digits": (JSON, b'{"quota_bytes": 1' + b"0" * 1000 + b"}", 422, "unprocessable"),
    "a quota of fifty thousand digits": (JSON, b'{"quota_bytes": 1' + b"0" * 50_000 + b"}", 400, "bad_request"),
    "a quota without end": (JSON, b'{"quota_bytes": 1e999}', 422, "unprocessable"),
    "half a byte": (JSON, b'{"quota_bytes": 1.5}', 422, "unprocessable"),
    "not a number": (JSON, b'{"quota_bytes": NaN}', 400, "bad_request"),
    "suspended in words": (JSON, b'{"suspended": "yes"}', 422, "unprocessable"),
    "suspended null": (JSON, b'{"suspended": null}', 422, "unprocessable"),
    "a list": (JSON, b"[]", 422, "unprocessable"),
    "a word": (JSON, b'"a"', 422, "unprocessable"),
    "null": (JSON, b"null", 422, "unprocessable"),
    "no json": (JSON, b"{nope", 400, "bad_request"),
    "a member twice": (JSON, b'{"quota_bytes": 1, "quota_bytes": 2}', 400, "bad_request"),
    "deep": (JSON, b"[" * 30_000 + b"]" * 30_000, 400, "bad_request"),
    "deep objects": (JSON, b'{"a":' * 9_000 + b"1" + b"}" * 9_000, 400, "bad_request"),
    "latin-1": (JSON, b'{"\xe9": 1}', 400, "bad_request"),
    "utf-16": (JSON, '{"quota_bytes": 5}'.encode("utf-16"), 400, "bad_request"),
    "utf-16 by name": (f"{JSON}; charset=utf-16", b"{}", 415, "unsupported_type"),
    "a form": ("application/x-www-form-urlencoded", b"quota_bytes=5", 415, "unsupported_type"),
    "plain text": ("text/plain", b"{}", 415, "unsupported_type"),
    "too large": (JSON, b'{"a": "' + b"x" * 65_536 + b'"}', 413, "too_large"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_not_as_it_must_be_is_refused_and_changes_nothing(app: App, name: str) -> None:
    kind, body, status, code = BODIES[name]
    user = fresh("user")
    answer = app.http.put(f"/v1/users/{user}", content=body, headers={"Content-Type": kind})
    found = problem(answer, status, code)
    assert "Traceback" not in answer.text
    assert len(found["detail"]) < 300
    assert app.http.get(f"/v1/users/{user}").status_code == 404


def test_a_compressed_body_is_refused_and_json_in_utf_8_by_name_is_taken(app: App) -> None:
    path = f"/v1/users/{fresh('user')}"
    packed = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    problem(app.http.put(path, content=b"\x1f\x8b", headers=packed), 415, "unsupported_type")
    named = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    assert app.http.put(path, content=b'{"quota_bytes": 7}', headers=named).json()["quota_bytes"] == 7


def test_users_are_listed_by_name_each_once(app: App) -> None:
    stem = fresh("z-page")
    names = [f"{stem}.{n}" for n in "019Aaz"]
    for name in reversed(names):
        app.http.put(f"/v1/users/{name}", json={})
    seen = [user["id"] for page in pages(app.http, "/v1/users", 7) for user in page]
    assert seen == sorted(set(seen))
    assert [name for name in seen if name.startswith(stem)] == names


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "1e2", "9" * 50, "+1", " 1", "%D9%A3", "1&limit=2"])
def test_a_limit_out_of_bounds_is_refused(app: App, limit: str) -> None:
    problem(app.http.get(f"/v1/users?limit={limit}"), 400, "bad_request")


def test_the_largest_limit_is_taken_and_the_default_is_fifty(app: App) -> None:
    for _ in range(52):
        app.user()
    assert len(app.http.get("/v1/users").json()["items"]) == 50
    assert 52 <= len(app.http.get("/v1/users?limit=200").json()["items"]) <= 200
    one = app.http.get("/v1/users?limit=1").json()
    assert (len(one["items"]), bool(one["next"])) == (1, True)


@pytest.mark.parametrize(
    "cursor",
    [
        "!!!!",
        "bmFtZTphbm4=",  # a spelling of its own
        "bmFtZTouLi8",  # name:../
        "aWQ6MDE5",  # id:019
        "aWQ6" + "MDAw" * 10 + "MDA",  # another list's
        "xxxx",
        "%00",
        "%C3%BC",
        "a" * 4000,
        "bmFtZTphbm4&cursor=bmFtZTphbm4",
    ],
)
def test_a_cursor_that_no_list_gave_out_is_refused(app: App, cursor: str) -> None:
    answer = app.http.get(f"/v1/users?cursor={cursor}")
    assert outcome(answer) in ("400 bad_cursor", "400 bad_request"), answer.text


def test_a_suspended_user_is_refused_everywhere_and_comes_back_with_what_was_theirs(app: App) -> None:
    user = app.user()
    media = app.stored(user, photo(30, 20))
    viewer = app.viewer(user)
    app.http.put(f"/v1/users/{user}", json={"suspended": True})
    problem(viewer.get(f"/v1/media/{media['id']}"), 401, "unauthorized")
    problem(app.http.post("/v1/sessions", json={"user": user, "ttl_seconds": 60}), 403, "forbidden")
    problem(app.upload(user, photo(30, 20, 2)), 403, "forbidden")
    assert app.http.get(f"{media['url']}0/").status_code == 200, "the app sees all media of its own"
    app.http.put(f"/v1/users/{user}", json={"suspended": False})
    until(lambda: viewer.get(f"{media['url']}0/").status_code == 200, 3, "sight again")


def test_whoever_takes_a_deleted_users_name_inherits_nothing(app: App) -> None:
    user, friend, flow, key = app.user(quota_bytes=10**7), app.user(), fresh("flow"), {"Idempotency-Key": "k"}
    app.http.put(f"/v1/flows/{flow}", json={})
    app.http.put(f"/v1/flows/{flow}/members/{user}", json={"role": "admin"})
    shared = app.stored(friend, photo(30, 20, 3), flow=flow)
    theirs = app.http.post(f"/v1/media/{shared['id']}/links", json={"audience": f"user:{user}"}).json()
    first = app.http.put("/v1/media", params={"user": user}, content=photo(30, 20, 4), headers=key).json()
    old, session = app.viewer(user), app.session(user)
    gone = app.http.delete(f"/v1/users/{user}")
    assert gone.headers["location"] == f"/v1/jobs/{gone.json()['job']}"
    problem(app.http.delete(f"/v1/users/{user}"), 404, "not_found")
    problem(app.http.post("/v1/sessions", json={"user": user, "ttl_seconds": 60}), 422, "unknown_user")

    assert app.http.put(f"/v1/users/{user}", json={}).status_code == 201
    heir = app.viewer(user)
    assert app.standing(user)["quota_bytes"] == app.system.settings.default_quota_bytes
    problem(old.get(f"/v1/users/{user}"), 401, "unauthorized")
    problem(app.http.delete(f"/v1/sessions/{session['id']}"), 404, "not_found")
    assert app.anonymous().get(session["enter_url"]).status_code == 404
    until(lambda: heir.get(f"{theirs['url']}1/").status_code == 404, 3, "the end of a link to the name before")
    for path in (f"/v1/media/{shared['id']}", f"/v1/media/{first['id']}", f"/v1/flows/{flow}/media"):
        problem(heir.get(path), 404, "not_found")
    for job in (first["job"], gone.json()["job"]):
        problem(heir.get(f"/v1/jobs/{job}"), 404, "not_found")
    assert heir.get("/v1/media").json()["items"] == []
    again = app.http.put("/v1/media", params={"user": user}, content=photo(30, 20, 5), headers=key)
    assert (again.status_code, again.json()["id"] != first["id"]) == (201, True)
    members = app.http.get(f"/v1/flows/{flow}/members").json()["items"]
    assert user not in [m["user"] for m in members]
