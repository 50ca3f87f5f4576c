"""Pages of other sites: what they may do with a visitor's cookie, which answers they may read, and no key in a page."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.callers import Cast, outcome
from tests.client import App, fresh, leaves_nothing, photo, problem
from tests.harness import System, scratch

ALLOWED, EVIL = "https://app.example", "https://evil.example"
CROSS = "403 cross_site"
SAME = {"Sec-Fetch-Site": "same-origin"}
FROM_ALLOWED = {"Origin": ALLOWED}
FOREIGN: dict[str, dict[str, str]] = {
    "neither header": {},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another origin of the site": {"Sec-Fetch-Site": "same-site"},
    "typed by hand": {"Sec-Fetch-Site": "none"},
    "an evil origin": {"Origin": EVIL},
    "an evil origin of another site": {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    "no origin to speak of": {"Origin": "null"},
    "two sites": {"Sec-Fetch-Site": "same-origin, cross-site"},
    "the allowed one without TLS": {"Origin": "http://app.example"},
    "the allowed one's port": {"Origin": "https://app.example:8443"},
    "the allowed one's neighbour": {"Origin": "https://app.example.evil.example"},
    "the allowed one in capitals": {"Origin": "HTTPS://APP.EXAMPLE"},
    "the allowed one and a path": {"Origin": f"{ALLOWED}/"},
    "the allowed one and another": {"Origin": f"{ALLOWED} {EVIL}"},
}


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.fixture(scope="module")
def browser(cast: Cast) -> httpx.Client:
    """The owner's browser: it has the cookie and nothing else."""
    http = cast.app.anonymous()
    http.headers["Cookie"] = f"chipmunk_session={cast.app.session(cast.owner)['token']}"
    return http


def changes(cast: Cast) -> list[tuple[str, str, dict[str, Any]]]:
    """Every change that a user may make, each on something of its own."""
    name, media = fresh("flow"), cast.media()
    cast.app.http.put(f"/v1/flows/{name}", json={})
    cast.app.http.put(f"/v1/flows/{name}/members/{cast.owner}", json={"role": "admin"})
    link = cast.app.http.post(f"/v1/media/{media}/links", json={"audience": "owner"}).json()["id"]
    other = cast.app.session(cast.owner)["id"]
    return [
        ("PUT", "/v1/media", {"content": photo(30, 30)}),
        ("POST", "/v1/media", {"json": {"data": "AAAA"}}),
        ("POST", "/v1/media", {"files": {"file": ("a.jpg", photo(30, 30))}}),
        ("POST", f"/v1/media/{media}/links", {"json": {"audience": "anyone"}}),
        ("DELETE", f"/v1/links/{link}", {}),
        ("DELETE", f"/v1/media/{media}/links", {}),
        ("PUT", f"/v1/flows/{name}/media/{media}", {}),
        ("DELETE", f"/v1/flows/{name}/media/{media}", {}),
        ("PUT", f"/v1/flows/{name}/members/{cast.other}", {"json": {"role": "viewer"}}),
        ("DELETE", f"/v1/flows/{name}/members/{cast.other}", {}),
        ("DELETE", f"/v1/sessions/{other}", {}),
        ("DELETE", f"/v1/media/{media}", {}),
        ("DELETE", f"/v1/jobs/{'0' * 32}", {}),
    ]


def test_no_change_by_cookie_comes_from_another_site(cast: Cast, app: App, browser: httpx.Client) -> None:
    with leaves_nothing(app, cast.owner):
        asked = changes(cast)
        for method, path, given in asked:
            for name, headers in (
                (n, FOREIGN[n]) for n in ("neither header", "another origin of the site", "an evil origin")
            ):
                assert outcome(browser.request(method, path, headers=headers, **given)) == CROSS, (method, path, name)
        everywhere = browser.delete(f"/v1/users/{cast.owner}/sessions")
        assert outcome(everywhere) == CROSS
        app.http.delete(f"/v1/media/{asked[3][1].split('/')[3]}")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_change_by_cookie_is_refused_whichever_way_it_is_foreign(
    cast: Cast, browser: httpx.Client, name: str
) -> None:
    answer = browser.put("/v1/media", content=photo(30, 30), headers=FOREIGN[name])
    assert outcome(answer) == CROSS
    assert outcome(browser.delete(f"/v1/jobs/{'0' * 32}", headers=FOREIGN[name])) == CROSS
    looked = browser.get(f"/v1/users/{cast.owner}", headers=FOREIGN[name])
    assert looked.status_code == 200, "looking changes nothing"


