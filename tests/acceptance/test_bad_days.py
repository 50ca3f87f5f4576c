"""Bad days: each part is killed under load and comes back; nothing answered 201 is lost, nothing refused stays."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.client import App, disk_bytes, media_folder, photo, sha256, wait_healthy
from tests.harness import System, scratch, until


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder:
        system = System(folder / "data")
        try:
            with App(system) as app:
                yield app
        finally:
            assert system.stop() == 0, system.output


CROWD: list[str] = []
EXPIRY_SECONDS = 240  # of what a killed process reserved, and of the sweep that comes after it


class Load:
    """Uploads and views from several threads until it is stopped; notes what was answered 201."""

    def __init__(self, app: App, threads: int = 4) -> None:
        self.app, self.user = app, app.user()
        self.stored: dict[str, str] = {}
        self.statuses: list[int] = []
        self._stopped = False
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.stored) >= 4, 20, "first uploads")
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1)
        self._stopped = True
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        seed = number * 100_000
        with httpx.Client(base_url=self.app.system.url, headers=self.app.system.app, timeout=30) as http:
            while not self._stopped:
                seed += 1
                data = photo(300, 200, seed, 70)
                try:
                    answer = http.put("/v1/media", params={"user": self.user}, content=data)
                except httpx.HTTPError:
                    time.sleep(0.05)
                    continue
                self.statuses.append(answer.status_code)
                if answer.status_code == 201:
                    self.stored[answer.json()["id"]] = sha256(data)
                else:
                    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
                    assert answer.status_code in (502, 503), answer.text
                    time.sleep(0.1)

    def check(self) -> None:
        """Everything acknowledged is there, whole, and ready in the end; the books agree with the disk."""
        for media in self.stored:
            found = self.app.ready(media, 60)
            assert found["status"] == "ready", found
        for media, digest in self.stored.items():
            assert sha256((media_folder(self.app.system, media) / "0").read_bytes()) == digest
        listed, cursor = [], None
        while True:
            query = {"user": self.user, "limit": 200} | ({"cursor": cursor} if cursor else {})
            page = self.app.http.get("/v1/media", params=query).json()
            listed += [i["id"] for i in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert set(self.stored) <= set(listed)
        for media in listed:
            self.app.ready(media, 60)
        assert self.app.standing(self.user)["used_bytes"] == disk_bytes(self.app.system, listed)


def semaphores(pid: int) -> set[Path]:
    """The named ones that a process has, which are those of its decoders' pools; it has them by another name."""
    held = {int(n) for n in re.findall(r" (\d+) +/dev/shm/sem\.", Path(f"/proc/{pid}/maps").read_text())}
    return {path for path in Path("/dev/shm").glob("sem.mp-*") if path.stat().st_ino in held}


@pytest.mark.parametrize("part", ["worker-1", "authorizer", "api", "compressor", "nginx", "valkey", "postgres"])
def test_a_part_killed_under_load_comes_back_and_nothing_acknowledged_is_lost(app: App, part: str) -> None:
    held = semaphores(app.system.pids()[part])
    assert (part in ("compressor", "worker-1")) == bool(held)
    with Load(app) as load:
        before = app.system.kill(part)
        until(lambda: app.system.pids().get(part, before) != before, 30, f"another {part}")
        wait_healthy(app.system)
        stored = len(load.stored)
        until(lambda: len(load.stored) > stored + 2, 30, "uploads going on")
    load.check()
    until(lambda: not any(path.exists() for path in held), 10, "the semaphores of the killed given back")
    CROWD.append(load.user)


def test_without_postgres_hot_views_go_on_a_moment_and_the_rest_is_told_to_wait(app: App) -> None:
    user = app.user()
    media = app.stored(user)
    viewer, url = app.viewer(user), f"{media['url']}3/"
    assert viewer.get(url).status_code == 200
    postmaster = psutil.Process(app.system.pids()["postgres"])
    server = [postmaster, *postmaster.children()]
    for process in server:
        process.suspend()
    try:
        time.sleep(3)
        answer = viewer.get(url)
        assert answer.status_code in (200, 503)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["code"] == "unavailable"
        health = app.anonymous().get("/healthz")
        assert health.status_code == 503
        assert "postgres" in health.json()["down"]
    finally:
        for process in server:
            process.resume()
    wait_healthy(app.system)
    until(lambda: viewer.get(url).status_code == 200, 10, "views again")


def test_without_redis_it_is_degraded_and_a_revocation_still_holds(app: App) -> None:
    user = app.user()
    media = app.stored(user)
    viewer, url = app.viewer(user), f"{media['url']}3/"
    assert viewer.get(url).status_code == 200
    pid = app.system.pids()["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: app.anonymous().get("/healthz").json().get("status") == "degraded", 10, "a degraded health")
        assert viewer.get(url).status_code == 200
        assert app.stored(user, photo(seed=2))["status"] == "ready"
        began = time.monotonic()
        assert app.http.delete(f"/v1/users/{user}/sessions").status_code == 204
        answered = time.monotonic()
        assert answered - began < 2
        last = answered
        while time.monotonic() - answered < 3:
            if viewer.get(url).status_code == 200:
                last = time.monotonic()
        assert last - answered < 2
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: app.anonymous().get("/healthz").json().get("status") == "ok", 10, "health again")


def test_a_job_whose_worker_is_killed_again_and_again_ends(app: App) -> None:
    user = app.user()
    media = [app.upload(user, photo(1500, 1200, seed)).json()["id"] for seed in range(8)]
    for _ in range(3):
        before = app.system.kill("worker-1")
        until(lambda before=before: app.system.pids().get("worker-1", before) != before, 30, "another worker")
        time.sleep(0.4)
    for identifier in media:
        assert app.ready(identifier, 90)["status"] == "ready"
    assert app.standing(user)["used_bytes"] == disk_bytes(app.system, media)


def test_a_job_that_cannot_succeed_ends_as_failed_and_the_media_says_why(app: App) -> None:
    user = app.user()
    worker = app.system.pids()["worker-1"]
    os.kill(worker, signal.SIGSTOP)
    try:
        media = app.upload(user, photo(1200, 900)).json()
        original = media_folder(app.system, media["id"]) / "0"
        original.write_bytes(b"\xff" * original.stat().st_size)
    finally:
        os.kill(worker, signal.SIGCONT)
    found = app.ready(media["id"])
    assert (found["status"], [r["quality"] for r in found["rungs"]]) == ("failed", [1, 2, 3])
    assert found["reason"]
    job = app.http.get(f"/v1/jobs/{media['job']}").json()
    assert (job["state"], job["kind"], job["media"], job["reason"]) == (
        "failed",
        "ladder",
        media["id"],
        found["reason"],
    )
    assert app.standing(user)["used_bytes"] == disk_bytes(app.system, [media["id"]])
    assert app.standing(user)["reserved_bytes"] == 0
    viewer = app.viewer(user)
    assert [viewer.get(f"{media['url']}{q}/").status_code for q in range(1, 7)] == [200] * 3 + [404] * 3


def test_what_killed_parts_left_behind_is_swept_up_in_the_end(app: App) -> None:
    inbox = app.system.data_dir / "store" / ".inbox"

    def left() -> list[object]:
        reserved = [(u, n) for u in CROWD if (n := app.standing(u)["reserved_bytes"])]
        return [*reserved, *(p for p in inbox.rglob("*") if p.is_file())]

    def settled() -> bool:
        time.sleep(0.5)
        return left() == []

    until(settled, EXPIRY_SECONDS, f"nothing left of {left()}")
