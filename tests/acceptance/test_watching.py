"""Watching jobs through nginx: by many, from any moment on, over restarts, and by nobody else."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.browsing import Site as Page
from tests.browsing import chromium, serving
from tests.client import App, photo, problem
from tests.compressor.site import Site, served, told
from tests.harness import System, scratch, until

THERE = "127.0.0.78"
STEPS = ["image_fetch", "image_transform", "image_persist", "image_done"]
STATUS = "/images/jobs/status"
IMAGES = int(os.environ.get("CHIPMUNK_TESTS_IMAGES", "100"))  # 1,000 by hand


@dataclass
class Frame:
    id: str = ""
    event: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def there() -> Iterator[Site]:
    with served(THERE) as made:
        for n in range(40):
            made.pages[f"/{n}.jpg"] = told(photo(640, 480, n))
        yield made


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An app's page that shows what it is told of a user's events."""
    html = """<!doctype html><title>app</title><p id=said></p><script>
        window.watch = (url) => {
            const source = new EventSource(url, { withCredentials: true });
            for (const kind of ["image", "job", "progress"])
                source.addEventListener(kind, (e) => { said.textContent += kind + ":" + e.data + "\\n"; });
            source.onopen = () => { document.title = "watching"; };
        };
    </script>"""
    with serving(lambda _, __: ("text/html", html)) as made:
        yield made


@pytest.fixture(scope="module")
def app(page: Page) -> Iterator[App]:
    with (
        scratch() as folder,
        System(folder / "data", fetch_allow=THERE, origins=page.url) as system,
        App(system) as app,
    ):
        yield app
        assert system.stop() == 0, system.output