@pytest.mark.parametrize("headers", [SAME, FROM_ALLOWED, {**FROM_ALLOWED, "Sec-Fetch-Site": "cross-site"}])
def test_every_change_by_cookie_from_here_or_an_allowed_origin_is_made(
    cast: Cast, browser: httpx.Client, headers: dict[str, str]
) -> None:
    wanted = [201, 415, 201, 201, 204, 204, 204, 204, 201, 204, 204, 204, 404]
    found = [browser.request(m, p, headers=headers, **given).status_code for m, p, given in changes(cast)]
    assert found == wanted


def test_a_token_in_the_header_needs_no_guard_and_beats_the_cookie(cast: Cast, browser: httpx.Client) -> None:
    token = cast.good["owner"]
    for headers in FOREIGN.values():
        answer = browser.delete(f"/v1/jobs/{'0' * 32}", headers={**headers, "Authorization": f"Bearer {token}"})
        assert outcome(answer) == "404 not_found"
    for bad in ("Bearer nonsense", "Basic YTpi", "Bearer", "Bearer cmk_" + "0" * 30):
        answer = browser.get(f"/v1/users/{cast.owner}", headers={**SAME, "Authorization": bad})
        assert outcome(answer) == "401 unauthorized", bad


@pytest.mark.parametrize("origin", [ALLOWED, EVIL, "null"])
def test_a_key_from_a_page_is_refused_whatever_page(cast: Cast, origin: str) -> None:
    for kind, method, path in (
        ("app", "GET", "/v1/users"),
        ("app", "DELETE", f"/v1/media/{'0' * 32}"),
        ("app", "PUT", f"/v1/media?user={cast.owner}"),
        ("operator", "GET", "/metrics"),
    ):
        given = {"content": photo(30, 30)} if method == "PUT" else {}
        answer = cast.ask(kind, method, path, headers={"Origin": origin}, **given)
        assert outcome(answer) == "403 key_in_browser", (kind, path)


READABLE: list[tuple[str, str, str, dict[str, Any], int]] = [  # kind of caller, method, path, what it brings, status
    ("owner", "GET", "/v1/users/{owner}", {}, 200),
    ("owner", "GET", "/v1/media", {}, 200),
    ("owner", "GET", "/v1/users", {}, 403),
    ("nobody", "GET", "/v1/media", {}, 401),
    ("garbage", "PUT", "/v1/media", {"content": b"x"}, 401),
    ("owner", "PUT", "/v1/media", {"content": photo(30, 30)}, 201),
    ("owner", "PUT", "/v1/media", {"content": b"no picture"}, 415),
    ("owner", "PUT", "/v1/media?user=nobody", {"content": b"x"}, 403),
    ("owner", "PUT", "/v1/media?flow=none-at-all", {"content": b"x"}, 422),
    ("owner", "PUT", "/v1/media", {"content": b""}, 422),
    ("owner", "POST", "/v1/media", {"json": {"data": "!"}}, 400),
    ("owner", "POST", "/v1/media", {"content": b"x", "headers": {"Content-Type": "image/png"}}, 415),
    ("owner", "POST", "/v1/media", {"files": {"file": ("a.jpg", photo(30, 30))}}, 201),
    ("owner", "DELETE", "/v1/media/00000000000000000000000000000000", {}, 404),
    ("owner", "POST", "/v1/media/x/links", {"content": b"x" * 70_000}, 413),
    ("owner", "PATCH", "/v1/media", {}, 405),
    ("nobody", "GET", "/healthz", {}, 200),
    ("nobody", "GET", "/v1/nothing", {}, 404),
]


