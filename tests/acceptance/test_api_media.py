"""Media: who may upload, see, list and delete which, what is shown to whom, and how lists page."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.callers import (
    ABSENT,
    CREATED,
    FORBIDDEN,
    NO_ID,
    NOTHING,
    OK,
    SCOPE,
    UNAUTHORIZED,
    Cast,
    Row,
    answers,
    bare,
    expected,
    outcome,
    pages,
    row,
)
from tests.client import App, fresh, leaves_nothing, photo, problem, sha256
from tests.harness import System

PHOTO = photo(60, 45, 50)
TEXT = base64.b64encode(PHOTO).decode()


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.fixture(scope="module")
def media(cast: Cast, app: App) -> dict[str, Any]:
    return app.ready(cast.media())


@pytest.fixture(scope="module")
def rows(cast: Cast, media: dict[str, Any]) -> dict[str, Row]:
    there, owner = media["id"], cast.owner
    theirs: dict[str, Any] = {"user": owner, "data": TEXT}
    return {
        "look": row("GET", lambda c: f"/v1/media/{there}", OK, OK, "view"),
        "look at none": row("GET", lambda c: f"/v1/media/{NO_ID}", ABSENT, ABSENT, "view"),
        "list": row("GET", lambda c: "/v1/media?limit=1", OK, OK, "view", OK),
        "list a user's": row("GET", lambda c: f"/v1/media?user={owner}&limit=1", OK, OK, "view", OK),
        "list nobody's": row("GET", lambda c: f"/v1/media?user={fresh('no')}", ABSENT, OK, "view", OK),
        "delete": row("DELETE", lambda c: f"/v1/media/{c.media()}", NOTHING, NOTHING, "manage"),
        "delete another's": row("DELETE", lambda c: f"/v1/media/{there}x", ABSENT, ABSENT, "manage"),
        "delete none": row("DELETE", lambda c: f"/v1/media/{NO_ID}", ABSENT, ABSENT, "manage"),
        "put for the owner": row(
            "PUT", lambda c: f"/v1/media?user={owner}", CREATED, CREATED, "upload", FORBIDDEN, content=PHOTO
        ),
        "post for the owner": row("POST", lambda c: "/v1/media", CREATED, CREATED, "upload", FORBIDDEN, body=theirs),
        "put for the caller": row(
            "PUT", lambda c: "/v1/media", "400 bad_request", CREATED, "upload", CREATED, content=PHOTO
        ),
        "post for the caller": row(
            "POST", lambda c: "/v1/media", "400 bad_request", CREATED, "upload", CREATED, body={"data": TEXT}
        ),
    }


ROWS = (
    "look", "look at none", "list", "list a user's", "list nobody's", "delete", "delete another's", "delete none",
    "put for the owner", "post for the owner", "put for the caller", "post for the caller",
)  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, rows: dict[str, Row], name: str) -> None:
    assert answers(cast, rows[name]) == expected(cast, rows[name])


def test_every_kind_of_caller_sees_the_bytes_that_are_theirs(cast: Cast, media: dict[str, Any]) -> None:
    seen = {"app": OK, "owner": OK, "view": OK}
    for quality in (0, 3):
        found = {k: outcome(cast.ask(k, "GET", f"{media['url']}{quality}/")) for k in (*cast.good, *cast.refused)}
        assert found == {k: seen.get(k, ABSENT) for k in cast.good} | dict.fromkeys(cast.refused, UNAUTHORIZED)


def test_a_media_of_another_looks_like_none(cast: Cast, media: dict[str, Any]) -> None:
    for method, path in (("GET", "/v1/media/{}"), ("DELETE", "/v1/media/{}"), ("GET", "/v1/media/{}/links")):
        there, absent = (cast.ask("other", method, path.format(i)) for i in (media["id"], NO_ID))
        assert bare(there, media["id"]) == bare(absent, NO_ID), (method, path)
    for query in (f"user={cast.owner}", "user=nobody-at-all"):
        answer = cast.ask("other", "GET", f"/v1/media?{query}")
        assert answer.json() == {"items": [], "next": None}


def test_every_method_that_an_address_does_not_take_is_refused_with_those_that_it_does(app: App) -> None:
    for method, path, allowed in (
        ("PATCH", "/v1/media", "POST"),
        ("DELETE", "/v1/media", "GET"),
        ("POST", f"/v1/media/{NO_ID}", "GET"),
        ("PUT", f"/v1/media/{NO_ID}", "DELETE"),
        ("POST", "/v1/users/a", "PUT"),
        ("DELETE", "/healthz", "GET"),
        ("PUT", "/metrics", "GET"),
        ("GET", "/v1/sessions", "POST"),
    ):
        answer = app.http.request(method, path)
        problem(answer, 405, "method_not_allowed")
        assert allowed in answer.headers["allow"].split(", "), (method, path, answer.headers["allow"])


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v2/media", "/v1/nothing", "/v1/media/", "/", "/index.html", "/.git/"]
)
def test_what_is_no_address_is_not_found(app: App, path: str) -> None:
    problem(app.http.get(path), 404, "not_found")


def test_a_media_says_all_that_the_contract_names(app: App) -> None:
    user, flow = app.user(), fresh("flow")
    app.http.put(f"/v1/flows/{flow}", json={})
    image = Image.frombytes("RGB", (200, 100), bytes(range(200)) * 300)
    out = io.BytesIO()
    image.save(out, "PNG")
    first = app.http.put(f"/v1/media?user={user}&flow={flow}&flow=general&filename=A b.png", content=out.getvalue())
    assert (first.status_code, first.headers["location"]) == (201, f"/v1/media/{first.json()['id']}")
    assert [r["quality"] for r in first.json()["rungs"]] == [1, 2, 3]
    found = app.ready(first.json()["id"])
    assert {k: found[k] for k in ("owner", "kind", "status", "reason", "mime", "filename", "width", "height")} == {
        "owner": user,
        "kind": "image",
        "status": "ready",
        "reason": None,
        "mime": "image/png",
        "filename": "A b.png",
        "width": 200,
        "height": 100,
    }
    assert (found["bytes"], found["sha256"]) == (len(out.getvalue()), sha256(out.getvalue()))
    assert found["total_bytes"] == found["bytes"] + sum(r["bytes"] for r in found["rungs"])
    assert [r["quality"] for r in found["rungs"]] == [1, 2, 3, 4, 5, 6]
    assert 5 < len(base64.b64decode(found["placeholder"])) < 40
    assert sorted(found["flows"]) == sorted([flow, "general"])
    assert datetime.fromisoformat(found["created_at"]).utcoffset() is not None
    assert app.http.get(f"/v1/jobs/{found['job']}").json()["media"] == found["id"]
    assert found.pop("stored") == [{"backend": "local", "role": "primary", "state": "stored"}]
    assert found.pop("cid") is None
    assert app.http.get("/v1/media", params={"user": user}).json()["items"] == [found]


def test_a_member_is_shown_what_concerns_them_and_no_more(cast: Cast, app: App) -> None:
    shared, secret, theirs = fresh("shared"), fresh("secret"), fresh("theirs")
    for name in (shared, secret, theirs):
        app.http.put(f"/v1/flows/{name}", json={})
    for name, user in ((shared, cast.other), (theirs, cast.other), (secret, cast.owner)):
        app.http.put(f"/v1/flows/{name}/members/{user}", json={"role": "viewer"})
    media = app.ready(cast.media(flow=[shared, secret]))
    seen = cast.ask("other", "GET", f"/v1/media/{media['id']}").json()
    owners = {
        "reason",
        "total_bytes",
        "sha256",
        "origin",
        "meta",
        "source",
        "edits",
        "notes",
        "job",
        "stored",
        "cid",
        "trashed_at",
        "unsafe",
        "purge_at",
    }
    assert seen == {k: media[k] for k in media if k not in owners} | {"flows": [shared]}
    assert cast.ask("owner", "GET", f"/v1/media/{media['id']}").json() == media
    for query in (f"flow={shared}", f"user={cast.owner}", f"user={cast.owner}&flow={shared}", ""):
        assert cast.ask("other", "GET", f"/v1/media?{query}").json()["items"][0] == seen, query
    assert cast.ask("other", "GET", f"/v1/media?flow={secret}").json()["items"] == []
    assert cast.ask("other", "GET", f"/{media['url'].strip('/')}/1/").status_code == 200
    app.http.put(f"/v1/users/{cast.owner}", json={"suspended": True})
    problem(cast.ask("other", "GET", f"/v1/media/{media['id']}"), 404, "not_found")
    assert cast.ask("other", "GET", f"/v1/media?flow={shared}").json()["items"] == []
    app.http.put(f"/v1/users/{cast.owner}", json={"suspended": False})


@pytest.mark.parametrize("by", ["user", "flow", "session"])
def test_a_page_of_media_stays_where_it_was_whatever_comes_and_goes(app: App, by: str) -> None:
    user, flow = app.user(), fresh("flow")
    app.http.put(f"/v1/flows/{flow}", json={})

    def add(seed: int) -> str:
        return str(app.upload(user, photo(20, 20, seed), flow=flow).json()["id"])

    made = [add(seed) for seed in range(7)]
    http = app.viewer(user) if by == "session" else app.http
    path = {"user": f"/v1/media?user={user}", "flow": f"/v1/flows/{flow}/media", "session": "/v1/media"}[by]
    query = {"user": user} if by == "user" else {}
    seen: list[str] = []
    for number, page in enumerate(pages(http, path.partition("?")[0], 3, **query)):
        seen += [m["id"] for m in page]
        if number == 0:
            add(100)
            for gone in (made[6], made[2]):
                assert app.http.delete(f"/v1/media/{gone}").status_code == 204
    assert seen == [made[n] for n in (6, 5, 4, 3, 1, 0)]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=bmFtZTphbm4",
        "cursor=aWQ6",
        "user=..",
        "flow=a/b",
        "user=a&user=b",
        "user=%ff",
    ],
)
def test_a_list_with_a_malformed_question_is_refused(app: App, query: str) -> None:
    answer = app.http.get(f"/v1/media?{query}")
    assert outcome(answer) in ("400 bad_request", "400 bad_cursor"), answer.text


def test_where_query_and_body_disagree_it_is_refused_and_where_they_agree_it_is_taken(cast: Cast, app: App) -> None:
    user, other = app.user(), app.user()
    form = {"file": ("a.jpg", PHOTO)}
    with leaves_nothing(app, user), leaves_nothing(app, other):
        problem(app.http.post(f"/v1/media?user={user}", files=form, data={"user": other}), 422, "mismatch")
        problem(app.http.post(f"/v1/media?user={user}", json={"user": other, "data": TEXT}), 422, "mismatch")
        problem(
            app.http.post("/v1/media?flow=general", json={"user": user, "flow": "x", "data": TEXT}), 422, "mismatch"
        )
        problem(app.http.post("/v1/media", json={"user": fresh("no"), "data": TEXT}), 422, "unknown_user")
        problem(app.http.post("/v1/media", json={"user": user, "flow": fresh("no"), "data": TEXT}), 422, "unknown_flow")
        problem(app.http.put(f"/v1/media?user={fresh('no')}", content=PHOTO), 422, "unknown_user")
        problem(
            app.http.post("/v1/media", files={**form, "x": ("b.jpg", PHOTO), "file2": form["file"]}), 400, "bad_request"
        )
        problem(app.http.post("/v1/media", data={"user": user}), 415, "unsupported_type")
        problem(
            app.http.post("/v1/media", content=PHOTO, headers={"Content-Type": "image/jpeg"}), 415, "unsupported_type"
        )
    for answer in (
        app.http.post(f"/v1/media?user={user}", files=form, data={"user": user, "flow": ["general"]}),
        app.http.post(f"/v1/media?user={user}", json={"user": user, "flow": ["general"], "data": TEXT}),
    ):
        assert answer.status_code == 201, answer.text
        assert answer.json()["owner"] == user


def test_prefer_wait_answers_once_the_ladder_is_done(app: App) -> None:
    answer = app.http.put(f"/v1/media?user={app.user()}", content=photo(1200, 900, 3), headers={"Prefer": "wait"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait")
    assert (answer.json()["status"], len(answer.json()["rungs"])) == ("ready", 6)


def test_an_idempotency_key_is_one_users_own(app: App) -> None:
    key, users = {"Idempotency-Key": fresh("key")}, [app.user(), app.user()]
    first, second = (app.http.put(f"/v1/media?user={u}", content=PHOTO, headers=key).json()["id"] for u in users)
    assert first != second
    again = app.http.put(f"/v1/media?user={users[0]}", content=PHOTO, headers=key)
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first, "true")
    for bad in ("x" * 256, "ü".encode().decode("latin-1")):
        answer = app.http.put(
            f"/v1/media?user={users[0]}", content=PHOTO, headers={"Idempotency-Key": bad.encode("latin-1")}
        )
        problem(answer, 400, "bad_request")


def test_one_key_sent_many_times_at_once_stores_one_media(app: App) -> None:
    user, key, found = app.user(), {"Idempotency-Key": fresh("key")}, list[httpx.Response]()

    def send() -> None:
        found.append(app.http.put(f"/v1/media?user={user}", content=PHOTO, headers=key))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {outcome(a) for a in found} <= {CREATED, "409 upload_running"}
    assert len({a.json()["id"] for a in found if a.status_code == 201}) == 1
    assert app.standing(user)["media_count"] == 1


def test_what_is_deleted_twice_is_gone_once(cast: Cast, app: App) -> None:
    media = cast.media()
    assert outcome(cast.ask("owner", "DELETE", f"/v1/media/{media}")) == NOTHING
    assert outcome(cast.ask("owner", "DELETE", f"/v1/media/{media}")) == ABSENT
    assert outcome(cast.ask("view", "DELETE", f"/v1/media/{media}")) == SCOPE
    for path in (f"/v1/media/{media}", f"/v1/media/{media}/links"):
        assert outcome(app.http.get(path)) == ABSENT
    assert outcome(app.http.put(f"/v1/flows/general/media/{media}")) == ABSENT
