"""Several apps on one installation: made, limited and ended by the operator while everything runs, and none reaches another's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.client import App, fresh, media_folder, photo, problem
from tests.harness import System, until


class Operator:
    """Makes apps, and clients of theirs."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.clients: list[httpx.Client] = []
        self.http = self.client(system.operator_key)

    def client(self, key: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.clients.append(httpx.Client(base_url=self.system.url, headers=headers, timeout=60))
        return self.clients[-1]

    def app(self, **limits: object) -> str:
        name = fresh("app")
        answer = self.http.put(f"/v1/apps/{name}", json=limits)
        assert answer.status_code == 201, answer.text
        return name

    def key(self, app: str, *scopes: str) -> dict[str, Any]:
        answer = self.http.post(f"/v1/apps/{app}/keys", json={"scopes": scopes or ["admin"]})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def backend(self, app: str, *scopes: str) -> httpx.Client:
        """A client with a new key of the app."""
        return self.client(self.key(app, *scopes)["key"])


@pytest.fixture(scope="module")
def operator(system: System) -> Iterator[Operator]:
    made = Operator(system)
    yield made
    for client in made.clients:
        client.close()


def user(backend: httpx.Client, name: str = "ann", **fields: object) -> str:
    assert backend.put(f"/v1/users/{name}", json=fields).status_code in (200, 201)
    return name


def upload(backend: httpx.Client, name: str = "ann", seed: int = 1) -> httpx.Response:
    return backend.put("/v1/media", params={"user": name, "filename": "a.jpg"}, content=photo(300, 200, seed))


def ready(backend: httpx.Client, media: str) -> dict[str, Any]:
    until(lambda: backend.get(f"/v1/media/{media}").json()["status"] == "ready", 30, "the ladder")
    return dict(backend.get(f"/v1/media/{media}").json())


def test_the_same_names_in_two_apps_are_two_users_and_each_sees_its_own(operator: Operator) -> None:
    one, other = (operator.backend(operator.app()) for _ in range(2))
    media = {}
    for n, backend in enumerate((one, other)):
        user(backend)
        media[backend] = ready(backend, upload(backend, seed=n).json()["id"])
    for mine, theirs in ((one, other), (other, one)):
        assert [item["id"] for item in mine.get("/v1/media").json()["items"]] == [media[mine]["id"]]
        assert mine.get(f"/v1/media/{media[theirs]['id']}").status_code == 404
        assert mine.get(f"{media[mine]['url']}6/").status_code == 200
        assert mine.get(f"{media[theirs]['url']}6/").status_code == 404
        session = mine.post("/v1/sessions", json={"user": "ann", "ttl_seconds": 60}).json()
        ann = operator.client(session["token"])
        assert ann.get(f"{media[mine]['url']}6/").status_code == 200
        assert ann.get(f"{media[theirs]['url']}6/").status_code == 404
        problem(theirs.delete(f"/v1/sessions/{session['id']}"), 404, "not_found")


def test_each_scope_of_a_key_opens_what_it_says(operator: Operator) -> None:
    app = operator.app()
    admin, read, send = (operator.backend(app, scope) for scope in ("admin", "read", "upload"))
    user(admin)
    problem(upload(read), 403, "scope_missing")
    media = ready(admin, upload(send).json()["id"])
    assert read.get(f"{media['url']}1/").status_code == read.get(f"/v1/media/{media['id']}").status_code == 200
    assert send.get(f"{media['url']}1/").status_code == 404
    problem(send.get(f"/v1/media/{media['id']}"), 403, "scope_missing")
    for client in (read, send):
        problem(client.put("/v1/users/ben", json={}), 403, "scope_missing")
        problem(client.post("/v1/sessions", json={"user": "ann", "ttl_seconds": 60}), 403, "scope_missing")
        problem(client.delete(f"/v1/media/{media['id']}"), 403, "scope_missing")
    both = operator.backend(app, "read", "upload")
    assert both.get(f"/v1/media/{upload(both, seed=2).json()['id']}").status_code == 200


def test_a_revoked_key_is_refused_within_two_seconds_on_a_hot_view_too(operator: Operator) -> None:
    app = operator.app()
    admin, key = operator.backend(app), operator.key(app, "read")
    user(admin)
    url, reader = f"{ready(admin, upload(admin).json()['id'])['url']}3/", operator.client(key["key"])
    assert [reader.get(url).status_code for _ in range(20)] == [200] * 20
    assert operator.http.delete(f"/v1/apps/{app}/keys/{key['id']}").status_code == 204
    ended = time.monotonic()
    until(lambda: reader.get(url).status_code == 401, 2, "the end of the key")
    time.sleep(max(0, ended + 2 - time.monotonic()))
    assert reader.get(url).status_code == reader.get("/v1/users").status_code == upload(reader).status_code == 401
    problem(operator.http.delete(f"/v1/apps/{app}/keys/{key['id']}"), 404, "not_found")
    assert admin.get(url).status_code == 200


def test_a_rotated_key_goes_on_for_its_grace_and_no_longer(operator: Operator) -> None:
    app = operator.app()
    key = operator.key(app, "read", "upload")
    before = operator.client(key["key"])
    path = f"/v1/apps/{app}/keys/{key['id']}/rotate"
    made = operator.http.post(path, json={"grace_seconds": 3})
    assert made.status_code == 201, made.text
    after = operator.client(made.json()["key"])
    assert made.json()["scopes"] == key["scopes"]
    assert before.get("/v1/users").status_code == after.get("/v1/users").status_code == 200
    problem(operator.http.post(path, json={}), 409, "conflict")
    listed = operator.http.get(f"/v1/apps/{app}/keys").json()["items"]
    assert [(one["id"], one["key"], one["expires_at"] is None) for one in listed] == [
        (made.json()["id"], None, True), (key["id"], None, False),
    ]  # fmt: skip
    until(lambda: before.get("/v1/users").status_code == 401, 6, "the end of the grace")
    assert before.get("/no-such-id/1/").status_code == upload(before).status_code == 401
    assert after.get("/v1/users").status_code == 200
    assert [one["id"] for one in operator.http.get(f"/v1/apps/{app}/keys").json()["items"]] == [made.json()["id"]]


def test_the_key_of_settings_is_changed_there_alone(operator: Operator) -> None:
    mine = [one for one in operator.http.get("/v1/apps/default/keys").json()["items"] if one["from_settings"]]
    assert len(mine) == 1
    path = f"/v1/apps/default/keys/{mine[0]['id']}"
    problem(operator.http.delete(path), 409, "conflict")
    problem(operator.http.post(f"{path}/rotate", json={}), 409, "conflict")
    problem(operator.http.delete("/v1/apps/default"), 409, "conflict")
    foreign = operator.key(operator.app())
    problem(operator.http.delete(f"/v1/apps/default/keys/{foreign['id']}"), 404, "not_found")


def test_many_uploads_at_once_fill_an_app_and_not_a_byte_more(operator: Operator) -> None:
    app = operator.app()
    backend = operator.backend(app)
    names = [user(backend, f"u{n}") for n in range(4)]
    first = ready(backend, upload(backend, "u0").json()["id"])
    room = first["total_bytes"] * 12
    assert operator.http.put(f"/v1/apps/{app}", json={"quota_bytes": room}).status_code == 200
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: upload(backend, names[n % 4], n), range(60)))
    codes = {answer.status_code for answer in answers}
    assert codes <= {201, 413, 503}
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"quota_exceeded", "busy"}
    done = [ready(backend, answer.json()["id"]) for answer in answers if answer.status_code == 201]

    def settled() -> bool:
        return bool(operator.http.get(f"/v1/apps/{app}").json()["reserved_bytes"] == 0)

    until(settled, 20, "the end of all reservations")
    standing = operator.http.get(f"/v1/apps/{app}").json()
    assert standing["used_bytes"] == first["total_bytes"] + sum(one["total_bytes"] for one in done) <= room
    assert (standing["media_count"], standing["user_count"]) == (len(done) + 1, 4)
    assert sum(backend.get(f"/v1/users/{name}").json()["used_bytes"] for name in names) == standing["used_bytes"]
    while (answer := upload(backend, "u1", 99)).status_code == 201:
        ready(backend, answer.json()["id"])
    assert problem(answer, 413, "quota_exceeded")["left_bytes"] <= room
    assert backend.delete(f"/v1/media/{done[0]['id']}").status_code == 204
    assert upload(backend, "u2", 100).status_code == 201


