"""Sessions: logging in and out, what a session may be, and the one way into a browser: once, soon, and to nowhere else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import asyncpg
import httpx
import pytest

from tests.callers import (
    ABSENT,
    CREATED,
    NO_ID,
    NOTHING,
    SCOPES,
    UNAUTHORIZED,
    Cast,
    Row,
    answers,
    bare,
    expected,
    for_the_app_alone,
    outcome,
    row,
)
from tests.client import App, fresh, photo, problem
from tests.harness import System


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.fixture(scope="module")
def rows(cast: Cast) -> dict[str, Row]:
    login = {"user": cast.owner, "ttl_seconds": 60}
    return {
        "log in": for_the_app_alone("POST", lambda c: "/v1/sessions", CREATED, body=login),
        "log out": row("DELETE", lambda c: f"/v1/sessions/{c.app.session(c.owner)['id']}", NOTHING, NOTHING, "manage"),
        "log out none": row("DELETE", lambda c: f"/v1/sessions/{NO_ID}", ABSENT, ABSENT, "manage"),
        "log nobody out": row("DELETE", lambda c: f"/v1/users/{fresh('no')}/sessions", ABSENT, ABSENT, "manage"),
    }


@pytest.mark.parametrize("name", ["log in", "log out", "log out none", "log nobody out"])
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, rows: dict[str, Row], name: str) -> None:
    assert answers(cast, rows[name]) == expected(cast, rows[name])


def test_only_the_app_and_the_user_log_a_user_out_everywhere(app: App) -> None:
    for kind, wanted in (
        ("operator", "403 forbidden"),
        ("app", NOTHING),
        ("owner", NOTHING),
        ("view", "403 scope_missing"),
    ):
        cast = Cast(app)
        answer = cast.ask(kind, "DELETE", f"/v1/users/{cast.owner}/sessions")
        assert outcome(answer) == wanted, kind
        ended = wanted == NOTHING
        assert outcome(cast.ask("upload", "GET", f"/v1/users/{cast.owner}")) == (
            UNAUTHORIZED if ended else "403 scope_missing"
        )
        assert outcome(cast.ask("other", "GET", f"/v1/users/{cast.other}")) == "200"


def test_another_users_session_looks_like_none(cast: Cast, app: App) -> None:
    session = app.session(cast.owner)["id"]
    there, absent = (cast.ask("other", "DELETE", f"/v1/sessions/{i}") for i in (session, NO_ID))
    assert bare(there, session) == bare(absent, NO_ID)
    assert app.http.delete(f"/v1/sessions/{session}").status_code == 204


def test_a_session_of_any_scope_may_end_itself(app: App) -> None:
    user = app.user()
    for scope in SCOPES:
        session = app.session(user, scopes=[scope])
        http = app.anonymous()
        http.headers["Authorization"] = f"Bearer {session['token']}"
        assert outcome(http.delete(f"/v1/sessions/{session['id']}")) == NOTHING
        assert outcome(http.delete(f"/v1/sessions/{session['id']}")) == UNAUTHORIZED


def test_a_session_says_what_it_is_and_its_secrets_are_told_once(app: App) -> None:
    session = app.session(app.user(), ttl_seconds=3600)
    assert set(session) == {"id", "token", "expires_at", "enter_url"}
    assert session["token"].startswith("cms_")
    assert session["enter_url"].startswith(f"{app.system.url}/enter/")
    assert session["token"].removeprefix("cms_") not in session["enter_url"]
    left = datetime.fromisoformat(session["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(seconds=3601)
    problem(app.http.get(f"/v1/sessions/{session['id']}"), 405, "method_not_allowed")


BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "no user": ({"ttl_seconds": 60}, "unprocessable"),
    "no time": ({"user": "{user}"}, "unprocessable"),
    "no such user": ({"user": "nobody-at-all", "ttl_seconds": 60}, "unknown_user"),
    "a name that cannot be": ({"user": "../x", "ttl_seconds": 60}, "unprocessable"),
    "a name and a line more": ({"user": "{user}\n", "ttl_seconds": 60}, "unprocessable"),
    "no time at all": ({"user": "{user}", "ttl_seconds": 0}, "unprocessable"),
    "time backwards": ({"user": "{user}", "ttl_seconds": -1}, "unprocessable"),
    "time in words": ({"user": "{user}", "ttl_seconds": "60"}, "unprocessable"),
    "more than a year": ({"user": "{user}", "ttl_seconds": 366 * 86400 + 1}, "unprocessable"),
    "more than time": ({"user": "{user}", "ttl_seconds": 10**40}, "unprocessable"),
    "no scope": ({"user": "{user}", "ttl_seconds": 60, "scopes": []}, "unprocessable"),
    "an unknown scope": ({"user": "{user}", "ttl_seconds": 60, "scopes": ["admin"]}, "unprocessable"),
    "a scope in words": ({"user": "{user}", "ttl_seconds": 60, "scopes": "view"}, "unprocessable"),
    "scopes null": ({"user": "{user}", "ttl_seconds": 60, "scopes": None}, "unprocessable"),
    "an unknown field": ({"user": "{user}", "ttl_seconds": 60, "next": "/"}, "unprocessable"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_session_that_cannot_be_is_refused(cast: Cast, app: App, name: str) -> None:
    body, code = BODIES[name]
    given = {k: v.replace("{user}", cast.owner) if isinstance(v, str) else v for k, v in body.items()}
    problem(app.http.post("/v1/sessions", json=given), 422, code)


def entered(app: App, enter_url: str, **headers: str) -> httpx.Response:
    return app.anonymous().get(enter_url, headers=headers)


def test_entering_gives_the_cookie_once_and_sends_on(app: App) -> None:
    user = app.user()
    media = app.stored(user, photo(30, 20))
    session = app.session(user)
    answer = entered(app, f"{session['enter_url']}?next={media['url']}1/")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{media['url']}1/")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = SimpleCookie(answer.headers["set-cookie"])["chipmunk_session"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"], cookie["secure"]) == ("/", True, "lax", "")
    assert cookie["domain"] == ""
    assert cookie.value.startswith("cms_")
    assert cookie.value != session["token"]
    browser = {"Cookie": f"chipmunk_session={cookie.value}"}
    assert app.anonymous().get(f"{media['url']}1/", headers=browser).status_code == 200
    again = entered(app, f"{session['enter_url']}?next=/")
    assert (outcome(again), "set-cookie" in again.headers) == (ABSENT, False)
    assert app.http.delete(f"/v1/sessions/{session['id']}").status_code == 204
    assert outcome(app.anonymous().get(f"/v1/users/{user}", headers=browser)) == UNAUTHORIZED


def test_a_stranger_who_claims_tls_is_not_believed(app: App) -> None:
    answer = entered(
        app, app.session(app.user())["enter_url"], **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "9.9.9.9"}
    )
    assert "secure" not in answer.headers["set-cookie"].lower()


def test_of_many_who_enter_at_once_one_gets_in(app: App) -> None:
    url, found = app.session(app.user())["enter_url"], list[int]()
    threads = [threading.Thread(target=lambda: found.append(entered(app, url).status_code)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] + [404] * 11


def test_looking_at_an_entrance_does_not_use_it_up(app: App) -> None:
    url = app.session(app.user())["enter_url"]
    for _ in range(3):
        assert app.anonymous().head(url).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert app.anonymous().request(method, url).status_code == 405
    assert "set-cookie" not in app.anonymous().head(url).headers
    assert entered(app, url).status_code == 200


def test_an_entrance_ends_after_a_minute_with_its_session_and_with_its_user(app: App) -> None:
    session, out, short, live = (app.session(app.user(), ttl_seconds=t) for t in (600, 600, 1, 600))
    user = app.user()
    suspended = app.session(user)
    assert app.http.put(f"/v1/users/{user}", json={"suspended": True}).status_code == 200
    assert app.http.delete(f"/v1/sessions/{out['id']}").status_code == 204

    async def age() -> list[float]:
        """Makes the session's entrance a minute older; returns how long it had left."""
        connection = await asyncpg.connect(app.system.settings.database_url)
        try:
            rows = await connection.fetch(
                "update entrances set expires_at = expires_at - interval '60 seconds' where session_id = $1"
                " returning extract(epoch from expires_at + interval '60 seconds' - now())",
                session["id"],
            )
            return [float(r[0]) for r in rows]
        finally:
            await connection.close()

    [left] = asyncio.run(age())
    assert 50 < left <= 60
    time.sleep(1.1)
    for one in (session, out, short, suspended):
        assert outcome(entered(app, one["enter_url"])) == ABSENT
    assert entered(app, live["enter_url"]).status_code == 200
    for made_up in ("x", "A" * 22 + "." + "B" * 43, "..", "%2e%2e", "a" * 5000, NO_ID):
        assert outcome(entered(app, f"{app.system.url}/enter/{made_up}")) in (ABSENT, "414 uri_too_long"), made_up


