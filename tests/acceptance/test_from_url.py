"""Uploads by URL through the whole system, which may reach one address of the inside and no other."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client import App, leaves_nothing, photo, problem
from tests.compressor.site import Site, endless, moved, served, told
from tests.docs.howto import blocks
from tests.harness import System, scratch, until

THERE = "127.0.0.77"
PHOTO = photo(2000, 1500)


@pytest.fixture(scope="module")
def there() -> Iterator[Site]:
    with served(THERE) as made:
        made.pages["/a/photo.jpg"] = told(PHOTO)
        yield made


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder:
        system = System(folder / "data", fetch_allow=THERE, fetch_seconds=20)
        try:
            with App(system) as app:
                yield app
        finally:
            assert system.stop() == 0, system.output


def add(app: App, user: str, url: str, **fields: Any) -> httpx.Response:
    body = {
        "image_extern_url_str": url,
        "image_origin_page_url_str": "https://a.example/page",
        "client_type_str": "test",
    }
    return app.http.post("/v1/images/flows/add_img", json={**body, "user": user, **fields})


def views(app: App, media: dict[str, Any]) -> list[bytes]:
    return [app.http.get(f"{media['url']}{quality}/").content for quality in range(7)]


def test_a_file_from_a_url_is_the_same_as_one_that_was_sent(app: App, there: Site) -> None:
    user = app.user()
    sent = app.stored(user, PHOTO)
    headers = {"prefer": "wait"}
    answer = app.http.post("/v1/media", json={"user": user, "url": there.url("/a/photo.jpg")}, headers=headers)
    assert answer.status_code == 201, answer.text
    fetched = answer.json()
    assert (fetched["status"], fetched["filename"], fetched["sha256"]) == ("ready", "photo.jpg", sent["sha256"])
    assert views(app, fetched) == views(app, sent)
    assert fetched["total_bytes"] == sent["total_bytes"]
    assert app.standing(user)["used_bytes"] == 2 * sent["total_bytes"]


def test_an_added_image_gets_the_id_and_the_thumbnail_that_were_told_first(app: App, there: Site) -> None:
    user = app.user()
    answer = add(app, user, there.url("/a/photo.jpg"), flows_names_lst=["general"])
    assert answer.status_code == 200, answer.text
    told_first = answer.json()
    until(lambda: app.http.get(f"/v1/media/{told_first['image_id_str']}").status_code == 200, 20, "the media")
    media = app.ready(told_first["image_id_str"])
    job = app.http.get(f"/v1/jobs/{told_first['images_job_id_str']}").json()
    assert (job["kind"], job["state"], job["media"]) == ("fetch", "completed", media["id"])
    assert job["progress"] == {"done_bytes": len(PHOTO), "total_bytes": len(PHOTO)}
    assert told_first["thumbnail_small_relative_url_str"] == f"{media['url']}3/"
    assert app.viewer(user).get(told_first["thumbnail_small_relative_url_str"]).headers["content-type"] == "image/webp"
    assert views(app, media)[0] == PHOTO
    assert app.anonymous().get(told_first["thumbnail_small_relative_url_str"]).status_code == 401


def test_where_it_came_from_is_for_the_app_and_the_owner(app: App, there: Site) -> None:
    owner, member = app.user(), app.user()
    app.http.put("/v1/flows/shared", json={"posting": "users"})
    app.http.put(f"/v1/flows/shared/members/{member}", json={"role": "viewer"})
    body = {"user": owner, "url": there.url("/a/photo.jpg"), "flow": "shared"}
    media = app.http.post("/v1/media", json=body).json()["id"]
    shown = [http.get(f"/v1/media/{media}").json() for http in (app.http, app.viewer(owner), app.viewer(member))]
    assert [found.get("origin") for found in shown[:2]] == [{"url": body["url"], "page": None}] * 2
    assert "origin" not in shown[2]
    listed = app.viewer(member).get("/v1/flows/shared/media").json()["items"]
    assert [found["id"] for found in listed] == [media]
    assert "origin" not in listed[0]


def test_nothing_inside_is_reached_and_nothing_of_it_is_told(app: App, there: Site) -> None:
    user, port = app.user(), urlsplit(app.system.url).port
    there.pages["/in"] = moved(f"http://127.0.0.1:{port}/healthz")
    urls = [
        app.system.url + "/healthz", f"http://localhost:{port}/healthz", "http://127.0.0.1:1/", "http://127.0.0.1:80/",
        "http://[::1]/", "http://2130706433/", "http://0177.0.0.1/", f"http://0x7f.1:{port}/", f"http://[::ffff:127.0.0.1]:{port}/",
        "http://169.254.169.254/latest/meta-data/", "http://no-such-name.invalid/", there.url("/in"), "http://0/",
        "file:///etc/passwd", f"unix:{app.system.data_dir}/run/api.sock",
    ]  # fmt: skip
    answers = []
    with leaves_nothing(app, user):
        for url in urls:
            for door in (app.http.post("/v1/media", json={"user": user, "url": url}), add(app, user, url)):
                if door.status_code == 200:
                    job = door.json()["images_job_id_str"]
                    until(lambda job=job: app.http.get(f"/v1/jobs/{job}").json()["state"] != "queued", 20, "an attempt")
                    app.http.delete(f"/v1/jobs/{job}")
                else:
                    answers.append(problem(door, 422, "url_refused"))
    assert len({str(answer) for answer in answers}) == 1


def test_who_does_not_wait_leaves_nothing_behind(app: App, there: Site) -> None:
    user = app.user()
    there.pages["/slow"] = endless(bytes(500_000), 0.2, first=PHOTO)
    with leaves_nothing(app, user), pytest.raises(httpx.ReadTimeout):
        app.http.post("/v1/media", json={"user": user, "url": there.url("/slow")}, timeout=1.5)


def test_a_worker_that_is_killed_over_it_makes_one_media_in_the_end(app: App, there: Site) -> None:
    user = app.user()
    asked = len(there.asked)

    async def slow(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(whole := told(PHOTO)), 50_000):
            writer.write(whole[at : at + 50_000])
            await writer.drain()
            await asyncio.sleep(0.2)

    there.pages["/slow.jpg"] = slow
    told_first = add(app, user, there.url("/slow.jpg")).json()
    until(lambda: len(there.asked) > asked, 20, "a fetch")
    time.sleep(0.3)
    app.system.restart("worker-1")
    until(lambda: app.http.get(f"/v1/media/{told_first['image_id_str']}").status_code == 200, 60, "the media")
    media = app.ready(told_first["image_id_str"])
    job = app.http.get(f"/v1/jobs/{told_first['images_job_id_str']}").json()
    assert (job["state"], job["attempts"]) == ("completed", 2)
    assert app.standing(user)["media_count"] == 1
    until(lambda: app.standing(user)["reserved_bytes"] == 0, 10, "nothing reserved")
    assert app.standing(user)["used_bytes"] == media["total_bytes"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_guide_work(app: App, there: Site, tmp_path: Path) -> None:
    there.pages["/photo.jpg"] = told(PHOTO)
    app.http.put("/v1/users/alice", json={})
    (tmp_path / "var" / "keys").mkdir(parents=True)
    (tmp_path / "var" / "keys" / "api.key").write_text(app.system.api_key)
    script = "\n".join(block for block in blocks("upload-from-a-url.md", "sh") if "export" not in block)
    script = script.replace("http://127.0.0.1:8080", app.system.url).replace(
        "https://www.example.com/photo.jpg", there.url("/photo.jpg")
    )
    strict = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; }\n'
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", strict + script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"kind":"fetch"' in done.stdout


def test_many_addings_at_once_keep_no_picture_waiting(app: App, there: Site) -> None:
    user = app.user()

    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    there.pages["/silent"] = silent
    made = [add(app, user, there.url("/silent")).json()["images_job_id_str"] for _ in range(20)]
    began = time.monotonic()
    assert app.stored(user)["status"] == "ready"
    assert time.monotonic() - began < 8
    assert [app.http.delete(f"/v1/jobs/{job}").json()["state"] for job in made] == ["cancelled"] * 20