def test_a_user_made_without_a_quota_gets_that_of_the_app(operator: Operator) -> None:
    backend = operator.backend(operator.app(user_quota_bytes=5))
    assert backend.put("/v1/users/ann", json={}).json()["quota_bytes"] == 5
    assert backend.put("/v1/users/ben", json={"quota_bytes": None}).json()["quota_bytes"] is None
    problem(upload(backend), 413, "quota_exceeded")


def test_the_rates_of_an_app_hold_for_all_keys_and_users_together(operator: Operator) -> None:
    app = operator.app(calls_per_minute=9, uploads_per_minute=2)
    one, two = operator.backend(app), operator.backend(app)
    user(one)
    session = one.post("/v1/sessions", json={"user": "ann", "ttl_seconds": 60}).json()
    ann = operator.client(session["token"])
    assert [upload(client).status_code for client in (one, ann)] == [201, 201]
    refused = upload(two)
    assert problem(refused, 429, "rate_limited")["detail"].startswith("No more than 2 uploads a minute of this app")
    told = ann.get("/v1/media").headers
    assert told["ratelimit-policy"] == '"calls";q=3000;w=60, "app_calls";q=9;w=60'
    assert told["ratelimit"].split(", ")[1].startswith('"app_calls";r=6;')
    statuses = [client.get("/v1/users/ann").status_code for client in (one, two, ann) * 3]
    assert statuses == [200] * 6 + [429] * 3
    other = operator.backend(operator.app())
    assert other.get("/v1/users").status_code == 200


