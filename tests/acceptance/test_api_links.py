"""Links: who may make, see and revoke them, for whom each opens what, for how long, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

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
from tests.client import App, fresh, problem
from tests.harness import System, until


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.fixture(scope="module")
def media(cast: Cast) -> str:
    return cast.media()


def made(app: App, media: str, audience: str, **fields: object) -> dict[str, Any]:
    answer = app.http.post(f"/v1/media/{media}/links", json={"audience": audience, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
def rows(media: str) -> dict[str, Row]:
    body = {"audience": "owner"}
    return {
        "make": row("POST", lambda c: f"/v1/media/{media}/links", CREATED, CREATED, "manage", body=body),
        "make of none": row("POST", lambda c: f"/v1/media/{NO_ID}/links", ABSENT, ABSENT, "manage", body=body),
        "list": row("GET", lambda c: f"/v1/media/{media}/links", OK, OK, "view"),
        "list of none": row("GET", lambda c: f"/v1/media/{NO_ID}/links", ABSENT, ABSENT, "view"),
        "revoke": row("DELETE", lambda c: f"/v1/links/{made(c.app, media, 'owner')['id']}", NOTHING, NOTHING, "manage"),
        "revoke none": row("DELETE", lambda c: f"/v1/links/{NO_ID}", ABSENT, ABSENT, "manage"),
        "revoke all": row("DELETE", lambda c: f"/v1/media/{c.media()}/links", NOTHING, NOTHING, "manage"),
        "revoke all of none": row("DELETE", lambda c: f"/v1/media/{NO_ID}/links", ABSENT, ABSENT, "manage"),
    }


ROWS = ("make", "make of none", "list", "list of none", "revoke", "revoke none", "revoke all", "revoke all of none")


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, rows: dict[str, Row], name: str) -> None:
    assert answers(cast, rows[name]) == expected(cast, rows[name])


def test_what_is_not_yours_looks_like_what_is_not_there(cast: Cast, app: App, media: str) -> None:
    link = made(app, media, "owner")["id"]
    body = {"json": {"audience": "owner"}}
    for method, path, identifier, given in (
        ("POST", "/v1/media/{}/links", media, body),
        ("GET", "/v1/media/{}/links", media, {}),
        ("DELETE", "/v1/media/{}/links", media, {}),
        ("DELETE", "/v1/links/{}", link, {}),
    ):
        foreign = cast.ask("other", method, path.format(identifier), **given)
        absent = cast.ask("other", method, path.format(NO_ID), **given)
        assert outcome(foreign) == ABSENT
        assert bare(foreign, identifier) == bare(absent, NO_ID), (method, path)


def test_a_member_who_sees_a_media_may_not_make_list_or_revoke_its_links(cast: Cast, app: App) -> None:
    flow = fresh("flow")
    app.http.put(f"/v1/flows/{flow}", json={})
    app.http.put(f"/v1/flows/{flow}/members/{cast.other}", json={"role": "admin"})
    media = cast.media(flow=flow)
    link = made(app, media, "owner")
    assert outcome(cast.ask("other", "GET", f"/v1/media/{media}")) == OK
    for method in ("POST", "GET", "DELETE"):
        given = {"json": {"audience": "anyone"}} if method == "POST" else {}
        assert outcome(cast.ask("other", method, f"/v1/media/{media}/links", **given)) == FORBIDDEN
    assert outcome(cast.ask("other", "DELETE", f"/v1/links/{link['id']}")) == ABSENT
    assert outcome(cast.ask("other", "DELETE", f"/v1/media/{media}")) == FORBIDDEN


def test_a_link_says_what_it_is_and_its_handle_opens_nothing(cast: Cast, app: App, media: str) -> None:
    link = made(app, media, f"user:{cast.other}", ttl_seconds=90)
    assert set(link) == {
        "id", "url", "page", "media", "audience", "original", "password", "max_views", "views", "expires_at", "created_at",
    }  # fmt: skip
    assert (link["page"], link["password"], link["max_views"], link["views"]) == (None, False, None, None)
    assert (link["media"], link["audience"], link["original"]) == (media, f"user:{cast.other}", True)
    lasts = datetime.fromisoformat(link["expires_at"]) - datetime.fromisoformat(link["created_at"])
    assert lasts == timedelta(seconds=90)
    assert abs(datetime.fromisoformat(link["created_at"]) - datetime.now(UTC)) < timedelta(seconds=60)
    assert link["id"] not in link["url"]
    for path in (f"/{link['id']}/1/", f"/v1/links/{link['id']}", f"/v1/media/{link['id']}"):
        assert app.http.get(path).status_code in (404, 405), path
    assert made(app, media, "owner")["expires_at"] is None


SIGHTS = [  # audience, original as asked, and what each viewer gets: quality 1, quality 0
    ("owner", None, {"owner": "200 200", "other": "404 404", "app": "200 200", "nobody": "401 401"}),
    ("owner", False, {"owner": "200 404", "other": "404 404", "app": "200 404", "nobody": "401 401"}),
    ("user", None, {"owner": "404 404", "other": "200 200", "app": "200 200", "nobody": "401 401"}),
    ("user", False, {"owner": "404 404", "other": "200 404", "app": "200 404", "nobody": "401 401"}),
    ("anyone", None, {"owner": "200 404", "other": "200 404", "app": "200 404", "nobody": "200 404"}),
    ("anyone", True, {"owner": "200 200", "other": "200 200", "app": "200 200", "nobody": "200 200"}),
]


@pytest.mark.parametrize(("audience", "original", "sights"), SIGHTS)
def test_a_link_opens_for_its_audience_and_the_original_only_where_it_says_so(
    cast: Cast, app: App, media: str, audience: str, original: bool | None, sights: dict[str, str]
) -> None:
    link = made(app, media, f"user:{cast.other}" if audience == "user" else audience, original=original)
    assert link["original"] is (audience != "anyone" if original is None else original)
    found = {
        viewer: " ".join(str(cast.ask(viewer, "GET", f"{link['url']}{q}/").status_code) for q in (1, 0))
        for viewer in sights
    }
    assert found == sights


def test_a_link_ends_by_its_time_for_whoever_it_was(cast: Cast, app: App, media: str) -> None:
    short = made(app, media, "anyone", ttl_seconds=1)
    assert app.anonymous().get(f"{short['url']}1/").status_code == 200
    until(lambda: app.anonymous().get(f"{short['url']}1/").status_code == 401, 5, "the end of a link of a second")
    assert cast.ask("owner", "GET", f"{short['url']}1/").status_code == 404
    assert cast.ask("app", "GET", f"{short['url']}1/").status_code == 404


def test_revoking_one_leaves_the_others_and_revoking_all_leaves_none(cast: Cast, app: App) -> None:
    media = cast.media()
    before = app.http.get(f"/v1/media/{media}").json()["url"]
    links = [made(app, media, audience) for audience in ("anyone", "owner", "anyone")]
    listed = app.http.get(f"/v1/media/{media}/links").json()
    assert listed == {"items": links[::-1], "next": None}
    assert app.http.delete(f"/v1/links/{links[0]['id']}").status_code == 204
    problem(app.http.delete(f"/v1/links/{links[0]['id']}"), 404, "not_found")
    time.sleep(2)
    assert [app.http.get(f"{k['url']}1/").status_code for k in links] == [404, 200, 200]
    assert app.http.delete(f"/v1/media/{media}/links").status_code == 204
    time.sleep(2)
    assert [app.http.get(f"{k['url']}1/").status_code for k in links] == [404, 404, 404]
    assert app.http.get(f"/v1/media/{media}/links").json()["items"] == []
    after = app.http.get(f"/v1/media/{media}").json()["url"]
    assert after != before
    assert [app.http.get(f"{url}1/").status_code for url in (before, after)] == [404, 200]


BODIES: dict[str, tuple[object, int, str]] = {
    "no audience": ({}, 422, "unprocessable"),
    "an audience that is none": ({"audience": "everyone"}, 422, "unprocessable"),
    "the standing link's own": ({"audience": "standing"}, 422, "unprocessable"),
    "a user without a name": ({"audience": "user:"}, 422, "unprocessable"),
    "a user whose name cannot be": ({"audience": "user:../ann"}, 422, "unprocessable"),
    "a user and a line more": ({"audience": "user:ann\n"}, 422, "unprocessable"),
    "a user who is not there": ({"audience": "user:nobody-at-all"}, 422, "unknown_user"),
    "an audience in a list": ({"audience": ["owner"]}, 422, "unprocessable"),
    "no time at all": ({"audience": "owner", "ttl_seconds": 0}, 422, "unprocessable"),
    "time backwards": ({"audience": "owner", "ttl_seconds": -5}, 422, "unprocessable"),
    "half a second": ({"audience": "owner", "ttl_seconds": 0.5}, 422, "unprocessable"),
    "longer than ten years": ({"audience": "owner", "ttl_seconds": 3660 * 86400 + 1}, 422, "unprocessable"),
    "longer than time": ({"audience": "owner", "ttl_seconds": 10**30}, 422, "unprocessable"),
    "the original in words": ({"audience": "owner", "original": "yes"}, 422, "unprocessable"),
    "an unknown field": ({"audience": "owner", "quality": 3}, 422, "unprocessable"),
    "a list": ([], 422, "unprocessable"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_link_that_cannot_be_is_refused_and_not_made(cast: Cast, app: App, name: str) -> None:
    media = cast.media() if name == "no audience" else app.http.get("/v1/media?limit=1").json()["items"][0]["id"]
    before = len(app.http.get(f"/v1/media/{media}/links?limit=200").json()["items"])
    body, status, code = BODIES[name]
    problem(app.http.post(f"/v1/media/{media}/links", json=body), status, code)
    assert len(app.http.get(f"/v1/media/{media}/links?limit=200").json()["items"]) == before


def test_the_longest_time_is_taken(app: App, media: str) -> None:
    link = made(app, media, "owner", ttl_seconds=3660 * 86400)
    assert datetime.fromisoformat(link["expires_at"]).year >= 2034


def test_links_are_listed_newest_first_and_a_page_stays_where_it_was(cast: Cast, app: App) -> None:
    media = cast.media()
    links = [made(app, media, "owner")["id"] for _ in range(7)]
    seen: list[str] = []
    for number, page in enumerate(pages(app.http, f"/v1/media/{media}/links", 3)):
        seen += [link["id"] for link in page]
        if number == 0:
            made(app, media, "owner")
            app.http.delete(f"/v1/links/{links[1]}")
            app.http.delete(f"/v1/links/{links[6]}")
    assert seen == [links[n] for n in (6, 5, 4, 3, 2, 0)]
    for bad in ("bmFtZTphbm4", "aWQ6MDE5", "aWQ6", "x"):
        answer = app.http.get(f"/v1/media/{media}/links", params={"cursor": bad})
        assert outcome(answer) == "400 bad_cursor", bad


def test_ids_have_one_spelling(app: App, media: str) -> None:
    spelled = {
        "upper case": media.upper(),
        "with hyphens": f"{media[:8]}-{media[8:12]}-{media[12:16]}-{media[16:20]}-{media[20:]}",
        "a space": f"{media}%20",
        "a line more": f"{media}%0A",
        "too long": f"{media}0",
        "nothing": "%00",
        "dots": "..%2f",
        "other digits": "%D9%A3" * 32,
    }
    for name, text in spelled.items():
        for path in (f"/v1/media/{text}", f"/v1/media/{text}/links"):
            assert app.http.get(path).status_code in (400, 404), (name, path)
    for text in ("?x", "#"):
        assert app.http.get(f"/v1/media/{media}{text}").status_code == 200


def test_without_the_scope_nothing_is_said_of_what_is_there(cast: Cast, media: str) -> None:
    def told(kind: str, identifier: str) -> httpx.Response:
        return cast.ask(kind, "DELETE", f"/v1/media/{identifier}/links")

    for kind in ("view", "upload"):
        assert outcome(told(kind, media)) == SCOPE
        assert bare(told(kind, media), media) == bare(told(kind, NO_ID), NO_ID)
    assert outcome(told("nobody", media)) == UNAUTHORIZED
