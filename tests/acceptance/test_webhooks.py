"""Webhooks through the whole system: made, told, tested, rotated, failing, dead, sent after all; and who may not."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from tests.callers import (
    ABSENT,
    ACCEPTED,
    CREATED,
    NOTHING,
    OK,
    Cast,
    answers,
    expected,
    for_the_app_alone,
    pages,
)  # fmt: skip
from tests.client import App, fresh, photo, problem
from tests.harness import System, scratch, until
from tests.servers.listener import Listener, Told, listening

HERE = "127.0.0.78"
AWAY = {"url": "https://hooks.invalid/x"}
NONE = "0" * 32


@pytest.fixture
def there() -> Iterator[Listener]:
    with listening(HERE) as made:
        yield made


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder, System(folder / "data", webhook_allow=HERE) as system, App(system) as app:
        yield app
        assert system.stop() == 0, system.output


@pytest.fixture
def hook(app: App, there: Listener) -> Iterator[dict[str, Any]]:
    answer = app.http.put(f"/v1/webhooks/{fresh('hook')}", json={"url": there.url})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    assert app.http.delete(f"/v1/webhooks/{answer.json()['id']}").status_code == 204


def sql(app: App, query: str, *values: object) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(app.system.settings.database_url)
        try:
            await connection.execute(query, *values)
        finally:
            await connection.close()

    asyncio.run(run())


def made(cast: Cast, number: int = 0) -> str:
    name = fresh("hook")
    assert cast.app.http.put(f"/v1/webhooks/{name}", json={**AWAY, "enabled": not number}).status_code == 201
    return name


def few(cast: Cast) -> str:
    """A webhook in the place of all that there were."""
    for one in cast.app.http.get("/v1/webhooks").json()["items"]:
        cast.app.http.delete(f"/v1/webhooks/{one['id']}")
    return made(cast)


ROWS = {
    "add": for_the_app_alone("PUT", lambda c: f"/v1/webhooks/{few(c) and fresh('h')}", CREATED, body=AWAY),
    "change": for_the_app_alone("PUT", lambda c: f"/v1/webhooks/{few(c)}", OK, body={"enabled": False}),
    "look": for_the_app_alone("GET", lambda c: f"/v1/webhooks/{few(c)}", OK),
    "look at none": for_the_app_alone("GET", lambda c: f"/v1/webhooks/{fresh('no')}", ABSENT),
    "list": for_the_app_alone("GET", lambda c: "/v1/webhooks?limit=1", OK),
    "delete": for_the_app_alone("DELETE", lambda c: f"/v1/webhooks/{few(c)}", NOTHING),
    "delete none": for_the_app_alone("DELETE", lambda c: f"/v1/webhooks/{fresh('no')}", ABSENT),
    "rotate": for_the_app_alone("POST", lambda c: f"/v1/webhooks/{few(c)}/rotate", OK),
    "test": for_the_app_alone("POST", lambda c: f"/v1/webhooks/{few(c)}/test", ACCEPTED),
    "deliveries": for_the_app_alone("GET", lambda c: f"/v1/webhooks/{few(c)}/deliveries?state=dead", OK),
    "deliveries of none": for_the_app_alone("GET", lambda c: f"/v1/webhooks/{fresh('no')}/deliveries", ABSENT),
    "retry all": for_the_app_alone("POST", lambda c: f"/v1/webhooks/{few(c)}/deliveries/retry", ACCEPTED),
    "retry none": for_the_app_alone("POST", lambda c: f"/v1/webhooks/{few(c)}/deliveries/{NONE}/retry", ABSENT),
}  # fmt: skip


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, name: str) -> None:
    assert answers(cast, ROWS[name]) == expected(cast, ROWS[name])


def test_an_app_is_told_of_an_upload_and_of_its_end(app: App, there: Listener, hook: dict[str, Any]) -> None:
    user = app.user()
    media = app.stored(user, photo(900, 700))
    assert app.http.delete(f"/v1/media/{media['id']}").status_code == 204
    until(lambda: len(there.types(media["id"])) == 3, what="three events")
    assert there.types(media["id"]) == ["media.created", "media.ready", "media.deleted"]
    assert all(told.signed_by(hook["secret"]) for told in there.taken)
    ready = there.taken[1].message["data"]
    common = set(ready) & set(media)
    assert {name: ready[name] for name in common} == {name: media[name] for name in common}
    assert common == set(ready) == {
        "id", "owner", "kind", "status", "reason", "mime", "filename", "width", "height", "bytes", "total_bytes", "sha256",
        "review", "unsafe",
    }  # fmt: skip
    found = app.http.get(f"/v1/webhooks/{hook['id']}").json()
    until(lambda: app.http.get(f"/v1/webhooks/{hook['id']}").json()["pending"] == 0, what="nothing pending")
    assert "secret" not in found
    assert (found["enabled"], found["failing_since"], found["last_failure"]) == (True, None, None)
    assert found["last_success_at"]


def test_a_job_of_images_ends_in_one_event(app: App, there: Listener, hook: dict[str, Any]) -> None:
    started = app.http.post("/images/jobs/start", json={
        "job_type_str": "process_extern_images", "user": app.user(),
        "imgs_urls_str": ["http://no-such-name.invalid/a.jpg"], "imgs_origin_pages_urls_str": ["http://a.example/"],
    })  # fmt: skip
    assert started.status_code == 200, started.text
    job = started.json()["running_job_id_str"]
    app.http.delete(f"/v1/jobs/{job}")
    until(lambda: there.types(job) == ["job.cancelled"], what="the end of the job")


def test_a_ping_comes_at_once_with_both_secrets_after_a_rotation(
    app: App, there: Listener, hook: dict[str, Any]
) -> None:
    rotated = app.http.post(f"/v1/webhooks/{hook['id']}/rotate").json()
    assert rotated["secret"] != hook["secret"]
    assert rotated["rotating_until"]
    sent = app.http.post(f"/v1/webhooks/{hook['id']}/test")
    assert sent.status_code == 202
    until(lambda: bool(there.taken), what="the ping")
    assert there.taken[0].id == sent.json()["id"]
    assert there.taken[0].signed_by(hook["secret"])
    assert there.taken[0].signed_by(rotated["secret"])
    assert there.taken[0].message["data"] == {"webhook": hook["id"]}


def test_what_an_app_could_not_be_told_is_listed_and_sent_after_all(
    app: App, there: Listener, hook: dict[str, Any]
) -> None:
    path = f"/v1/webhooks/{hook['id']}"
    there.answer = lambda _: 503
    for _ in range(5):
        app.http.post(f"{path}/test")
    until(lambda: len(there.done) >= 5, what="five attempts")
    until(lambda: app.http.get(path).json()["last_failure"] is not None, what="a failure")
    found = app.http.get(path).json()
    assert (found["pending"], found["last_failure"]["error"], found["last_failure"]["status"]) == (5, "status", 503)
    assert found["failing_since"]
    exposed = httpx.get(
        f"{app.system.url}/metrics", headers={"Authorization": f"Bearer {app.system.operator_key}"}
    ).text
    pending = re.search(r'^chipmunk_webhook_deliveries{state="pending"} (\S+)$', exposed, re.M)
    assert pending, exposed
    assert float(pending[1]) >= 5  # of all that there are
    assert 'chipmunk_webhook_attempts_total{outcome="failed"}' in exposed

    def dead() -> int:
        sql(
            app,
            "update webhook_deliveries set attempts = 9, next_at = now() where id in (select id from webhook_deliveries"
            " where state = 'pending' and leased_until is null for update skip locked)",
        )
        return int(app.http.get(path).json()["dead"])

    until(lambda: dead() == 5, what="five dead letters")
    listed = [one for page in pages(app.http, f"{path}/deliveries", 2, state="dead") for one in page]
    assert [one["id"] for one in listed] == sorted((one["id"] for one in listed), reverse=True)
    assert [(one["state"], one["status"], one["attempts"], one["next_at"]) for one in listed] == [
        ("dead", 503, 10, None)
    ] * 5
    assert app.http.get(f"{path}/deliveries", params={"state": "pending"}).json()["items"] == []
    there.answer = lambda _: 200
    again = app.http.post(f"{path}/deliveries/{listed[0]['id']}/retry")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "pending", 0)
    until(lambda: [told.id for told in there.taken] == [listed[0]["id"]], what="the first of them")
    assert app.http.post(f"{path}/deliveries/retry").json() == {"retried": 4}
    until(lambda: {told.id for told in there.taken} == {one["id"] for one in listed}, what="all of them")
    until(lambda: app.http.get(path).json()["dead"] == 0, what="no dead letters")
    problem(app.http.post(f"{path}/deliveries/{listed[0]['id']}/retry"), 404, "not_found")
    said = app.system.log("worker-1")
    assert "given up" in said
    assert there.url not in said
    assert hook["secret"] not in said


def test_a_worker_that_is_killed_while_it_tells_is_made_good(app: App, there: Listener, hook: dict[str, Any]) -> None:
    freed = threading.Event()

    def answer(told: Told) -> int:
        if (told.type, told.number) == ("media.created", 1):
            freed.wait(30)
        return 200

    there.answer = answer
    media = app.stored(app.user(), photo(900, 700, 5))
    until(lambda: bool(there.asked), what="an attempt")
    app.system.restart("worker-1")
    sql(app, "update webhook_deliveries set next_at = now(), leased_until = now() where leased_until is not null")
    until(lambda: there.types(media["id"])[:2] == ["media.created", "media.ready"], what="both events")
    freed.set()
    assert len([told for told in there.asked if told.type == "media.created"]) == 2
    assert len({told.id for told in there.asked}) == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.0.0.1:5432/", "http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/a",
        "http://2130706433/", "ftp://a.example/", "https://user:word@a.example/", "nothing",
        "https://a.example/" + "\ud800",
    ],
)  # fmt: skip
def test_a_url_that_leads_inside_is_refused(app: App, url: str) -> None:
    name = fresh("hook")
    answer = app.http.put(f"/v1/webhooks/{name}", content=f'{{"url": "{url}"}}'.encode("utf-8", "surrogatepass"),
                          headers={"content-type": "application/json"})  # fmt: skip
    assert answer.status_code in (400, 422), answer.text
    if "\ud800" not in url:
        problem(answer, 422, "url_refused")
    problem(app.http.get(f"/v1/webhooks/{name}"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "unprocessable"),
        ({"url": 1}, 422, "unprocessable"),
        ({"url": "https://a.example/\x00"}, 422, "unprocessable"),
        ({"url": "https://a.example/" + "a" * 3000}, 422, "unprocessable"),
        ({**AWAY, "events": []}, 422, "unprocessable"),
        ({**AWAY, "events": ["media.eaten"]}, 422, "unprocessable"),
        ({**AWAY, "events": ["ping"]}, 422, "unprocessable"),
        ({**AWAY, "enabled": "yes"}, 422, "unprocessable"),
        ({**AWAY, "secret": "x"}, 422, "unprocessable"),
    ],
)
def test_what_a_webhook_cannot_be_is_refused(app: App, body: dict[str, Any], status: int, code: str) -> None:
    problem(app.http.put(f"/v1/webhooks/{fresh('hook')}", json=body), status, code)


def test_bad_queries_and_paths_are_refused(app: App, hook: dict[str, Any]) -> None:
    path = f"/v1/webhooks/{hook['id']}"
    problem(app.http.get(f"{path}/deliveries", params={"state": "gone"}), 400, "bad_request")
    problem(app.http.get(f"{path}/deliveries", params={"cursor": "x"}), 400, "bad_cursor")
    problem(app.http.get("/v1/webhooks", params={"cursor": "x"}), 400, "bad_cursor")
    problem(app.http.put("/v1/webhooks/a%00b", json=AWAY), 400, "bad_request")
    problem(app.http.get("/v1/webhooks/a%01b"), 404, "not_found")
    problem(app.http.post(f"{path}/deliveries/x/retry"), 404, "not_found")


def test_an_app_has_twenty_at_most_and_what_it_leaves_out_stays(cast: Cast, app: App) -> None:
    first = few(cast)
    names = [first, *(made(cast) for _ in range(19))]
    problem(app.http.put(f"/v1/webhooks/{fresh('hook')}", json=AWAY), 409, "conflict")
    changed = app.http.put(f"/v1/webhooks/{first}", json={"events": ["media.ready"], "enabled": False}).json()
    assert (changed["url"], changed["events"], changed["enabled"]) == (AWAY["url"], ["media.ready"], False)
    problem(app.http.post(f"/v1/webhooks/{first}/test"), 409, "conflict")
    changed = app.http.put(f"/v1/webhooks/{first}", json={"events": None}).json()
    assert (changed["events"], changed["enabled"]) == (None, False)
    assert [one["id"] for page in pages(app.http, "/v1/webhooks", 7) for one in page] == sorted(names)
    few(cast)


def test_another_app_knows_nothing_of_it(app: App, there: Listener, hook: dict[str, Any]) -> None:
    name, operator = fresh("other"), {"Authorization": f"Bearer {app.system.operator_key}"}
    assert app.http.put(f"/v1/apps/{name}", json={}, headers=operator).status_code == 201
    key = app.http.post(f"/v1/apps/{name}/keys", json={}, headers=operator).json()["key"]
    path = f"/v1/webhooks/{hook['id']}"
    there.answer = lambda _: 500
    sent = app.http.post(f"{path}/test").json()["id"]
    with httpx.Client(base_url=app.system.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as other:
        for method, at in (
            ("GET", path), ("DELETE", path), ("POST", f"{path}/rotate"), ("POST", f"{path}/test"),
            ("GET", f"{path}/deliveries"), ("POST", f"{path}/deliveries/retry"),
            ("POST", f"{path}/deliveries/{sent}/retry"),
        ):  # fmt: skip
            problem(other.request(method, at), 404, "not_found")
        assert other.get("/v1/webhooks").json() == {"items": [], "next": None}
        mine = other.put(path, json={**AWAY, "enabled": False})
        assert mine.status_code == 201
        problem(other.post(f"{path}/deliveries/{sent}/retry"), 404, "not_found")
    assert app.http.get(path).json()["url"] == there.url