def start(app: App, user: str, urls: list[str], **fields: Any) -> dict[str, Any]:
    body = {"job_type_str": "process_extern_images", "client_type_str": "test", "imgs_urls_str": urls, "user": user}
    answer = app.http.post("/images/jobs/start", json={**body, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def read(client: httpx.Client, path: str, last: str = "", most: int = 10**9, **params: str) -> list[Frame]:
    """What a stream tells until it ends, or until so many frames are there."""
    frames, headers = list[Frame](), {"Last-Event-ID": last} if last else {}
    with client.stream("GET", path, params=params, headers=headers, timeout=60) as answer:
        if answer.status_code == 204:
            return []
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        frame = Frame()
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    frame.id = value
                case "event":
                    frame.event = value
                case "data":
                    frame.data = json.loads(value)
                case "" if frame.id:
                    frames.append(frame)
                    frame = Frame()
                    if len(frames) >= most:
                        break
    return frames


def of_job(app: App, job: str, **given: Any) -> list[Frame]:
    return read(app.http, STATUS, images_job_id_str=job, **given)


def steady(frames: list[Frame]) -> list[tuple[str, dict[str, Any]]]:
    """Without the progress, which is not kept for ever."""
    return [(frame.id, frame.data) for frame in frames if frame.data["name_str"] != "progress"]


def test_watchers_from_before_during_and_after_are_told_the_same(app: App, there: Site) -> None:
    user = app.user()
    urls = [there.url(f"/{n}.jpg") if n % 5 else there.url(f"/no{n}.jpg") for n in range(30)]
    made = start(app, user, urls)
    job = made["running_job_id_str"]
    with ThreadPoolExecutor(6) as pool:
        before = [pool.submit(of_job, app, job) for _ in range(3)]
        until(lambda: app.http.get(f"/v1/jobs/{job}").json()["progress"]["done"] > 5, 30, "some images")
        during = [pool.submit(of_job, app, job) for _ in range(2)]
        seen = [future.result(90) for future in before + during]
    after = of_job(app, job)
    assert all(steady(frames) == steady(after) for frames in seen)
    data = [data for _, data in steady(after)]
    assert data[-1] == {
        "name_str": "job", "type_str": "completed", "job_status_str": "failed_partial", "image_id_str": None,
    }  # fmt: skip
    for number, expected in enumerate(made["job_expected_outputs_lst"]):
        steps = [one for one in data if one["image_id_str"] == expected["image_id_str"]]
        assert {one["image_source_url_str"] for one in steps} == {urls[number]}
        if number % 5:
            assert [(one["name_str"], one["type_str"]) for one in steps] == [(step, "ok") for step in STEPS]
        else:
            assert [(one["name_str"], one["type_str"]) for one in steps] == [("image_fetch", "error")]
            assert "404" in steps[0]["err_str"]
    for position, (last, _) in enumerate(steady(after)):
        if position % 13 == 0:
            assert steady(of_job(app, job, last=last)) == steady(after)[position + 1 :]
    assert of_job(app, job, last=after[-1].id) == []
    plain = read(app.http, f"/v1/jobs/{job}/events")
    assert [frame.id for frame in plain] == [frame.id for frame in after]
    listed = app.http.get(f"/v1/jobs/{job}/images", params={"limit": 7}).json()
    assert [one["number"] for one in listed["items"]] == list(range(7))
    assert listed["next"]


class Watcher:
    """Reads a job's stream as a browser does: comes back with the last id until it is told 204."""

    def __init__(self, app: App, job: str) -> None:
        self._app, self._job = app, job
        self.got: list[Frame] = []
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self.over.is_set():
            with suppress(httpx.HTTPError):
                self._read({"Last-Event-ID": self.got[-1].id} if self.got else {})
            time.sleep(0.1)

    def _read(self, headers: dict[str, str]) -> None:
        with httpx.stream(
            "GET", f"{self._app.system.url}{STATUS}", params={"images_job_id_str": self._job},
            headers={**self._app.system.app, **headers}, timeout=60,
        ) as answer:  # fmt: skip
            if answer.status_code == 204:
                return self.over.set()
            frame = Frame()
            for line in answer.iter_lines() if answer.status_code == 200 else ():
                name, _, value = line.partition(": ")
                if name == "id":
                    frame.id = value
                elif name == "data":
                    frame.data = json.loads(value)
                elif name == "" and frame.id:
                    self.got.append(frame)
                    frame = Frame()

    def goes_on(self, events: int) -> None:
        """Waits for so many more, or the end."""
        wanted = len(self.got) + events
        until(lambda: len(self.got) > wanted or self.over.is_set(), 120, "more events")

    def end(self) -> None:
        self.over.set()
        self._thread.join(30)


def test_a_restart_of_any_part_loses_no_event(app: App, there: Site) -> None:
    """Of twenty images one is not there; the worker is killed twice, everything else once; some watch from later on."""
    user = app.user(quota_bytes=10**10)
    urls = [there.url(f"/{n % 40}.jpg" if n % 20 else f"/no{n}.jpg") for n in range(IMAGES)]
    made = start(app, user, urls)
    job = made["running_job_id_str"]
    watchers = [Watcher(app, job)]
    try:
        for part in ("worker-1", "api", "compressor", "worker-1", "nginx"):
            watchers[0].goes_on(IMAGES // 4)
            app.system.kill(part)
            watchers += [Watcher(app, job)] if len(watchers) < 3 else []
        until(lambda: all(watcher.over.is_set() for watcher in watchers), 60 + IMAGES, "the end")
    finally:
        for watcher in watchers:
            watcher.end()
    until(app.system.healthy, 30, "health")
    whole = steady(of_job(app, job))
    for watcher in watchers:
        assert steady(watcher.got) == whole
    assert whole[-1][1]["job_status_str"] == "failed_partial"
    done = [data["image_id_str"] for _, data in whole if data["name_str"] == "image_done"]
    errors = [data["image_id_str"] for _, data in whole if data["type_str"] == "error"]
    expected = [one["image_id_str"] for one in made["job_expected_outputs_lst"]]
    assert sorted(done) == sorted(one for n, one in enumerate(expected) if n % 20)
    assert sorted(errors) == sorted(one for n, one in enumerate(expected) if n % 20 == 0)
    assert app.standing(user)["media_count"] == len(done)


def test_nobody_else_is_told_anything(app: App, there: Site) -> None:
    user, other = app.user(), app.user()
    job = start(app, user, [there.url("/1.jpg")])["running_job_id_str"]
    for path, params in (
        (STATUS, {"images_job_id_str": job}),
        (f"/v1/jobs/{job}/events", {}),
        (f"/v1/jobs/{job}/images", {}),
    ):
        assert app.viewer(other).get(path, params=params).status_code == 404
        assert app.anonymous().get(path, params=params).status_code == 401
        assert app.viewer(user, scopes=["upload"]).get(path, params=params).status_code == 403
        assert app.viewer(user).get(path, params=params).status_code == 200
    for params in ({}, {"images_job_id_str": "x"}, {"images_job_id_str": "0" * 32}):
        assert app.http.get(STATUS, params=params).status_code == 404
    wrong = app.http.get(STATUS, params={"images_job_id_str": job}, headers={"Last-Event-ID": "soon"})
    problem(wrong, 400, "bad_request")
    assert app.viewer(other).get("/v1/events", params={"user": user}).status_code == 403
    assert app.http.get("/v1/events").status_code == 400
    assert app.http.get("/v1/events", params={"user": "nobody-of-this-name"}).status_code == 404
    assert app.http.head(f"/v1/jobs/{job}/events").status_code == 200


def test_a_stream_ends_with_the_session(app: App, there: Site) -> None:
    user = app.user()
    session = app.session(user)
    client = httpx.Client(base_url=app.system.url, headers={"Authorization": f"Bearer {session['token']}"})
    with client, client.stream("GET", "/v1/events", timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry")
        assert app.http.delete(f"/v1/sessions/{session['id']}").status_code == 204
        time.sleep(2.1)
        start(app, user, [there.url("/2.jpg")])
        assert [line for line in lines if line.startswith("data")] == []


def test_a_page_sees_all_that_happens_to_its_user_and_to_no_other(app: App, there: Site, page: Page) -> None:
    user, other = app.user(), app.user()
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto(f"{app.session(user)['enter_url']}?next={page.url}/")
        tab.evaluate("url => window.watch(url)", f"{app.system.url}/v1/events")
        tab.wait_for_function("document.title === 'watching'")
        hidden = start(app, other, [there.url("/3.jpg")])["job_expected_outputs_lst"][0]["image_id_str"]
        shown = start(app, user, [there.url("/4.jpg")])["job_expected_outputs_lst"][0]["image_id_str"]
        stored = app.stored(user)
        tab.wait_for_function("id => said.textContent.includes(id)", arg=stored["id"])
        tab.wait_for_function('() => said.textContent.includes(\'"kind":"images"\')')
        said = tab.text_content("#said")
    assert shown in said
    assert hidden not in said
    assert "image_done" in said


def test_who_reads_slowly_costs_the_same_and_gets_all(app: App, there: Site) -> None:
    """A stream is read a page at a time, when the one before was taken: hundreds that nobody reads keep nothing up."""
    user = app.user()
    jobs = [start(app, user, [there.url(f"/{n}.jpg") for n in range(20)])["running_job_id_str"] for _ in range(3)]
    with httpx.Client(
        base_url=app.system.url, headers=app.system.app, limits=httpx.Limits(max_connections=40)
    ) as client:
        streams = [client.stream("GET", f"/v1/jobs/{jobs[n % 3]}/events", timeout=60) for n in range(20)]
        answers = [stream.__enter__() for stream in streams]
        try:
            assert [answer.status_code for answer in answers] == [200] * 20
            until(lambda: app.http.get(f"/v1/jobs/{jobs[2]}").json()["state"] == "completed", 60, "the last job")
            slow = [answer.read().count(b"image_done") for answer in answers]
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)
    assert slow == [20] * 20
