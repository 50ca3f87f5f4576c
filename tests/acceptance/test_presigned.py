"""Uploads straight to S3 (a real Ceph Object Gateway), or to this service where the flow lies on the local volume."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from chipmunk.storage import Stat
from chipmunk.storage.s3 import S3Store
from tests.client import App, fresh, leftovers, media_folder, photo, problem
from tests.harness import System, scratch, until
from tests.servers.ceph import Rgw

MIB = 1024 * 1024
PHOTO = photo()


@dataclass
class Place:
    """An app whose flow `there` lies in a bucket, and `here` on the local volume."""

    app: App
    rgw: Rgw
    backend: str
    bucket: str
    there: str
    here: str

    @property
    def url(self) -> str:
        return f"s3+{self.rgw.url}/{self.bucket}/media"

    def init(self, user: str, flow: str = "", **query: object) -> httpx.Response:
        given = {"imgf": "jpeg", "imgn": "a.jpg", "f": flow or self.there, "ct": "browser", "user": user, **query}
        return self.app.http.get("/v1/images/upload_init", params=given)  # type: ignore[arg-type]

    def well(self) -> bool:
        """Whether the bucket passed its last check: while it has not, files are sent to the local volume."""
        headers = {"Authorization": f"Bearer {self.app.system.operator_key}"}
        answer = httpx.get(f"{self.app.system.url}/v1/backends/{self.backend}", headers=headers, timeout=30)
        return bool(answer.json()["status"] == "ok")

    def begun(self, user: str, flow: str = "", **query: object) -> dict[str, Any]:
        if flow == "":
            until(self.well, 60, "a bucket that is not too busy to pass its check")
        answer = self.init(user, flow, **query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["upload_info_map"])

    def complete(self, info: dict[str, Any], http: httpx.Client | None = None, **meta: object) -> httpx.Response:
        query = {"imgid": info["upload_gf_image_id_str"], "f": ",".join(info["flows_names_lst"])}
        return (http or self.app.http).post("/v1/images/upload_complete", params=query, json={"meta_map": meta})

    def completed(self, info: dict[str, Any], **meta: object) -> str:
        answer = self.complete(info, **meta)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["images_job_id_str"])

    def ended(self, job: str, seconds: float = 30) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def done() -> bool:
            found.update(self.app.http.get(f"/v1/jobs/{job}").json())
            return found["state"] not in ("queued", "running")

        until(done, seconds, f"the end of {job}")
        return found

    def objects(self, prefix: str = "") -> dict[str, Stat]:
        """What lies in the bucket."""

        async def listed() -> dict[str, Stat]:
            store = S3Store(self.url, {}, self.rgw.user.secret)
            try:
                return {key: stat async for key, stat in store.listed(prefix)}
            finally:
                await store.close()

        return asyncio.run(listed())

    def incoming(self, info: dict[str, Any]) -> int | None:
        """How many bytes of an upload lie in the bucket."""
        found = self.objects("incoming/").get(f"incoming/{info['upload_gf_image_id_str']}")
        return None if found is None else found.bytes


def send(info: dict[str, Any], data: bytes, **headers: str) -> httpx.Response:
    """As a browser sends it, with no credential."""
    if info["method"] == "POST":
        files = {"file": ("a.jpg", data, "application/octet-stream")}
        return httpx.post(info["presigned_url_str"], data={**info["fields"], **headers}, files=files, timeout=60)
    given = {**info["headers"], **headers}
    return httpx.put(info["presigned_url_str"], content=data, headers=given, timeout=60)


def settled(rgw: Rgw, app: App) -> Place:
    bucket, name = rgw.make_bucket(), fresh("bucket")
    fields = {"url": f"s3+{rgw.url}/{bucket}/media", **rgw.user.secret}
    operator = {"Authorization": f"Bearer {app.system.operator_key}"}
    answer = httpx.put(f"{app.system.url}/v1/backends/{name}", json=fields, headers=operator, timeout=30)
    assert answer.status_code == 201, answer.text
    place = Place(app, rgw, name, bucket, fresh("there"), fresh("here"))
    for flow, backends in ((place.there, [{"backend": name, "role": "primary"}]), (place.here, [])):
        body = {"backends": backends, "posting": "users"}
        assert app.http.put(f"/v1/flows/{flow}", json=body).status_code == 201
    return place


@pytest.fixture(scope="module")
def place(rgw: Rgw) -> Iterator[Place]:
    with scratch() as folder, System(folder / "data", default_quota_bytes=10**9) as system, App(system) as app:
        yield settled(rgw, app)


@pytest.fixture(scope="module")
def hasty(rgw: Rgw) -> Iterator[Place]:
    """One whose URLs are good for two seconds."""
    with scratch() as folder, System(folder / "data", presigned_seconds=2) as system, App(system) as app:
        yield settled(rgw, app)


def stored(place: Place, user: str, info: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Once it is a media that lies where it should, with nothing left of how it came."""
    media = info["upload_gf_image_id_str"]
    assert place.ended(place.completed(info, camera="x")) == {
        **place.ended(place.completed(info)), "state": "completed", "kind": "collect", "media": media, "reason": None,
    }  # fmt: skip
    found = place.app.ready(media)
    assert (found["status"], found["owner"], found["bytes"], found["meta"]) == (
        "ready",
        user,
        len(data),
        {"camera": "x"},
    )
    assert found["flows"] == info["flows_names_lst"]
    assert place.app.http.get(f"{found['url']}0/").content == data
    standing = place.app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"]) == (found["total_bytes"], 0)
    until(lambda: place.incoming(info) is None, 5, "nothing where it was sent to")
    return found


