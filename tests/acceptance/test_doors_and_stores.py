"""Every door into every store, a flow on the move, and a store that dies: on the running system, with real servers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.doors import DOORS, settled, web
from tests.client import App, fresh, media_folder, photo, sha256
from tests.harness import System, scratch, until
from tests.servers.ceph import Rgw
from tests.servers.ipfs import Ipfs

STORES = ("local", "bucket", "node")
MOVED = int(os.environ.get("CHIPMUNK_TESTS_MOVED", "60"))  # 1,000 by hand


@dataclass
class Place:
    app: App
    rgw: Rgw
    node: Ipfs
    picture: Path
    url: str

    def operator(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.app.system.operator_key}"}
        return httpx.request(method, self.app.system.url + path, headers=headers, timeout=60, **given)

    def backend(self, name: str, **fields: Any) -> None:
        answer = self.operator("PUT", f"/v1/backends/{name}", json=fields)
        assert answer.status_code in (200, 201), answer.text

    def bucket(self, name: str, **fields: Any) -> str:
        bucket = self.rgw.make_bucket()
        url = f"s3+{self.rgw.url}/{bucket}"
        self.backend(name, url=url, access_key=self.rgw.access_key, secret_key=self.rgw.secret_key, **fields)
        return bucket

    def flow(self, *backends: tuple[str, str]) -> str:
        name = fresh("flow")
        placed = [{"backend": backend, "role": role} for backend, role in backends]
        answer = self.app.http.put(f"/v1/flows/{name}", json={"backends": placed})
        assert answer.status_code == 201, answer.text
        return name


@pytest.fixture(scope="module")
def place(rgw: Rgw, ipfs: Ipfs) -> Iterator[Place]:
    with scratch() as folder:
        picture = folder / "photo.jpg"
        picture.write_bytes(photo(2725, 2225, 7, 90))
        with (
            System(folder / "data", fetch_allow="127.0.0.1", default_quota_bytes=10**10) as system,
            App(system) as app,
            web(picture) as url,
        ):
            found = Place(app, rgw, ipfs, picture, url)
            found.bucket("bucket")
            found.backend("node", url=ipfs.url)
            yield found
            assert system.stop() == 0, system.output


def views(client: httpx.Client, url: str) -> dict[int, str]:
    """The SHA-256 of each of the seven qualities."""
    found = {}
    for quality in range(7):
        answer = client.get(f"{url}{quality}/")
        assert answer.status_code == 200, (quality, answer.text[:200])
        found[quality] = sha256(answer.content)
    return found


def test_a_photograph_is_the_same_by_every_door_in_every_store(place: Place) -> None:
    app, user = place.app, place.app.user()
    flows = {backend: place.flow((backend, "primary")) for backend in STORES}
    made = {(d, s): door(app, user, flows[s], place.picture, place.url) for d, door in DOORS.items() for s in STORES}
    viewer = app.viewer(user)
    seen = {}
    for (door, store), media in made.items():
        found = settled(app, media, store)
        assert found["status"] == "ready"
        assert media_folder(app.system, media).exists() == (store == "local")
        seen[door, store] = views(viewer, found["url"])
    assert len(set(made.values())) == 21
    first = next(iter(seen.values()))
    assert first[0] == sha256(place.picture.read_bytes())
    assert {pair: found for pair, found in seen.items() if found != first} == {}
    used = sum(app.http.get(f"/v1/media/{media}").json()["total_bytes"] for media in made.values())
    standing = app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"], standing["media_count"]) == (used, 0, 21)


@dataclass
class Watching:
    """Views of some media, one after the other, until it is stopped; nothing else than 200 and the right bytes will do."""

    client: httpx.Client
    wanted: dict[str, str]
    wrong: list[str] = field(default_factory=list)
    count: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watching:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            for path, digest in self.wanted.items():
                try:
                    answer = self.client.get(path)
                    if answer.status_code != 200 or sha256(answer.content) != digest:
                        self.wrong.append(f"{time.time():.2f} {path[-3:]} {answer.status_code}")
                except httpx.HTTPError as e:
                    self.wrong.append(f"{path} {e!r}")
                self.count += 1


def move(place: Place, flow: str, backend: str) -> dict[str, Any]:
    """Moves a flow and waits until all of it lies there."""
    body = {"backends": [{"backend": backend, "role": "primary"}]}
    answer = place.app.http.post(f"/v1/flows/{flow}/move", json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(place.app.http.get(f"/v1/jobs/{answer.json()['job']}").json())
        return found["state"] not in ("queued", "running")

    until(ended, 60 + 3 * MOVED, f"the move of {flow} to {backend}")
    assert found["state"] == "completed", found
    return found


def test_a_flow_moves_from_store_to_store_while_people_look_at_it(place: Place) -> None:
    app, user = place.app, place.app.user()
    flow = place.flow(("local", "primary"))

    def store(n: int) -> str:
        answer = app.upload(user, photo(200, 150, n), flow=flow)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(store, range(MOVED)))
    for media in made:
        app.ready(media, 120)
    viewer = app.viewer(user)
    urls = [app.http.get(f"/v1/media/{media}").json()["url"] for media in made[:: max(1, MOVED // 20)]]
    wanted = {f"{url}{q}/": digest for url in urls for q, digest in views(viewer, url).items()}
    with Watching(viewer, wanted) as watching:
        for backend in ("bucket", "node", "local"):
            began = time.monotonic()
            job = move(place, flow, backend)
            print(f"{MOVED} media to {backend}: {time.monotonic() - began:.1f} s, {watching.count} views so far")
            assert job["progress"] == {"total": MOVED, "done": MOVED, "failed": 0}
            for media in made:
                stored = app.http.get(f"/v1/media/{media}").json()["stored"]
                assert [p["backend"] for p in stored] == [backend]
                assert media_folder(app.system, media).exists() == (backend == "local")
    assert watching.wrong == []
    assert watching.count > len(wanted)


def test_a_dead_store_loses_nothing_and_a_copy_serves(place: Place) -> None:
    app, user = place.app, place.app.user()
    kept, alone = place.flow(("bucket", "primary"), ("local", "backup")), place.flow(("bucket", "primary"))
    before = app.stored(user, photo(900, 700, 11), flow=kept)
    gone = app.stored(user, photo(900, 700, 12), flow=alone)
    settled(app, gone["id"], "bucket")

    def copied() -> bool:
        stored = app.http.get(f"/v1/media/{before['id']}").json()["stored"]
        return {(p["backend"], p["state"]) for p in stored} == {("bucket", "stored"), ("local", "stored")}

    until(copied, 60, "both copies")
    viewer = app.viewer(user)
    wanted = {f"{before['url']}0/": sha256(photo(900, 700, 11))}
    with Watching(viewer, wanted) as watching:
        place.rgw.kill()
        try:
            during = [app.upload(user, photo(300, 200, 20 + n), flow=alone) for n in range(5)]
            assert [answer.status_code for answer in during] == [201] * 5
            made = [answer.json() for answer in during]
            for media in made:
                app.ready(media["id"])
                assert viewer.get(f"{media['url']}6/").status_code == 200
            lost = viewer.get(f"{gone['url']}0/")
            assert (lost.status_code, lost.json()["code"]) == (503, "unavailable")
            assert int(lost.headers["retry-after"]) > 0
            assert app.http.delete(f"/v1/media/{before['id']}").status_code == 204
            assert viewer.get(f"{before['url']}0/").status_code == 404
            waiting = place.operator("GET", "/v1/backends/bucket").json()
            assert waiting["deletions_waiting"] >= 1
            until(lambda: place.operator("GET", "/v1/backends/bucket").json()["status"] == "down", 60, "a look at it")
            health = httpx.get(f"{app.system.url}/healthz").json()
            assert health == {"status": "degraded", "down": ["backends"]}
        finally:
            place.rgw.restart()
    assert [w for w in watching.wrong if not w.endswith("404")] == []
    for media in made:
        settled(app, media["id"], "bucket", 180)
        assert viewer.get(f"{media['url']}6/").status_code == 200
    assert viewer.get(f"{gone['url']}0/").status_code == 200
    until(lambda: place.operator("GET", "/v1/backends/bucket").json()["deletions_waiting"] == 0, 120, "the deletion")
