"""What an operator sees: figures that move by exactly what was done, health, request ids, and logs that programs read."""

from __future__ import annotations

import json
import signal
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.callers import FORBIDDEN, OK, UNAUTHORIZED, Cast, outcome
from tests.client import App, fresh, photo, problem
from tests.harness import System, until

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]
JSON_LOGS = ("access", "api", "authorizer", "compressor", "worker-1", "solo")


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


def figures(cast: Cast) -> Figures:
    answer = cast.ask("operator", "GET", "/metrics")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


class Moved:
    """Figures since this was made."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        time.sleep(2.3)  # what was done before is counted: the access log is flushed and read once a second
        self._before = figures(cast)

    def by(self, name: str, **labels: str) -> float:
        """By how much all figures of that name with these labels have moved, taken together."""
        wanted = set(labels.items())
        return sum(
            value - self._before.get(key, 0)
            for key, value in figures(self._cast).items()
            if key[0] == name and wanted <= set(key[1])
        )

    def comes_to(self, amount: float, name: str, **labels: str) -> None:
        until(
            lambda: self.by(name, **labels) >= amount,
            8,
            f"{name} {labels} to move by {amount}, not {self.by(name, **labels)}",
        )
        assert self.by(name, **labels) == pytest.approx(amount), (name, labels)


def test_metrics_are_for_the_operator_alone(cast: Cast) -> None:
    found = {kind: outcome(cast.ask(kind, "GET", "/metrics")) for kind in (*cast.good, *cast.refused)}
    good = {kind: OK if kind == "operator" else FORBIDDEN for kind in cast.good}
    assert found == good | dict.fromkeys(cast.refused, UNAUTHORIZED)


def test_views_move_by_outcome_and_by_what_the_cache_of_decisions_had(cast: Cast, app: App) -> None:
    media = app.ready(cast.media())
    moved = Moved(cast)
    for _ in range(30):
        assert cast.ask("owner", "GET", f"{media['url']}1/").status_code == 200
    for kind, status in (("other", 404), ("other", 404), ("nobody", 401), ("expired", 401), ("garbage", 401)):
        assert cast.ask(kind, "GET", f"{media['url']}2/").status_code == status
    tag = cast.ask("owner", "GET", f"{media['url']}1/").headers["etag"]
    assert cast.ask("owner", "GET", f"{media['url']}1/", headers={"If-None-Match": tag}).status_code == 304
    assert cast.ask("owner", "GET", f"{media['url']}0/", headers={"Range": "bytes=0-4"}).status_code == 206
    assert cast.ask("owner", "POST", f"{media['url']}0/").status_code == 405
    name = "chipmunk_views_total"
    for status, amount in (("200", 31), ("404", 2), ("401", 3), ("304", 1), ("206", 1), ("405", 1)):
        moved.comes_to(amount, name, status=status)
    hits, misses = moved.by(name, status="200", cache="hit"), moved.by(name, status="200", cache="miss")
    assert hits >= 1
    assert 1 <= misses + moved.by(name, status="200", cache="expired") <= 31 - hits
    moved.comes_to(2, "chipmunk_decisions_total", outcome="not_found")
    moved.comes_to(3, "chipmunk_decisions_total", outcome="unauthorized")
    assert moved.by("chipmunk_views_total") == 39


def test_uploads_move_by_door_and_outcome_with_their_bytes_and_rungs(cast: Cast, app: App) -> None:
    poor, data = app.user(quota_bytes=50_000), photo(300, 200, 70)
    moved = Moved(cast)
    made = [app.stored(cast.owner, data), app.stored(cast.owner, photo(300, 200, 71))]
    form = app.http.post("/v1/media", files={"file": ("a.jpg", data)}, data={"user": cast.owner})
    made.append(app.ready(form.json()["id"]))
    key = {"Idempotency-Key": fresh("key")}
    for _ in range(2):
        again = app.http.post("/v1/media", json={"user": cast.owner, "data": b64encode(data).decode()}, headers=key)
    made.append(app.ready(again.json()["id"]))
    problem(app.upload(cast.owner, b"no picture"), 415, "unsupported_type")
    problem(app.upload(cast.owner, data[:9000]), 422, "corrupt_image")
    problem(app.upload(poor, photo(900, 900)), 413, "quota_exceeded")
    problem(app.upload(fresh("nobody"), data), 422, "unknown_user")
    name = "chipmunk_uploads_total"
    for door, what, amount in (
        ("raw", "stored", 2),
        ("json", "stored", 1),
        ("json", "replayed", 1),
        ("multipart", "stored", 1),
        ("raw", "unsupported_type", 1),
        ("raw", "corrupt_image", 1),
        ("precheck", "quota_exceeded", 1),
        ("precheck", "unknown_user", 1),
    ):
        moved.comes_to(amount, name, door=door, outcome=what)
    assert moved.by(name) == 9
    moved.comes_to(1, "chipmunk_quota_refusals_total", code="quota_exceeded")
    moved.comes_to(len(data) + made[1]["bytes"], "chipmunk_upload_bytes_total", door="raw")
    moved.comes_to(len(data), "chipmunk_upload_bytes_total", door="multipart")
    assert moved.by("chipmunk_upload_seconds_count") == 5
    for quality in range(1, 7):
        moved.comes_to(4, "chipmunk_rungs_total", quality=str(quality))
        weight = sum(r["bytes"] for m in made for r in m["rungs"] if r["quality"] == quality)
        assert moved.by("chipmunk_rung_bytes_total", quality=str(quality)) == weight
    moved.comes_to(4, "chipmunk_jobs_total", kind="ladder", outcome="completed")
    moved.comes_to(4, "chipmunk_job_seconds_count", kind="ladder")
    assert 0 < moved.by("chipmunk_job_seconds_sum", kind="ladder") < 120


def test_jobs_that_wait_are_counted_and_timed_until_they_have_ended(cast: Cast, app: App, system: System) -> None:
    moved = Moved(cast)
    system.kill("worker-1", signal.SIGSTOP)
    try:
        waiting = [cast.media() for _ in range(3)]
        time.sleep(1)
        assert moved.by("chipmunk_jobs_waiting", kind="ladder") == 3
        assert 1 <= moved.by("chipmunk_jobs_oldest_seconds", kind="ladder", state="queued") < 60
    finally:
        system.kill("worker-1", signal.SIGCONT)
    for media in waiting:
        app.ready(media)
    assert moved.by("chipmunk_jobs_waiting", kind="ladder") == 0
    assert moved.by("chipmunk_jobs_oldest_seconds", kind="ladder") == 0
    until(system.healthy, 20, "health again")


def test_calls_and_errors_move_by_operation_status_and_code(cast: Cast, app: App) -> None:
    moved = Moved(cast)
    for _ in range(3):
        app.standing(cast.owner)
    problem(app.http.get(f"/v1/users/{fresh('no')}"), 404, "not_found")
    problem(app.http.put("/v1/users/a", json={"x": 1}), 422, "unprocessable")
    problem(cast.ask("view", "DELETE", f"/v1/users/{cast.owner}/sessions"), 403, "scope_missing")
    problem(cast.ask("garbage", "GET", "/v1/users"), 401, "unauthorized")
    problem(app.http.delete(f"/v1/media/{'0' * 32}"), 404, "not_found")
    name = "chipmunk_requests_total"
    for operation, status, amount in (
        ("get_user", "200", 3),
        ("get_user", "404", 1),
        ("put_user", "422", 1),
        ("delete_sessions", "403", 1),
        ("list_users", "401", 1),
    ):
        moved.comes_to(amount, name, operation=operation, status=status)
    for service, code in (
        ("api", "not_found"),
        ("api", "unprocessable"),
        ("api", "scope_missing"),
        ("compressor", "not_found"),
    ):
        moved.comes_to(1, "chipmunk_problems_total", service=service, code=code)
    moved.comes_to(1, "chipmunk_problems_total", service="api", code="unauthorized")


def test_figures_outlive_the_processes_that_counted_them(cast: Cast, app: App, system: System) -> None:
    moved = Moved(cast)
    for _ in range(5):
        app.standing(cast.owner)
    media = app.ready(cast.media())
    assert cast.ask("owner", "GET", f"{media['url']}1/").status_code == 200
    moved.comes_to(1, "chipmunk_views_total", status="200")
    system.restart("api")
    system.restart("compressor")
    moved.comes_to(5, "chipmunk_requests_total", operation="get_user")
    moved.comes_to(1, "chipmunk_uploads_total", door="raw", outcome="stored")
    assert moved.by("chipmunk_views_total", status="200") == 1, "a view counts once, whoever reads the log"


def test_health_and_life_are_told_to_anyone(app: App) -> None:
    answer = app.anonymous().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "down": []})
    assert answer.headers["cache-control"] == "no-store"
    alive = app.anonymous().get("/livez", headers={"Authorization": "Bearer nonsense"})
    assert (alive.status_code, alive.text) == (200, "alive\n")


def test_the_documents_are_there_for_anyone(app: App) -> None:
    document = app.anonymous().get("/openapi.json")
    assert (document.status_code, document.headers["content-type"]) == (200, "application/json")
    assert document.json()["servers"] == [{"url": app.system.url}]
    page = app.anonymous().get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def logged(system: System, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in system.log(name).splitlines()]


ASKED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("an answer", "GET", "/v1/users", {}),
    ("a refusal of the API", "GET", "/v1/users/nobody-at-all", {}),
    ("an upload", "PUT", "/v1/media?user={owner}", {"content": photo(30, 30)}),
    ("a refusal before the body", "PUT", "/v1/media?user=nobody-at-all", {"content": b"x"}),
    ("a refusal after it", "PUT", "/v1/media?user={owner}", {"content": b"x"}),
    ("health", "GET", "/healthz", {}),
    ("deleting", "DELETE", "/v1/media/00000000000000000000000000000000", {}),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda a: str(a[0]))
def test_every_answer_names_its_request_as_the_log_does_and_no_client_chooses_the_name(
    cast: Cast, system: System, asked: tuple[str, str, str, dict[str, Any]]
) -> None:
    _, method, path, given = asked
    chosen = fresh("my-own-id")
    answer = cast.ask("app", method, path.format(owner=cast.owner), headers={"X-Request-Id": chosen}, **given)
    [identifier] = answer.headers.get_list("x-request-id")
    assert identifier != chosen
    until(lambda: identifier in system.log("access"), 4, "the line of this request")
    [line] = [entry for entry in logged(system, "access") if entry["rid"] == identifier]
    assert (line["status"], line["method"]) == (answer.status_code, method)
    assert line["path"] == path.format(owner=cast.owner).partition("?")[0]


def test_what_a_service_logs_of_a_request_holds_the_id_that_its_answer_names(
    cast: Cast, app: App, system: System
) -> None:
    """Without Redis a revocation is not published, which api and compressor each say of the call it was."""
    media = cast.media()
    app.ready(media)
    system.kill("valkey", signal.SIGSTOP)
    try:
        answers = {
            "api": app.http.delete(f"/v1/users/{cast.other}/sessions"),
            "compressor": app.http.delete(f"/v1/media/{media}"),
        }
    finally:
        system.kill("valkey", signal.SIGCONT)
    for name, answer in answers.items():
        assert answer.status_code == 204
        said = [e for e in logged(system, name) if e.get("request_id") == answer.headers["x-request-id"]]
        assert [e["event"].partition(";")[0] for e in said] == ["revocation not published"], name
        assert said[0]["level"] == "warning"
    until(lambda: app.anonymous().get("/healthz").json().get("status") == "ok", 20, "health again")


def test_every_line_of_our_logs_is_one_json_object(system: System) -> None:
    system.restart("authorizer")
    for name in JSON_LOGS:
        for entry in logged(system, name):
            assert isinstance(entry, dict)
            assert "event" in entry or "rid" in entry, name