@pytest.mark.parametrize("method", ["put", "post"])
def test_what_a_browser_sends_to_s3_becomes_the_media_whose_id_was_told_first(place: Place, method: str) -> None:
    user = place.app.user()
    info = place.begun(user, method=method)
    assert info["method"] == method.upper()
    assert info["presigned_url_str"].startswith(f"{place.rgw.url}/{place.bucket}")
    problem(place.complete(info), 409, "conflict")
    assert send(info, PHOTO).status_code in (200, 204)
    assert place.incoming(info) == len(PHOTO)
    found = stored(place, user, info, PHOTO)
    until(lambda: place.app.http.get(f"/v1/media/{found['id']}").json()["stored"][0]["state"] == "stored", 20, "a copy")
    key = "/".join([found["id"][-4:-2], found["id"][-2:], found["id"]])
    assert sorted(k.rpartition("/")[2] for k in place.objects(key)) == ["0", *(f"{q}.webp" for q in range(1, 7))]


def test_on_the_local_volume_the_url_is_our_own(place: Place) -> None:
    user = place.app.user()
    info = place.begun(user, place.here, method="post")
    assert info["method"] == "PUT"
    assert info["presigned_url_str"].startswith(f"{place.app.system.url}/v1/images/direct/")
    assert send(info, PHOTO).status_code == 200
    stored(place, user, info, PHOTO)
    token = urlsplit(info["presigned_url_str"]).path.rpartition("/")[2]
    time.sleep(1.2)  # nginx writes its log once a second
    log = place.app.system.log("access")
    assert '"path":"/v1/images/direct"' in log
    assert token[:12] not in log
    assert leftovers(place.app.system) == []