ALLOWED = [
    "/", "/docs", "/a/b?c=d&e=//f#g", "/x?next=https://evil.example", "https://app.example", "https://app.example/",
    "https://app.example/a?b=c", "{here}/docs", "/%C3%BC",
]  # fmt: skip
EVIL = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example", "/%5cevil.example",
    "/%2fevil.example", "%2f%2fevil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
    "https://evil.example", "http://app.example", "https://app.example.evil.example", "https://app.example@evil.example",
    "https://evil.example@app.example", "https://user:pw@app.example/", "https://app.example:444/", "https://app.example%2eevil",
    "https://app.example\\@evil.example", "https://app.example\\.evil.example", "javascript:alert(1)", "JaVaScRiPt:alert(1)",
    "data:text/html,x", "vbscript:x", "ftp://app.example", "evil.example", "./x", "../x", "/../x", "/./x", "/a/../../x",
    "/%2e%2e//evil.example", "/.//evil.example", "/\r\nSet-Cookie: a=b", "/%0d%0aSet-Cookie:a=b", "/\tx", "/\x00", "/%00", " /x",
    "/ x", "/x\x7f", "/\n/evil.example", "\t//evil.example", "/\t/evil.example", "?x", "#x", "https://", "https://[",
    "{evil port}",
    "/" + "a" * 2048, "https://аpp.example/", "//app.example/",
]  # fmt: skip


@pytest.mark.parametrize("target", ALLOWED)
def test_people_are_sent_on_to_a_path_here_or_a_page_of_an_allowed_origin(app: App, target: str) -> None:
    wanted = target.replace("{here}", app.system.url)
    answer = app.anonymous().get(app.session(app.user())["enter_url"], params={"next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, wanted)


@pytest.mark.parametrize("target", EVIL)
def test_people_are_sent_nowhere_else_and_the_entrance_is_not_used_up(app: App, target: str) -> None:
    session = app.session(app.user())
    given = target.replace("{evil port}", f"{app.system.url}1/")
    answer = app.anonymous().get(session["enter_url"], params={"next": given})
    problem(answer, 400, "bad_request")
    assert not {"location", "set-cookie"} & set(answer.headers)
    assert entered(app, session["enter_url"]).status_code == 200


def test_a_next_named_twice_is_refused_and_an_empty_one_is_none(app: App) -> None:
    url = app.session(app.user())["enter_url"]
    problem(entered(app, f"{url}?next=/&next=//evil.example"), 400, "bad_request")
    problem(entered(app, f"{url}?next=%ff"), 400, "bad_request")
    assert entered(app, f"{url}?next=").status_code == 200
