"""The how-to page's own commands edit a picture, through nginx."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.client import App, photo, problem
from tests.docs.howto import blocks
from tests.harness import System


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def test_the_commands_edit_and_save(app: App, tmp_path: Path) -> None:
    source = app.stored(app.user(), photo(seed=51), filename="heron.jpg")
    (tmp_path / "media.json").write_text(json.dumps(source))
    (tmp_path / "edited.jpg").write_bytes(photo(200, 100, seed=52))
    given = {**os.environ, "URL": app.system.url, "KEY": app.system.api_key}
    script = "set -euo pipefail\n" + "\n".join(blocks("edit.md", "sh"))
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=given, stdout=subprocess.DEVNULL, check=True, timeout=60)
    edited, marked, saved = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("edited", "marked", "saved"))
    assert (edited["source"], edited["width"], edited["height"]) == (source["id"], 300, 300)
    assert (edited["title"], edited["filename"], marked["width"]) == ("Ann, in grey", "heron.jpg", 320)
    grey = Image.open(io.BytesIO(app.http.get(f"{app.ready(edited['id'])['url']}0/").content))
    red, green, _ = grey.split()
    assert max(abs(a - b) for a, b in zip(red.tobytes(), green.tobytes(), strict=True)) < 5
    variant = Image.open(io.BytesIO((tmp_path / "variant.avif").read_bytes()))
    assert (variant.format, variant.width) == ("AVIF", 200)
    found = app.ready(saved["image_id_str"])
    told = (found["source"], found["edits"], found["title"], found["meta"])
    assert told == (source["id"], None, "Ann, by hand", {"applied_filters_lst": ["vintage"]})


def test_a_picture_from_nobody_is_refused_with_its_body_still_to_come(app: App) -> None:
    with socket.create_connection(("127.0.0.1", app.system.port), timeout=5) as nobody:
        nobody.sendall(b"POST /images/editor/save HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        nobody.sendall(b"Content-Length: 30000000\r\n\r\n{")
        assert nobody.recv(100).startswith(b"HTTP/1.1 401 ")


def test_members_who_see_it_are_told_nothing_of_its_source(app: App) -> None:
    owner, member = app.user(), app.user()
    source = app.stored(owner, photo(seed=53))
    app.http.put("/v1/flows/edits", json={})
    app.http.put(f"/v1/flows/edits/members/{member}", json={"role": "viewer"})
    made = app.http.post(f"/v1/media/{source['id']}/edits", json={"edits": "flip.h", "flow": "edits"}).json()
    seen = app.viewer(member).get(f"/v1/media/{made['id']}").json()
    assert (made["source"], "source" in seen, "edits" in seen) == (source["id"], False, False)
    problem(app.viewer(member).post(f"/v1/media/{made['id']}/edits", json={"edits": "flip.h"}), 403, "forbidden")
