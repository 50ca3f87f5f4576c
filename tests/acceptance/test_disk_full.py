"""A disk that is full: 507, nothing lost, nothing half-written, and all is well once there is room again."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.client import App, disk_bytes, leaves_nothing, leftovers, media_folder, photo, problem
from tests.harness import System, scratch, until

MIB = 1024 * 1024
SIZE = 320 * MIB
TOGETHER = 5
PASSED = threading.Barrier(TOGETHER)
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


def send_slowly(app: App, user: str, data: bytes) -> tuple[int, str]:
    """An upload whose body begins when all have passed the pre-check: the status, and the media's id or the code."""
    with socket.create_connection(("127.0.0.1", app.system.port), 60) as connection:
        lines = [f"PUT /v1/media?user={user} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in app.system.app.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        PASSED.wait(30)
        time.sleep(0.5)
        with suppress(ConnectionError):
            connection.sendall(data)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = json.loads(answer.read())
        return answer.status, body.get("code") or body["id"]


def test_uploads_that_fill_the_disk_together_end_whole_or_leave_nothing(app: App) -> None:
    user = app.user()
    data = padded(12 * MIB)
    ballast = fill(app, SPARE + 14 * MIB)
    try:
        with ThreadPoolExecutor(TOGETHER) as pool:
            answers = list(pool.map(lambda _: send_slowly(app, user, data), range(TOGETHER)))
        stored = [media for status, media in answers if status == 201]
        assert {answer for answer in answers if answer[0] != 201} == {(507, "disk_full")}
        assert len(stored) < TOGETHER
        for media in stored:
            assert (media_folder(app.system, media) / "0").read_bytes() == data
    finally:
        ballast.unlink()
    for media in stored:
        assert app.ready(media)["status"] == "ready"
    until(lambda: leftovers(app.system) == [], 10, "no half-written file")
    standing = app.standing(user)
    assert (standing["media_count"], standing["reserved_bytes"]) == (len(stored), 0)
    assert standing["used_bytes"] == disk_bytes(app.system, stored)
    assert app.stored(user, photo())["status"] == "ready"
