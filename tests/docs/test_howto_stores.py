"""The page about stores: its commands, in order, on a system with a real bucket and a real node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from chipmunk.config import load
from tests.backends import Operator, done, lies, on
from tests.client import App, photo
from tests.docs.howto import blocks
from tests.docs.test_reference_api import STRICT
from tests.harness import System, scratch
from tests.servers.ceph import Rgw
from tests.servers.ipfs import Ipfs

PAGE = "stores.md"


class Shell:
    """A shell that knows what the page's first block sets."""

    def __init__(self, folder: Path, system: System, **given: str) -> None:
        self._folder = folder
        keys = {"URL": system.url, "KEY": system.api_key, "OPERATOR": system.operator_key}
        said = {**keys, "JSON": "Content-Type: application/json", **given}
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **said}

    def run(self, block: str) -> str:
        command = ["bash", "-c", STRICT + block]
        done = subprocess.run(command, cwd=self._folder, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_command_of_the_page_does_what_it_says(rgw: Rgw, ipfs: Ipfs, tmp_path: Path) -> None:
    bucket, node, say, default, move, again, scrub, take = blocks(PAGE, "sh")[1:]
    with scratch() as folder, System(folder / "data") as system, App(system) as app:
        given = {"BUCKET": f"s3+{rgw.url}/{rgw.make_bucket()}", "NODE": ipfs.url}
        shell = Shell(tmp_path, system, ACCESS_KEY=rgw.access_key, SECRET_KEY=rgw.secret_key, **given)
        operator, user = Operator(system), app.user()
        assert json.loads(shell.run(bucket))["status"] == "ok"
        assert json.loads(shell.run(node))["status"] == "ok"
        old = app.stored(user)["id"]
        shell.run(say)
        shell.run(default)
        first = app.stored(user, photo(seed=2), flow="holidays")["id"]
        lies(app, first, on("main"), on("local", "backup"))
        lies(app, old, on("local"))
        shell.run(move)
        assert done(app, json.loads((tmp_path / "moving.json").read_text())["job"], 90)["state"] == "completed"
        lies(app, first, on("node"))
        viewer = app.viewer(user)
        assert [viewer.get(f"/{_address(app, first)}/{q}/").status_code for q in range(7)] == [200] * 7
        assert done(app, json.loads(shell.run(again))["job"], 90)["state"] == "completed"
        shell.run(scrub)
        job = operator.http.get(f"/v1/jobs/{json.loads((tmp_path / 'scrubbing.json').read_text())['job']}").json()
        assert job["kind"] == "scrub"
        back = app.http.post("/v1/flows/holidays/move", json={"backends": []})
        assert done(app, back.json()["job"], 90)["state"] == "completed"
        shell.run(take)
        assert operator.names() == ["local", "main"]
        operator.http.close()


def _address(app: App, media: str) -> str:
    return str(app.http.get(f"/v1/media/{media}").json()["url"]).strip("/")


def test_the_setting_on_the_page_is_one() -> None:
    (setting,) = blocks(PAGE, "json")
    load({"CHIPMUNK_BACKENDS": setting.replace("…", "canary")})
