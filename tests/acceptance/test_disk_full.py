"""A disk that is full: 507, nothing lost, nothing half-written, and all is well once there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.client import App, disk_bytes, leaves_nothing, media_folder, photo, problem
from tests.harness import System, scratch

MIB = 1024 * 1024
SIZE = 320 * MIB
SPARE = 16 * MIB  # what no upload may take


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    if os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("A disk of its own size is mounted by root only.")
    with scratch() as folder:
        disk = folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "none", str(disk)], check=True)
        try:
            system = System(disk / "data", default_quota_bytes=10**12)
            try:
                with App(system) as app:
                    yield app
            finally:
                assert system.stop() == 0, system.output
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def fill(app: App, left: int) -> Path:
    """A file that leaves so many bytes free."""
    ballast = app.system.data_dir.parent / "ballast"
    size = shutil.disk_usage(ballast.parent).free - left
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return ballast


def padded(size: int) -> bytes:
    """A JPEG of this many bytes: decoders stop at its end."""
    data = photo(300, 200)
    return data + bytes(size - len(data))


def test_an_upload_that_would_fill_the_disk_is_refused_unread(app: App) -> None:
    user = app.user()
    ballast = fill(app, SPARE + 2 * MIB)
    try:
        with leaves_nothing(app, user):
            problem(app.upload(user, padded(8 * MIB)), 507, "disk_full")
        assert app.stored(user, photo())["status"] == "ready"
    finally:
        ballast.unlink()
    assert app.upload(user, padded(8 * MIB)).status_code == 201


def test_uploads_that_fill_the_disk_together_end_whole_or_leave_nothing(app: App) -> None:
    user = app.user()
    data = padded(12 * MIB)
    ballast = fill(app, SPARE + 14 * MIB)
    try:

        def send(_: int) -> httpx.Response:
            with httpx.Client(base_url=app.system.url, headers=app.system.app, timeout=60) as http:
                return http.put("/v1/media", params={"user": user}, content=data)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        stored = [a.json()["id"] for a in answers if a.status_code == 201]
        for answer in answers:
            if answer.status_code != 201:
                problem(answer, 507, "disk_full")
        assert 0 < len(stored) < 8
        for media in stored:
            assert (media_folder(app.system, media) / "0").read_bytes() == data
    finally:
        ballast.unlink()
    for media in stored:
        assert app.ready(media)["status"] == "ready"
    standing = app.standing(user)
    assert (standing["media_count"], standing["reserved_bytes"]) == (len(stored), 0)
    assert standing["used_bytes"] == disk_bytes(app.system, stored)
    assert app.stored(user, photo())["status"] == "ready"
