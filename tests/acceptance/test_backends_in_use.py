"""Backends that are really there: looked at before they are kept, known to every process soon, and pinned at the start."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from tests.backends import Operator, done, flow, lies, on
from tests.client import App, fresh, media_folder, photo, problem
from tests.harness import System, scratch, until
from tests.servers.ceph import Rgw

SOON = 2.0


@pytest.fixture(scope="module")
def operator(system: System) -> Iterator[Operator]:
    with Operator(system) as operator:
        yield operator


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def bucket(rgw: Rgw, **fields: Any) -> dict[str, Any]:
    """The body that adds a new bucket of the gateway's."""
    url = f"s3+{rgw.url}/{rgw.make_bucket()}"
    return {"url": url, "access_key": rgw.access_key, "secret_key": rgw.secret_key, **fields}


def s3(rgw: Rgw) -> Any:
    return botocore.session.Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=rgw.url,
        aws_access_key_id=rgw.access_key, aws_secret_access_key=rgw.secret_key,
    )  # fmt: skip


def keys(rgw: Rgw, body: dict[str, Any]) -> list[str]:
    client = s3(rgw)
    found = [o["Key"] for o in client.list_objects_v2(Bucket=body["url"].rpartition("/")[2]).get("Contents", [])]
    client.close()
    return found


def test_a_bucket_is_looked_at_before_it_is_kept_and_nothing_is_left_in_it(operator: Operator, rgw: Rgw) -> None:
    name, body = fresh("s3"), bucket(rgw)
    for wrong in (
        {"secret_key": "wrong" * 8},
        {"access_key": "NOBODY"},
        {"url": f"{body['url']}-not-there"},
        {"url": "s3+http://127.0.0.1:9/bucket"},
        {"region": "not a region"},
    ):
        found = problem(
            operator.put(name, **{**body, **wrong}), 422, "bad_backend" if "region" not in wrong else "unprocessable"
        )
        assert rgw.secret_key not in json.dumps(found)
        assert operator.names() == ["local"]
    made = operator.put(name, **body)
    assert (made.status_code, made.json()["status"], made.json()["reason"]) == (201, "ok", None)
    assert made.json()["checked_at"] is not None
    assert keys(rgw, body) == []
    refused = operator.put(name, url=body["url"], access_key=rgw.access_key, secret_key="wrong" * 8, role="archive")
    problem(refused, 422, "bad_backend")
    assert operator.get(name) == made.json()
    kept = operator.put(name, url=body["url"], choosable=True)
    assert (kept.status_code, kept.json()["status"]) == (200, "ok"), "the secret was kept"
    assert operator.http.delete(f"/v1/backends/{name}").status_code == 204


def test_cors_of_a_bucket_is_set_where_the_operator_says_so(operator: Operator, rgw: Rgw) -> None:
    body = bucket(rgw, cors=True)
    assert operator.put(fresh("s3"), **body).json()["cors"] is True
    client = s3(rgw)
    (rule,) = client.get_bucket_cors(Bucket=body["url"].rpartition("/")[2])["CORSRules"]
    client.close()
    assert rule["AllowedOrigins"] == ["https://app.example"]


def test_every_process_knows_soon_where_a_flow_lies_and_a_flow_moves_back(
    operator: Operator, app: App, rgw: Rgw, system: System
) -> None:
    main, cold, user = fresh("main"), fresh("cold"), app.user()
    bodies = {main: bucket(rgw), cold: bucket(rgw)}
    for name, body in bodies.items():
        assert operator.put(name, **body).status_code == 201
    album = flow(app, on(main), on(cold, "archive"))
    time.sleep(SOON)
    media = app.stored(user, flow=album)
    lies(app, media["id"], on(main), on(cold, "archive"))
    until(lambda: not media_folder(system, media["id"]).exists(), 40, "the local copy to have left")
    assert [operator.get(name)["copies"] for name in bodies] == [1, 1]
    assert all(len(keys(rgw, body)) == 7 for body in bodies.values())
    viewer = app.viewer(user)
    assert [viewer.get(f"{media['url']}{q}/").status_code for q in range(7)] == [200] * 7
    problem(operator.http.delete(f"/v1/backends/{main}"), 409, "backend_in_use")
    node = operator.put(main, url="ipfs+http://127.0.0.1:9", unchecked=True)
    problem(node, 409, "backend_in_use")
    moved = app.http.post(f"/v1/flows/{album}/move", json={"backends": []})
    job = done(app, moved.json()["job"])
    assert (job["state"], job["progress"]["done"], job["progress"]["total"]) == ("completed", 1, 1)
    lies(app, media["id"], on("local"))
    assert [viewer.get(f"{media['url']}{q}/").status_code for q in range(7)] == [200] * 7
    assert [keys(rgw, body) for body in bodies.values()] == [[], []]
    for name in bodies:
        assert operator.http.delete(f"/v1/backends/{name}").status_code == 204