@pytest.mark.parametrize("row", READABLE, ids=lambda r: " ".join(map(str, (*r[:3], r[4]))))
def test_a_page_of_an_allowed_origin_may_read_every_answer_and_no_other_page_any(
    cast: Cast, row: tuple[str, str, str, dict[str, Any], int]
) -> None:
    kind, method, path, given, status = row
    for origin in (ALLOWED, EVIL, "null", f"{ALLOWED}.evil.example"):
        headers = {**given.get("headers", {}), "Origin": origin}
        answer = cast.ask(kind, method, path.format(owner=cast.owner), **{**given, "headers": headers})
        assert answer.status_code == status, answer.text
        allowed = [ALLOWED] if origin == ALLOWED else []
        assert answer.headers.get_list("access-control-allow-origin") == allowed, origin
        assert answer.headers.get_list("access-control-allow-credentials") == ["true"] * len(allowed)
        exposed = answer.headers.get("access-control-expose-headers", "").lower()
        assert all(name in exposed for name in ("location", "retry-after", "x-request-id")) is bool(allowed)
        assert answer.headers.get_list("vary").count("Origin") == 1, answer.headers
        assert "*" not in answer.headers.get("access-control-allow-origin", "")


@pytest.mark.parametrize(
    "path", ["/v1/media", "/v1/users/a", "/v1/media/x", "/v1/media/x/links", "/v1/sessions", "/healthz"]
)
def test_a_preflight_is_answered_for_allowed_origins_and_says_nothing_to_others(app: App, path: str) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, content-type"}
    answer = app.anonymous().options(path, headers={**asked, "Origin": ALLOWED})
    assert (answer.status_code, answer.content) == (204, b"")
    for name, wanted in (
        ("access-control-allow-origin", ALLOWED),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, HEAD, POST, PUT, DELETE"),
        ("access-control-allow-headers", "Authorization, Content-Type, Idempotency-Key, Prefer"),
    ):
        assert answer.headers.get_list(name, split_commas=False) == [wanted]
    assert 0 < int(answer.headers["access-control-max-age"]) <= 86400
    for origin in (EVIL, "null"):
        refused = app.anonymous().options(path, headers={**asked, "Origin": origin})
        assert not [name for name in refused.headers if name.startswith("access-control-")], refused.headers


def test_a_refusal_that_nginx_makes_unread_can_be_read_by_an_allowed_page(cast: Cast, system: System) -> None:
    head = [
        "PUT /v1/media HTTP/1.1", "Host: x", f"Authorization: Bearer {cast.good['owner']}", f"Origin: {ALLOWED}",
        "Content-Length: 99999999999", "Expect: 100-continue", "", "",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", system.port), timeout=10) as connection:
        connection.sendall("\r\n".join(head).encode())
        answer = connection.recv(65536)
    assert b" 413 " in answer.splitlines()[0]
    assert answer.count(b"Access-Control-Allow-Origin: " + ALLOWED.encode()) == 1
    assert answer.lower().count(b"access-control-allow-origin") == 1


def test_views_are_shown_in_pages_but_read_by_none(cast: Cast, app: App) -> None:
    media = app.ready(cast.media())
    for origin in (ALLOWED, EVIL):
        answer = cast.ask("owner", "GET", f"{media['url']}1/", headers={"Origin": origin})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_where_no_origin_is_allowed_none_is_named_and_the_cookie_changes_nothing_from_elsewhere() -> None:
    with scratch() as folder, System(folder / "data") as system, App(system) as app:
        user = app.user()
        browser = app.anonymous()
        browser.headers["Cookie"] = f"chipmunk_session={app.session(user)['token']}"
        for answer in (
            browser.get(f"/v1/users/{user}", headers={"Origin": ALLOWED}),
            browser.options("/v1/media", headers={"Origin": ALLOWED, "Access-Control-Request-Method": "PUT"}),
            browser.put("/v1/media", headers={"Origin": ALLOWED}, content=b"x"),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")], answer.headers
        problem(answer, 403, "cross_site")
        assert browser.put("/v1/media", headers=SAME, content=photo(30, 30)).status_code == 201
        problem(app.anonymous().get(f"{app.session(user)['enter_url']}?next={ALLOWED}/"), 400, "bad_request")
