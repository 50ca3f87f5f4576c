"""Jobs: who may look at them and cancel them, and what a cancelled one leaves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.callers import ABSENT, NO_ID, OK, SCOPE, UNAUTHORIZED, Cast, Row, answers, bare, expected, outcome, row
from tests.client import App, disk_bytes, photo, problem
from tests.harness import System

NOT_CANCELLABLE = "409 job_not_cancellable"


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


@pytest.fixture(scope="module")
def ended(cast: Cast) -> str:
    """The job of a media that is ready."""
    return str(cast.app.ready(cast.media())["job"])


@pytest.fixture(scope="module")
def rows(ended: str) -> dict[str, Row]:
    return {
        "look": row("GET", lambda c: f"/v1/jobs/{ended}", OK, OK, "view", operator=OK),
        "look at none": row("GET", lambda c: f"/v1/jobs/{NO_ID}", ABSENT, ABSENT, "view", operator=ABSENT),
        "cancel what has ended": row(
            "DELETE",
            lambda c: f"/v1/jobs/{ended}",
            NOT_CANCELLABLE,
            NOT_CANCELLABLE,
            "manage",
            operator=NOT_CANCELLABLE,
        ),
        "cancel none": row("DELETE", lambda c: f"/v1/jobs/{NO_ID}", ABSENT, ABSENT, "manage", operator=ABSENT),
    }


@pytest.mark.parametrize("name", ["look", "look at none", "cancel what has ended", "cancel none"])
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, rows: dict[str, Row], name: str) -> None:
    assert answers(cast, rows[name]) == expected(cast, rows[name])


def test_anothers_job_looks_like_none(cast: Cast, ended: str) -> None:
    for method in ("GET", "DELETE"):
        there, absent = (cast.ask("other", method, f"/v1/jobs/{i}") for i in (ended, NO_ID))
        assert bare(there, ended) == bare(absent, NO_ID), method


def test_a_job_says_what_it_was_about_and_how_it_went(cast: Cast, app: App) -> None:
    media = app.ready(cast.media())
    job = app.http.get(f"/v1/jobs/{media['job']}").json()
    assert {k: v for k, v in job.items() if not k.endswith("_at")} == {
        "id": media["job"],
        "kind": "ladder",
        "state": "completed",
        "attempts": 1,
        "reason": None,
        "media": media["id"],
        "progress": None,
    }
    times = [datetime.fromisoformat(job[k]) for k in ("created_at", "started_at", "finished_at")]
    assert times == sorted(times)
    for path in ("x", "..%2F", media["job"].upper(), f"{media['job']}0"):
        assert app.http.get(f"/v1/jobs/{path}").status_code in (400, 404)


def waiting(cast: Cast, width: int = 900, seed: int = 1) -> dict[str, Any]:
    answer = cast.app.upload(cast.owner, photo(width, width, seed))
    assert answer.status_code == 201
    return dict(answer.json())


def test_a_waiting_job_is_cancelled_once_and_its_media_keeps_what_it_has(
    cast: Cast, app: App, system: System, no_worker: None
) -> None:
    media = waiting(cast)
    path = f"/v1/jobs/{media['job']}"
    assert app.http.get(path).json()["state"] == "queued"
    assert outcome(cast.ask("other", "DELETE", path)) == ABSENT
    assert outcome(cast.ask("view", "DELETE", path)) == SCOPE
    assert outcome(cast.ask("nobody", "DELETE", path)) == UNAUTHORIZED
    assert app.http.get(path).json()["state"] == "queued"
    before = app.standing(cast.owner)
    cancelled = cast.ask("manage", "DELETE", path)
    assert (outcome(cancelled), cancelled.json()["state"]) == (OK, "cancelled")
    assert cancelled.json()["finished_at"] is not None
    assert outcome(app.http.delete(path)) == NOT_CANCELLABLE
    kept = app.http.get(f"/v1/media/{media['id']}").json()
    assert (kept["status"], kept["reason"]) == ("failed", "cancelled")
    assert [r["quality"] for r in kept["rungs"]] == [1, 2, 3]
    assert app.standing(cast.owner)["reserved_bytes"] < before["reserved_bytes"]
    assert [cast.ask("owner", "GET", f"{media['url']}{q}/").status_code for q in (0, 3, 6)] == [200, 200, 404]
    system.kill("worker-1", signal.SIGCONT)
    other = app.ready(waiting(cast, 300, 2)["id"])
    assert other["status"] == "ready"
    assert app.http.get(f"/v1/media/{media['id']}").json() == kept, "the worker leaves a cancelled job alone"
    assert app.http.get(path).json() == cancelled.json()
    assert kept["total_bytes"] == disk_bytes(system, [media["id"]])


def test_the_job_that_takes_a_user_away_cannot_be_cancelled(app: App, no_worker: None) -> None:
    user = app.user()
    app.upload(user, photo(60, 60))
    job = app.http.delete(f"/v1/users/{user}").json()["job"]
    found = problem(app.http.delete(f"/v1/jobs/{job}"), 409, "job_not_cancellable")
    assert (found["job"], found["state"]) == (job, "queued")


def test_a_view_during_the_ladder_shows_the_best_rung_there_is_and_keeps_it_nowhere(
    cast: Cast, app: App, no_worker: None
) -> None:
    media = waiting(cast, 1200, 3)
    assert (media["status"], len(media["rungs"])) == ("processing", 3)
    early = cast.ask("owner", "GET", f"{media['url']}6/")
    assert (early.status_code, early.headers["cache-control"]) == (200, "no-store")
    assert early.content == cast.ask("owner", "GET", f"{media['url']}3/").content
    assert app.standing(cast.owner)["reserved_bytes"] > 0
    assert app.http.delete(f"/v1/media/{media['id']}").status_code == 204