def test_a_deleted_app_is_gone_at_once_and_later_every_byte_of_it(operator: Operator, system: System) -> None:
    app = operator.app()
    backend = operator.backend(app)
    user(backend)
    media = ready(backend, upload(backend).json()["id"])
    token = backend.post("/v1/sessions", json={"user": "ann", "ttl_seconds": 60}).json()["token"]
    link = backend.post(f"/v1/media/{media['id']}/links", json={"audience": "anyone"}).json()["url"]
    ann, anyone = operator.client(token), operator.client(None)
    views = [(backend, f"{media['url']}2/"), (ann, f"{media['url']}2/"), (anyone, f"{link}2/")]
    assert [client.get(url).status_code for client, url in views * 5] == [200] * 15
    answer = operator.http.delete(f"/v1/apps/{app}")
    assert answer.status_code == 202, answer.text
    time.sleep(2)
    assert [client.get(url).status_code for client, url in views] == [401] * 3
    for client in (backend, ann):
        problem(client.get("/v1/media"), 401, "unauthorized")
    problem(operator.http.get(f"/v1/apps/{app}"), 404, "not_found")
    problem(operator.http.delete(f"/v1/apps/{app}"), 404, "not_found")
    job = f"/v1/jobs/{answer.json()['job']}"
    until(lambda: operator.http.get(job).json()["state"] == "completed", 60, "the purge")
    assert not media_folder(system, media["id"]).exists()
    assert operator.http.put(f"/v1/apps/{app}", json={}).status_code == 201
    again = operator.backend(app)
    assert again.get("/v1/users").json()["items"] == again.get("/v1/media").json()["items"] == []