def test_a_new_secret_is_used_at_once_by_every_process(operator: Operator, app: App, rgw: Rgw) -> None:
    user, other = app.user(), rgw.make_user()
    first = rgw.make_bucket(user=other)
    name, url = fresh("s3"), f"s3+{rgw.url}/{first}"
    assert operator.put(name, url=url, **other.secret).status_code == 201
    album = flow(app, on(name))
    time.sleep(SOON)
    lies(app, app.stored(user, flow=album)["id"], on(name))
    assert operator.put(name, url=url, access_key="NOBODY", secret_key="x" * 40, unchecked=True).status_code == 200
    time.sleep(SOON)
    waiting = app.stored(user, photo(seed=7), flow=album)["id"]
    time.sleep(SOON)
    states = {p["backend"]: p["state"] for p in app.http.get(f"/v1/media/{waiting}").json()["stored"]}
    assert states[name] == "wanted"
    assert operator.put(name, url=url, **other.secret).json()["status"] == "ok"
    lies(app, waiting, on(name), seconds=60)
    back = app.http.post(f"/v1/flows/{album}/move", json={"backends": []})
    assert done(app, back.json()["job"], 90)["state"] == "completed"


def started_with(system: System) -> list[str]:
    """What `ps` shows of every process of the system."""
    pids = [system.process.pid, *system.pids().values()]
    return [Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace") for pid in pids]


def test_pinned_backends_are_all_there_is_and_calls_cannot_change_them_until_they_are_pinned_no_more(rgw: Rgw) -> None:
    body = bucket(rgw, role="primary")
    with scratch() as folder:
        (folder / "backends.json").write_text(json.dumps({"main": body}))
        os.chmod(folder / "backends.json", 0o644)
        with System(folder / "data", backends_file=folder / "backends.json") as system, App(system) as app:
            user = app.user()
            media = app.stored(user, filename="kept.jpg")
            lies(app, media["id"], on("main"))
            _refuses_changes(system, app)
            logs = "".join(p.read_text(errors="replace") for p in (system.data_dir / "log").iterdir() if p.is_file())
            for told in (logs, system.output, *started_with(system)):
                assert rgw.secret_key not in told
        with System(folder / "data") as system, App(system) as app:
            operator = Operator(system)
            assert {n: operator.get(n)["role"] for n in operator.names()} == {"local": None, "main": "primary"}
            assert app.viewer(user).get(f"{media['url']}6/").status_code == 200
            assert operator.put("local", url="local:", role="primary").status_code == 200
            moved = app.http.post("/v1/flows/general/move")
            assert done(app, moved.json()["job"])["state"] == "completed"
            lies(app, media["id"], on("local"))
            assert operator.http.delete("/v1/backends/main").status_code == 204
            operator.http.close()


def _refuses_changes(system: System, app: App) -> None:
    operator = Operator(system)
    shown = {n: operator.get(n)["role"] for n in operator.names()}
    assert shown == {"local": None, "main": "primary"}
    for answer in (
        operator.put("local", url="local:", role="primary"),
        operator.http.delete("/v1/backends/main"),
        app.http.put("/v1/flows/general", json={"backends": []}),
        app.http.put("/v1/flows/general/backends", json={"backends": [on("local")]}),
        app.http.post("/v1/flows/general/move", json={"backends": [on("local")]}),
    ):
        problem(answer, 409, "backends_pinned")
    assert app.http.put("/v1/flows/general", json={"description": "all"}).status_code == 200
    assert done(app, app.http.post("/v1/flows/general/move").json()["job"])["state"] == "completed"
    operator.http.close()
