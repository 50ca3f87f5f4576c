"""Rate limits through nginx: whoever passes them is told when to come again, at every door, and views never are."""

from __future__ import annotations

import os
import re
import signal
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.client import App, fresh, leaves_nothing, photo, problem
from tests.harness import System, scratch, until

CALLS, UPLOADS, KEY_UPLOADS = 30, 6, 120
ORIGIN = "https://app.example"
BODY = photo(60, 40)
FIELDS = ("ratelimit", "ratelimit-policy")


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    limits = {
        "user_calls_per_minute": CALLS,
        "user_uploads_per_minute": UPLOADS,
        "key_uploads_per_minute": KEY_UPLOADS,
    }
    with scratch() as folder, System(folder / "data", origins=ORIGIN, **limits) as system:
        with App(system) as app:
            yield app
        assert system.stop() == 0, system.output


def left(answer: httpx.Response, what: str, quota: int) -> int:
    """What the answer tells is left of this limit."""
    assert answer.headers["ratelimit-policy"] == f'"{what}";q={quota};w=60', answer.text
    found = re.fullmatch(rf'"{what}";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert found, answer.headers["ratelimit"]
    assert 1 <= int(found[2]) <= 60 // quota + 1
    return int(found[1])


def limited(answer: httpx.Response, what: str, quota: int) -> int:
    """The seconds that a refused call is told to wait."""
    assert problem(answer, 429, "rate_limited")["detail"].startswith(f"No more than {quota} {what} a minute")
    assert left(answer, what, quota) == 0
    wait = int(answer.headers["retry-after"])
    assert answer.headers["ratelimit"] == f'"{what}";r=0;t={wait}'
    return wait


def untold(answer: httpx.Response) -> bool:
    return not any(name in answer.headers for name in FIELDS)


def exhausted(http: httpx.Client) -> httpx.Response:
    """The first call that is refused."""
    for _ in range(2 * CALLS):
        answer = http.get("/v1/media", params={"limit": 1})
        if answer.status_code == 429:
            return answer
    raise AssertionError("no call was refused")


def test_each_call_is_told_what_is_left_whatever_its_answer_and_by_whichever_session(app: App) -> None:
    user = app.user()
    one, other = app.viewer(user), app.viewer(user)
    missing = "0" * 32
    began = time.monotonic()
    found = [
        (one.get("/v1/media"), 200),
        (other.get(f"/v1/users/{user}"), 200),
        (one.head("/v1/media"), 200),
        (one.get(f"/v1/media/{missing}"), 404),
        (other.put("/v1/flows/any", json={}), 403),
        (one.delete(f"/v1/media/{missing}"), 404),
        (other.delete(f"/v1/links/{missing}"), 404),
        (one.get("/v1/media", params={"limit": "x"}), 400),
    ]
    assert [answer.status_code for answer, _ in found] == [status for _, status in found]
    taken = [CALLS - left(answer, "calls", CALLS) for answer, _ in found]
    refilled = int((time.monotonic() - began) * CALLS / 60) + 1
    assert taken[0] == 1
    assert len(found) - refilled <= taken[-1] <= len(found)


def test_who_waits_as_told_gets_through(app: App) -> None:
    user = app.user()
    viewer = app.viewer(user)
    wait = limited(exhausted(viewer), "calls", CALLS)
    assert wait <= 2
    limited(viewer.delete(f"/v1/media/{'0' * 32}"), "calls", CALLS)
    time.sleep(wait)
    assert viewer.get("/v1/media").status_code == 200
    assert app.viewer(app.user()).get("/v1/media").status_code == 200  # others are not concerned


def test_views_are_never_limited_and_tell_nothing(app: App) -> None:
    user = app.user()
    media = app.stored(user)
    viewer = app.viewer(user)
    exhausted(viewer)
    answers = [viewer.get(f"{media['url']}{n % 7}/") for n in range(200)]
    assert {a.status_code for a in answers} == {200}
    assert all(untold(a) for a in answers)


def test_each_upload_counts_one_by_whichever_door_and_is_no_call(app: App) -> None:
    viewer = app.viewer(app.user())
    data = b64encode(BODY).decode()
    again = {"Idempotency-Key": fresh("key")}
    began = time.monotonic()
    answers = [
        viewer.put("/v1/media", content=BODY),
        viewer.post("/v1/media", files={"file": ("a.jpg", BODY)}),
        viewer.post("/v1/media", json={"data": data}, headers=again),
        viewer.post("/v1/media", json={"data": data}, headers=again),
        viewer.put("/v1/media", content=b"no picture"),
        viewer.put("/v1/media", content=BODY, params={"flow": "nowhere"}),
    ]
    assert [a.status_code for a in answers] == [201, 201, 201, 201, 415, 422]
    refilled = int((time.monotonic() - began) * UPLOADS / 60)
    told = [left(a, "uploads", UPLOADS) for a in answers[:5]]
    assert told[0] == UPLOADS - 1
    assert UPLOADS - 5 <= told[-1] <= UPLOADS - 5 + refilled
    assert left(viewer.get("/v1/media"), "calls", CALLS) == CALLS - 1


@pytest.mark.parametrize("door", ["raw", "form", "json"])
def test_of_many_uploads_at_once_no_more_pass_than_there_are_and_the_others_leave_nothing(app: App, door: str) -> None:
    user = app.user()
    viewer, data = app.viewer(user), b64encode(BODY).decode()

    def upload(_: int) -> httpx.Response:
        if door == "raw":
            return viewer.put("/v1/media", content=BODY)
        if door == "form":
            return viewer.post("/v1/media", files={"file": ("a.jpg", BODY)})
        return viewer.post("/v1/media", json={"data": data})

    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(upload, range(40)))
    refilled = int((time.monotonic() - began) * UPLOADS / 60)
    stored = [a for a in answers if a.status_code == 201]
    assert UPLOADS <= len(stored) <= UPLOADS + refilled
    waits = [limited(a, "uploads", UPLOADS) for a in answers if a.status_code != 201]
    assert len(waits) == 40 - len(stored)
    assert app.standing(user)["media_count"] == len(stored)
    for answer in stored:
        app.ready(answer.json()["id"])
    with leaves_nothing(app, user):
        assert upload(0).status_code in (201, 429) if refilled else upload(0).status_code == 429
        if refilled:
            return
    time.sleep(max(waits))
    assert upload(0).status_code == 201