def test_public_flows_of_any_app_are_found_under_its_name(operator: Operator) -> None:
    app = operator.app()
    backend, anyone = operator.backend(app), operator.client(None)
    user(backend)
    assert backend.put("/v1/flows/open", json={"visibility": "public"}).status_code == 201
    for n in range(2):
        query = {"user": "ann", "flow": "open", "filename": f"{n}.jpg"}
        ready(backend, backend.put("/v1/media", params=query, content=photo(60, 40, n)).json()["id"])
    page = anyone.get("/v1/flows/open/page", params={"app": app, "limit": 1})
    assert page.status_code == 200
    assert f"/v1/flows/open/feed.atom?app={app}" in page.text
    feed = anyone.get("/v1/flows/open/feed.json", params={"app": app, "limit": 1}).json()
    assert feed["items"][0]["title"] == "1.jpg"
    assert anyone.get(feed["next_url"]).json()["items"][0]["title"] == "0.jpg"
    found = anyone.get("/images/d/0.jpg", params={"fname": "open", "app": app})
    assert found.status_code == 302
    assert anyone.get(found.headers["location"]).status_code == 200
    for name in ("default", "no-such-app"):
        assert anyone.get("/v1/flows/open/page", params={"app": name}).status_code == 404
        assert anyone.get("/images/d/0.jpg", params={"fname": "open", "app": name}).status_code == 404


def test_the_audit_log_says_with_which_key(operator: Operator) -> None:
    app = operator.app(quota_bytes=10**9)
    key = operator.key(app)
    backend = operator.client(key["key"])
    user(backend)
    assert upload(backend).status_code == 201
    rows = backend.get("/v1/audit").json()["items"]
    assert [(row["action"], row["actor"]["kind"], row["actor"]["key"]) for row in rows] == [
        ("media.uploaded", "app", key["id"]), ("user.made", "app", key["id"]), ("key.made", "operator", None),
        ("app.made", "operator", None),
    ]  # fmt: skip
    assert operator.http.get("/v1/audit", params={"app": app}).json()["items"] == rows
    problem(operator.http.get("/v1/audit", params={"app": "no-such-app"}), 404, "not_found")
    assert key["key"] not in str(rows)


@pytest.mark.parametrize(
    "body",
    [
        {"quota_bytes": -1}, {"calls_per_minute": 0}, {"mails_per_day": "5"}, {"name": "x"}, {"quota_bytes": 2**63},
    ],
)  # fmt: skip
def test_limits_that_cannot_be_are_refused(operator: Operator, body: dict[str, object]) -> None:
    name = fresh("app")
    problem(operator.http.put(f"/v1/apps/{name}", json=body), 422, "unprocessable")
    problem(operator.http.get(f"/v1/apps/{name}"), 404, "not_found")


def test_keys_ask_for_scopes_that_there_are(operator: Operator) -> None:
    app = operator.app()
    for scopes in ([], ["view"], ["manage"], "admin"):
        problem(operator.http.post(f"/v1/apps/{app}/keys", json={"scopes": scopes}), 422, "unprocessable")
    problem(operator.http.post(f"/v1/apps/{fresh('no')}/keys", json={}), 404, "not_found")
    assert operator.http.get(f"/v1/apps/{app}/keys").json()["items"] == []


def test_an_app_is_changed_by_many_at_once_without_a_fault(operator: Operator) -> None:
    """Its quota is set and lifted while its users upload."""
    app = operator.app()
    backend = operator.backend(app)
    user(backend)

    async def all_of_it() -> list[int]:
        async with (
            httpx.AsyncClient(base_url=operator.system.url, headers=operator.http.headers, timeout=60) as sets,
            httpx.AsyncClient(base_url=operator.system.url, headers=backend.headers, timeout=60) as sends,
        ):
            limits = [sets.put(f"/v1/apps/{app}", json={"quota_bytes": n % 3 * 10**9 or None}) for n in range(12)]
            bodies = [sends.put("/v1/media", params={"user": "ann"}, content=photo(80, 60, n)) for n in range(12)]
            return [answer.status_code for answer in await asyncio.gather(*limits, *bodies)]

    assert set(asyncio.run(all_of_it())) <= {200, 201}


def test_the_client_of_the_first_app_needs_nothing_new(system: System) -> None:
    with App(system) as app:
        assert app.http.get("/v1/users").status_code == 200