def test_the_store_itself_refuses_what_was_not_announced(place: Place) -> None:
    user = place.app.user(quota_bytes=3 * MIB)
    put = place.begun(user, size=len(PHOTO))
    assert send(put, PHOTO + b"\0").status_code == 403
    assert send(put, PHOTO, **{"Content-Type": "text/html"}).status_code == 403
    assert (
        send({**put, "presigned_url_str": put["presigned_url_str"].replace("incoming/", "ab/cd/")}, PHOTO).status_code
        == 403
    )
    post = place.begun(user, method="post")
    assert send(post, os.urandom(2 * MIB + 1)).status_code == 400
    assert send(post, b"").status_code == 400
    assert send(post, PHOTO, **{"Content-Type": "text/html"}).status_code == 403
    assert send(post, PHOTO, key="incoming/other").status_code == 403
    assert place.incoming(put) is place.incoming(post) is None
    assert send(post, os.urandom(2 * MIB)).status_code == 204
    assert place.ended(place.completed(post))["reason"].startswith("This is not a format")
    problem(place.init(user, size=3 * MIB), 413, "quota_exceeded")


def test_a_large_file_is_sent_in_parts(place: Place) -> None:
    user, data = place.app.user(), PHOTO + os.urandom(20 * MIB)
    info = place.begun(user, size=len(data), parts=1)
    assert [part["number"] for part in info["parts"]] == [1, 2]
    assert (info["part_bytes"], info["presigned_url_str"]) == (16 * MIB, info["parts"][0]["presigned_url_str"])
    problem(place.complete(info), 409, "conflict")
    for part in reversed(info["parts"]):
        start = (part["number"] - 1) * info["part_bytes"]
        sent = httpx.put(part["presigned_url_str"], content=data[start : start + info["part_bytes"]], timeout=60)
        assert sent.status_code == 200, sent.text
    stored(place, user, info, data)
    again = httpx.put(info["parts"][0]["presigned_url_str"], content=b"x" * 6 * MIB, timeout=60)
    assert again.status_code == 404


def test_a_file_whose_parts_are_not_all_there_is_refused_as_a_whole(place: Place) -> None:
    user = place.app.user()
    info = place.begun(user, size=40 * MIB, parts=1)
    for part in (info["parts"][0], info["parts"][2]):
        assert httpx.put(part["presigned_url_str"], content=bytes(16 * MIB), timeout=60).status_code == 200
    for _ in range(2):
        problem(place.complete(info), 422, "mismatch")
    assert place.incoming(info) is None
    assert place.app.standing(user)["reserved_bytes"] == 0


def test_what_is_refused_is_refused_before_it_is_read(place: Place) -> None:
    info = place.begun(place.app.user(quota_bytes=3 * MIB), place.here)
    began = time.monotonic()
    problem(send(info, bytes(80 * MIB)), 413, "quota_exceeded")
    problem(send(info, bytes(80 * MIB), **{"Content-Type": "text/html"}), 415, "unsupported_type")
    assert time.monotonic() - began < 10
    assert send(info, PHOTO).status_code == 200


def test_what_is_sent_after_it_was_completed_changes_nothing(place: Place) -> None:
    user, other = place.app.user(), photo(seed=2)
    info = place.begun(user)
    send(info, PHOTO)
    job = place.completed(info)
    place.ended(job)
    assert send(info, other).status_code == 200
    assert place.completed(info) == job
    found = place.app.ready(info["upload_gf_image_id_str"])
    assert place.app.http.get(f"{found['url']}0/").content == PHOTO
    assert place.app.standing(user)["media_count"] == 1


def test_what_is_swapped_before_it_is_fetched_is_refused(place: Place) -> None:
    user, other = place.app.user(), photo(seed=2) + bytes(10)
    info = place.begun(user)
    send(info, PHOTO)
    place.app.system.kill("worker-1")
    job = place.completed(info)
    assert send(info, other).status_code == 200
    ended = place.ended(job, 60)
    assert ended["state"] == "failed"
    assert "changed after it was completed" in ended["reason"]
    assert place.app.standing(user)["reserved_bytes"] == 0


