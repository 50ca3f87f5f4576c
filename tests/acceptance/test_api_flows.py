"""Flows: who may make them, be in them, post to them and see what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.callers import (
    ABSENT,
    ACCEPTED,
    CREATED,
    FORBIDDEN,
    NO_ID,
    NOTHING,
    OK,
    SCOPE,
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

ROLES = ("viewer", "editor", "admin")


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


def flow(app: App, **fields: object) -> str:
    name = fresh("flow")
    assert app.http.put(f"/v1/flows/{name}", json=fields).status_code == 201
    return name


def join(app: App, name: str, user: str, role: str) -> None:
    assert app.http.put(f"/v1/flows/{name}/members/{user}", json={"role": role}).status_code in (200, 201)


def owners(cast: Cast, role: str = "admin") -> str:
    """A flow that the owner is in."""
    name = flow(cast.app)
    join(cast.app, name, cast.owner, role)
    return name


def filled(cast: Cast, media: str) -> str:
    """A flow that the owner is an admin of, with that media in it."""
    name = owners(cast)
    assert cast.app.http.put(f"/v1/flows/{name}/media/{media}").status_code == 204
    return name


@pytest.fixture(scope="module")
def rows(cast: Cast) -> dict[str, Row]:
    media, role = cast.media(), {"role": "viewer"}

    def with_a_member(c: Cast) -> str:
        name = owners(c)
        join(c.app, name, c.other, "viewer")
        return name

    return {
        "make": for_the_app_alone("PUT", lambda c: f"/v1/flows/{fresh('flow')}", CREATED, body={}),
        "look": for_the_app_alone("GET", lambda c: f"/v1/flows/{owners(c)}", OK),
        "look at none": for_the_app_alone("GET", lambda c: f"/v1/flows/{fresh('no')}", ABSENT),
        "list": for_the_app_alone("GET", lambda c: "/v1/flows?limit=1", OK),
        "delete": for_the_app_alone("DELETE", lambda c: f"/v1/flows/{owners(c)}", NOTHING),
        "see media": row("GET", lambda c: f"/v1/flows/{owners(c, 'viewer')}/media", OK, OK, "view"),
        "see media of none": row("GET", lambda c: f"/v1/flows/{fresh('no')}/media", ABSENT, ABSENT, "view"),
        "add": row("PUT", lambda c: f"/v1/flows/{owners(c)}/media/{media}", NOTHING, NOTHING, "manage"),
        "add nothing": row("PUT", lambda c: f"/v1/flows/{owners(c)}/media/{NO_ID}", ABSENT, ABSENT, "manage"),
        "take out": row("DELETE", lambda c: f"/v1/flows/{filled(c, media)}/media/{media}", NOTHING, NOTHING, "manage"),
        "see members": row("GET", lambda c: f"/v1/flows/{owners(c)}/members", OK, OK, "view"),
        "let in": row(
            "PUT", lambda c: f"/v1/flows/{owners(c)}/members/{c.other}", CREATED, CREATED, "manage", body=role
        ),
        "let nobody in": row(
            "PUT", lambda c: f"/v1/flows/{owners(c)}/members/{fresh('no')}", ABSENT, ABSENT, "manage", body=role
        ),
        "put out": row(
            "DELETE", lambda c: f"/v1/flows/{with_a_member(c)}/members/{c.other}", NOTHING, NOTHING, "manage", FORBIDDEN
        ),
    }


ROWS = (
    "make", "look", "look at none", "list", "delete", "see media", "see media of none", "add", "add nothing", "take out",
    "see members", "let in", "let nobody in", "put out",
)  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, rows: dict[str, Row], name: str) -> None:
    assert answers(cast, rows[name]) == expected(cast, rows[name])


ROLE_ROWS = {  # what a viewer, an editor and an admin of the flow are answered, and whoever is in none
    "see media": ("GET", "media", (OK, OK, OK, ABSENT)),
    "add their own": ("PUT", "media/{own}", (FORBIDDEN, NOTHING, NOTHING, ABSENT)),
    "add another's that is there": ("PUT", "media/{there}", (FORBIDDEN, FORBIDDEN, FORBIDDEN, ABSENT)),
    "add what they may not see": ("PUT", "media/{hidden}", (FORBIDDEN, ABSENT, ABSENT, ABSENT)),
    "take another's out": ("DELETE", "media/{there}", (FORBIDDEN, NOTHING, NOTHING, ABSENT)),
    "see members": ("GET", "members", (FORBIDDEN, FORBIDDEN, OK, ABSENT)),
    "let in": ("PUT", "members/{friend}", (FORBIDDEN, FORBIDDEN, CREATED, ABSENT)),
    "put out": ("DELETE", "members/{friend}", (FORBIDDEN, FORBIDDEN, ABSENT, ABSENT)),
    "say where it lies": ("PUT", "backends", (FORBIDDEN, FORBIDDEN, OK, ABSENT)),
    "move it": ("POST", "move", (FORBIDDEN, FORBIDDEN, ACCEPTED, ABSENT)),
    "change the flow": ("PUT", "", (FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN)),
    "delete the flow": ("DELETE", "", (FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN)),
}


@pytest.mark.parametrize("what", ROLE_ROWS)
def test_a_role_is_what_it_says_and_nothing_more(cast: Cast, app: App, what: str) -> None:
    method, path, wanted = ROLE_ROWS[what]
    friend, hidden, found = app.user(), cast.media(), []
    for role in (*ROLES, None):
        name = flow(app)
        if role is not None:
            join(app, name, cast.other, role)
        there = cast.media(flow=name)
        own = app.upload(cast.other, photo(40, 30, 5)).json()["id"]
        part = path.format(own=own, there=there, hidden=hidden, friend=friend)
        given = {"members": {"role": "viewer"}, "backends": {"backends": []}}.get(path.partition("/")[0], {})
        body = {"json": given} if method == "PUT" else {}
        found.append(outcome(cast.ask("other", method, f"/v1/flows/{name}/{part}".rstrip("/"), **body)))
    assert tuple(found) == wanted


def test_a_flow_that_is_not_yours_looks_like_one_that_is_not_there(cast: Cast, app: App) -> None:
    private, absent = flow(app), fresh("absent")
    media, own = cast.media(flow=private), app.upload(cast.other, photo(40, 30, 6)).json()["id"]
    for method, path in (
        ("GET", "/v1/flows/{}/media"),
        ("PUT", f"/v1/flows/{{}}/media/{own}"),
        ("PUT", f"/v1/flows/{{}}/media/{media}"),
        ("DELETE", f"/v1/flows/{{}}/media/{own}"),
        ("DELETE", f"/v1/flows/{{}}/media/{media}"),
        ("GET", "/v1/flows/{}/members"),
        ("PUT", f"/v1/flows/{{}}/members/{cast.other}"),
        ("DELETE", f"/v1/flows/{{}}/members/{cast.other}"),
        ("PUT", "/v1/flows/{}/backends"),
        ("POST", "/v1/flows/{}/move"),
        ("GET", "/v1/flows/{}"),
        ("GET", "/v1/media?flow={}"),
        ("GET", f"/v1/media?user={cast.owner}&flow={{}}"),
    ):
        body = {"role": "admin"} if "members" in path else {"backends": []}
        given: dict[str, Any] = {"json": body} if method == "PUT" else {}
        there = cast.ask("other", method, path.format(private), **given)
        nothing = cast.ask("other", method, path.format(absent), **given)
        assert bare(there, private) == bare(nothing, absent), (method, path)
    for name in (private, absent):
        answer = cast.ask("other", "PUT", f"/v1/media?flow={name}", content=photo(40, 30, 7))
        assert outcome(answer) == "422 unknown_flow"


def test_a_put_makes_a_flow_and_changes_only_what_it_names(app: App) -> None:
    name = fresh("flow")
    made = app.http.put(f"/v1/flows/{name}")
    assert made.status_code == 201
    kept = {
        "id": name,
        "square": False,
        "visibility": "private",
        "posting": "editors",
        "unsafe": "allow",
        "description": "",
        "backends": [],
    }
    assert {k: v for k, v in made.json().items() if k != "created_at"} == kept
    for change in ({"square": True}, {}, {"visibility": "public"}, {"description": "Grüße\n"}, {"posting": "users"}):
        kept |= change
        for _ in range(2):
            answer = app.http.put(f"/v1/flows/{name}", json=change)
            assert (answer.status_code, answer.json()) == (200, {**kept, "created_at": made.json()["created_at"]})
    assert app.http.get(f"/v1/flows/{name}").json() == answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"visibility": "secret"},
        {"posting": "anyone"},
        {"square": 1},
        {"square": None},
        {"description": None},
        {"description": "x" * 1001},
        {"description": "a\x00b"},
        {"description": "a\x7f"},
        {"id": "other"},
    ],
)
def test_a_flow_that_cannot_be_is_refused_and_not_made(app: App, body: dict[str, Any]) -> None:
    name = fresh("flow")
    problem(app.http.put(f"/v1/flows/{name}", json=body), 422, "unprocessable")
    assert app.http.get(f"/v1/flows/{name}").status_code == 404


def test_general_is_there_and_stays_private_and_open_to_users_posting(cast: Cast, app: App) -> None:
    general = app.http.get("/v1/flows/general").json()
    assert (general["visibility"], general["posting"], general["square"]) == ("private", "users", False)
    for body in ({"visibility": "public"}, {"posting": "editors"}):
        problem(app.http.put("/v1/flows/general", json=body), 409, "conflict")
    problem(app.http.delete("/v1/flows/general"), 409, "conflict")
    assert app.http.get("/v1/flows/general").json() == general
    media = cast.media()
    assert app.http.get(f"/v1/media/{media}").json()["flows"] == ["general"]
    problem(cast.ask("other", "GET", f"/v1/media/{media}"), 404, "not_found")


def test_where_users_may_post_they_add_their_own_and_see_nothing_of_others(cast: Cast, app: App) -> None:
    name = flow(app, posting="users")
    theirs = cast.media(flow=name)
    own = cast.ask("other", "PUT", f"/v1/media?flow={name}", content=photo(40, 30, 8)).json()["id"]
    later = app.upload(cast.other, photo(40, 30, 9)).json()["id"]
    assert outcome(cast.ask("other", "PUT", f"/v1/flows/{name}/media/{later}")) == NOTHING
    assert outcome(cast.ask("other", "PUT", f"/v1/flows/{name}/media/{theirs}")) == ABSENT
    assert outcome(cast.ask("other", "DELETE", f"/v1/flows/{name}/media/{theirs}")) == ABSENT
    assert outcome(cast.ask("other", "GET", f"/v1/flows/{name}/media")) == ABSENT
    assert outcome(cast.ask("other", "GET", f"/v1/media/{theirs}")) == ABSENT
    seen = cast.ask("other", "GET", f"/v1/media?flow={name}").json()["items"]
    assert [m["id"] for m in seen] == [later, own]
    assert outcome(cast.ask("other", "DELETE", f"/v1/flows/{name}/media/{own}")) == NOTHING
    listed = app.http.get(f"/v1/flows/{name}/media").json()["items"]
    assert [m["id"] for m in listed] == [later, theirs]


def test_a_public_flow_shows_its_standing_links_to_anyone_and_its_list_to_members_alone(cast: Cast, app: App) -> None:
    name = flow(app, visibility="public")
    media = app.ready(cast.media(flow=name))
    assert app.anonymous().get(f"{media['url']}1/").status_code == 200
    assert outcome(cast.ask("other", "GET", f"/v1/flows/{name}/media")) == ABSENT
    assert outcome(cast.ask("nobody", "GET", f"/v1/flows/{name}/media")) == "401 unauthorized"
    other = app.ready(cast.media())
    assert app.anonymous().get(f"{other['url']}1/").status_code == 401
    assert app.http.put(f"/v1/flows/{name}/media/{other['id']}").status_code == 204
    until(lambda: app.anonymous().get(f"{other['url']}1/").status_code == 200, 3, "sight of what was added")


def test_deleting_a_flow_deletes_none_of_its_media(cast: Cast, app: App) -> None:
    name = flow(app)
    media = cast.media(flow=name)
    assert app.http.delete(f"/v1/flows/{name}").status_code == 204
    problem(app.http.delete(f"/v1/flows/{name}"), 404, "not_found")
    assert app.http.get(f"/v1/media/{media}").json()["flows"] == []
    assert app.http.put(f"/v1/flows/{name}", json={}).status_code == 201
    assert app.http.get(f"/v1/flows/{name}/media").json()["items"] == []
    assert app.http.get(f"/v1/flows/{name}/members").json()["items"] == []


def test_members_are_listed_by_name_and_a_page_stays_where_it_was(app: App) -> None:
    name, users = flow(app), sorted(app.user() for _ in range(6))
    for user in users:
        join(app, name, user, "viewer")
    later = [f"{users[0]}.a", f"{users[5]}.a"]
    seen: list[str] = []
    for number, page in enumerate(pages(app.http, f"/v1/flows/{name}/members", 2)):
        seen += [member["user"] for member in page]
        if number == 0:
            for user in later:
                app.http.put(f"/v1/users/{user}", json={})
                join(app, name, user, "editor")
            assert app.http.delete(f"/v1/flows/{name}/members/{users[0]}").status_code == 204
            assert app.http.delete(f"/v1/flows/{name}/members/{users[4]}").status_code == 204
    assert seen == [users[0], users[1], users[2], users[3], users[5], later[1]]
    problem(app.http.delete(f"/v1/flows/{name}/members/{users[4]}"), 404, "not_found")
    changed = app.http.put(f"/v1/flows/{name}/members/{users[1]}", json={"role": "admin"})
    assert (changed.status_code, changed.json()) == (200, {"user": users[1], "role": "admin"})
    for body in ({}, {"role": "owner"}, {"role": None}, {"role": "admin", "x": 1}):
        problem(app.http.put(f"/v1/flows/{name}/members/{users[1]}", json=body), 422, "unprocessable")


def test_a_session_without_the_scope_learns_nothing_of_a_flow(cast: Cast, app: App) -> None:
    name = owners(cast)
    for there in (name, fresh("absent")):
        assert outcome(cast.ask("upload", "GET", f"/v1/flows/{there}/media")) == SCOPE
        assert outcome(cast.ask("view", "DELETE", f"/v1/flows/{there}/members/{cast.other}")) == SCOPE