def test_a_key_has_its_own_limit_for_all_its_users_and_none_where_none_is_set(app: App) -> None:
    one, other = app.user(), app.user()
    assert untold(app.http.get("/v1/users"))
    uploads = [app.upload(one, BODY) for _ in range(UPLOADS + 1)]
    assert {a.status_code for a in uploads} == {201}
    before, began = left(app.upload(one, BODY), "uploads", KEY_UPLOADS), time.monotonic()
    data = b64encode(BODY).decode()
    in_the_body = [
        app.http.post("/v1/media", json={"user": other, "data": data}),
        app.http.post("/v1/media", data={"user": other}, files={"file": ("a.jpg", BODY)}),
        app.upload(other, BODY),
    ]
    assert [a.status_code for a in in_the_body] == [201] * 3
    taken = before - left(in_the_body[-1], "uploads", KEY_UPLOADS)
    assert 3 - int((time.monotonic() - began) * KEY_UPLOADS / 60 + 1) <= taken <= 3


def test_nobody_and_bad_credentials_are_told_nothing(app: App) -> None:
    for headers in ({}, {"Authorization": "Bearer cms_forged"}, {"Authorization": "Bearer cmk_forged"}):
        anonymous = app.anonymous()
        for answer in (
            anonymous.get("/v1/media", headers=headers),
            anonymous.put("/v1/media", content=BODY, params={"user": "x"}, headers=headers),
            anonymous.delete(f"/v1/media/{'0' * 32}", headers=headers),
        ):
            problem(answer, 401, "unauthorized")
            assert untold(answer)


def test_a_client_cannot_say_that_it_was_counted_before(app: App) -> None:
    viewer = app.viewer(app.user())
    claims = {"X-Counted": "1", "X-Ticket": "0" * 32, "RateLimit": '"uploads";r=9;t=1'}
    answer = viewer.put("/v1/media", content=BODY, headers=claims)
    assert (answer.status_code, left(answer, "uploads", UPLOADS)) == (201, UPLOADS - 1)
    answer = viewer.post("/v1/media", json={"data": b64encode(BODY).decode()}, headers=claims)
    assert (answer.status_code, left(answer, "uploads", UPLOADS)) == (201, UPLOADS - 2)


def test_a_page_may_read_what_is_left_and_when_to_come_again(app: App) -> None:
    viewer = app.viewer(app.user())
    for answer in (
        viewer.get("/v1/media", headers={"Origin": ORIGIN}),
        viewer.put("/v1/media", content=BODY, headers={"Origin": ORIGIN}),
        *(viewer.put("/v1/media", content=BODY, headers={"Origin": ORIGIN}) for _ in range(UPLOADS)),
    ):
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"retry-after", *FIELDS} <= set(exposed)
        assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_preflights_and_the_public_addresses_count_nothing(app: App) -> None:
    viewer = app.viewer(app.user())
    for path in ("/healthz", "/livez", "/openapi.json", "/docs"):
        assert untold(viewer.get(path)), path
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    assert viewer.options("/v1/media", headers=preflight).status_code == 204
    assert left(viewer.get("/v1/media"), "calls", CALLS) == CALLS - 1


def counted(app: App, name: str) -> float:
    text = app.anonymous().get("/metrics", headers={"Authorization": f"Bearer {app.system.operator_key}"}).text
    found = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[0]) if found else 0.0


def test_an_operator_sees_who_was_limited(app: App) -> None:
    name = 'chipmunk_rate_limited_total{class="calls",subject_kind="user"}'
    before = counted(app, name)
    exhausted(app.viewer(app.user()))
    assert counted(app, name) == before + 1


def test_with_redis_silent_or_killed_calls_and_uploads_go_on_and_limits_come_back_with_it(app: App) -> None:
    viewer = app.viewer(app.user())
    exhausted(viewer)
    pid = app.system.pids()["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        seconds = []
        for _ in range(30):
            began = time.monotonic()
            answer = viewer.get("/v1/media")
            seconds.append(time.monotonic() - began)
            assert answer.status_code == 200
            assert untold(answer)
        assert sum(s > 0.1 for s in seconds) <= 1 + sum(seconds), seconds
        answers = [viewer.put("/v1/media", content=BODY) for _ in range(UPLOADS + 2)]
        assert {a.status_code for a in answers} == {201}
        assert all(untold(a) for a in answers)
        assert counted(app, "chipmunk_uncounted_total") >= 30
    finally:
        os.kill(pid, signal.SIGCONT)
    app.system.kill("valkey")
    until(lambda: viewer.get("/v1/media").status_code == 200, 1, "a call without Redis")
    until(lambda: app.system.pids().get("valkey", pid) != pid, 30, "another valkey")
    until(lambda: not untold(viewer.get("/v1/media")), 10, "limits that hold again")
    limited(exhausted(viewer), "calls", CALLS)
    log = [line for line in app.system.log("api").splitlines() if "rate limits do not hold" in line]
    assert 1 <= len(log) <= 3