def test_quota_and_size_are_judged_by_what_the_store_has(place: Place) -> None:
    user = place.app.user(quota_bytes=3 * MIB)
    info = place.begun(user)
    assert send(info, os.urandom(3 * MIB)).status_code == 200
    assert problem(place.complete(info), 413, "quota_exceeded")["left_bytes"] == 3 * MIB
    problem(place.complete(info), 413, "quota_exceeded")
    assert place.incoming(info) is None
    empty = place.begun(user)
    assert send(empty, b"").status_code == 200
    problem(place.complete(empty), 422, "empty_file")
    standing = place.app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"], standing["media_count"]) == (0, 0, 0)


def test_an_upload_is_nobody_s_but_its_user_s_and_their_app_s(place: Place) -> None:
    owner, other = place.app.user(), place.app.user()
    info = place.begun(owner)
    send(info, PHOTO)
    foreign = place.complete(info, place.app.viewer(other))
    unknown = place.complete({**info, "upload_gf_image_id_str": "0" * 32}, place.app.viewer(other))
    for answer in (foreign, unknown):
        problem(answer, 404, "not_found")
    problem(place.complete(info, place.app.anonymous()), 401, "unauthorized")
    problem(place.complete(info, place.app.viewer(owner, scopes=["view"])), 403, "scope_missing")
    assert place.complete(info, place.app.viewer(owner)).status_code == 200


def test_while_the_store_is_away_the_local_volume_takes_it_and_what_was_sent_waits(rgw: Rgw, place: Place) -> None:
    user = place.app.user()
    sent = place.begun(user)
    send(sent, PHOTO)
    rgw.kill()
    try:
        problem(place.complete(sent), 503, "store_unavailable")
        info = place.init(user).json()["upload_info_map"]
        assert "/v1/images/direct/" in info["presigned_url_str"]
        assert send(info, PHOTO).status_code == 200
        assert place.ended(place.completed(info))["state"] == "completed"
    finally:
        rgw.restart()
    assert place.ended(place.completed(sent), 60)["state"] == "completed"


def test_a_worker_that_dies_half_way_does_no_harm(place: Place) -> None:
    user, data = place.app.user(), PHOTO + os.urandom(200 * MIB)
    info = place.begun(user, size=len(data))
    assert send(info, data).status_code == 200
    job = place.completed(info, camera="x")

    def running() -> bool:
        found = place.app.http.get(f"/v1/jobs/{job}").json()
        assert found["state"] in ("queued", "running"), found
        return found["state"] == "running"

    until(running, 20, "the job at work")
    place.app.system.kill("worker-1")
    assert place.app.http.get(f"/v1/jobs/{job}").json()["state"] == "running"
    assert place.ended(job, 90)["state"] == "completed"
    stored(place, user, info, data)
    assert place.app.standing(user)["media_count"] == 1


def test_a_url_is_good_for_a_while_and_what_nobody_completes_is_removed(hasty: Place) -> None:
    user, store = hasty.app.user(), hasty.app.system.data_dir / "store" / ".uploads"
    there, here, parts = hasty.begun(user), hasty.begun(user, hasty.here), hasty.begun(user, size=20 * MIB, parts=1)
    for info in (there, here):
        assert send(info, PHOTO).status_code == 200
    assert httpx.put(parts["presigned_url_str"], content=bytes(6 * MIB)).status_code == 200
    assert hasty.app.standing(user)["reserved_bytes"] > 0
    time.sleep(3)
    assert send(there, PHOTO).status_code == 403
    problem(send(here, PHOTO), 404, "not_found")
    time.sleep(2)
    for info in (there, here, parts):
        problem(hasty.complete(info), 404, "not_found")
    until(lambda: hasty.incoming(there) is None, 60, "nothing in the bucket")
    until(lambda: not list(store.iterdir()), 60, "nothing on the volume")
    assert hasty.app.standing(user)["reserved_bytes"] == 0
    gone = httpx.put(parts["presigned_url_str"], content=bytes(6 * MIB))
    assert gone.status_code in (403, 404)
    assert not media_folder(hasty.app.system, UUID(hex=here["upload_gf_image_id_str"]).hex).exists()
