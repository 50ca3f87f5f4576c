"""Resumable uploads on bad days: connections cut at random, the compressor killed, two clients at one upload."""

from __future__ import annotations

import asyncio
import io
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from PIL import Image

from tests.client import App, disk_bytes, leftovers, media_folder, photo
from tests.harness import System, scratch, until
from tests.servers.cutting import NEVER, Cutter
from tests.servers.tus_js import Clients

PATH = "/v1/uploads/"
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
MB = 1_000_000


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder:
        system = System(folder / "data", upload_seconds=600)
        try:
            with App(system) as app:
                yield app
        finally:
            assert system.stop() == 0, system.output


def dot(seed: int, size: int) -> bytes:
    """A picture of few pixels that no other seed gives, with so many bytes after its end that it has this size."""
    chance, out = random.Random(seed), io.BytesIO()
    Image.frombytes("RGB", (3, 3), chance.randbytes(27)).save(out, "PNG")
    return out.getvalue() + chance.randbytes(max(0, size - len(out.getvalue())))


def original(app: App, media: str) -> bytes:
    return (media_folder(app.system, media) / "0").read_bytes()


def begun(app: App, user: str, length: int) -> str:
    answer = app.http.post(f"{PATH}?user={user}", headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def offset(app: App, where: str) -> int:
    answer = app.http.head(where, headers=TUS)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["upload-offset"])


def asked(app: App, query: str) -> list[Any]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(app.system.settings.database_url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return asyncio.run(ask())


def settled(app: App, user: str, medias: list[str]) -> None:
    """The user has these media and nothing else, and is charged for exactly what lies on the disk."""
    for row in asked(app, "select id from uploads where state <> 'stored'"):
        assert app.http.delete(f"{PATH}{row['id'].hex}", headers=TUS).status_code == 204
    for media in medias:
        app.ready(media)
    standing = app.standing(user)
    assert standing["media_count"] == len(medias)
    assert standing["used_bytes"] == disk_bytes(app.system, medias)
    assert standing["reserved_bytes"] == 0
    store = app.system.data_dir / "store"
    assert leftovers(app.system) == []
    assert list((store / ".uploads").iterdir()) == []


def raw(app: App, where: str, start: int, length: int, data: bytes) -> socket.socket:
    """A connection on which a PATCH of `length` bytes has begun, and so much of it was sent."""
    connection = socket.create_connection(("127.0.0.1", app.system.port))
    head = {**BYTES, **app.system.app, "Host": "x", "Upload-Offset": str(start), "Content-Length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    connection.sendall(f"PATCH {where} HTTP/1.1\r\n{lines}\r\n".encode() + data)
    return connection


def kill(app: App) -> None:
    """Kills the compressor and waits until another answers."""
    app.system.restart("compressor")
    until(lambda: app.http.options(PATH).status_code == 204, 20, "an answer of the compressor")


def test_five_hundred_uploads_with_random_cuts_are_all_right_and_the_quota_is_exact(
    app: App, tus_clients: Clients, tmp_path: Path
) -> None:
    user, chance = app.user(), random.Random(4)
    sent = [dot(n, int(70 * 4300 ** chance.random())) for n in range(500)]
    for number, data in enumerate(sent):
        (tmp_path / str(number)).write_bytes(data)
    uploads = [{"path": str(tmp_path / str(n)), "metadata": {"user": user}} for n in range(500)]

    def plan() -> tuple[int, int]:
        return chance.randrange(200, 100_000), chance.randrange(100, 10_000) if chance.random() < 0.3 else NEVER

    began = time.monotonic()
    with Cutter(app.system.port, plan) as cutter:
        given = {"headers": app.system.app, "atOnce": 16, "retries": 40, "delay": 30}
        told = tus_clients.upload(f"{cutter.url}{PATH}", uploads, **given)
        assert cutter.cuts > 100
    assert time.monotonic() - began < 60
    assert [t for t in told if "error" in t] == []
    medias = [t["url"].rpartition("/")[2] for t in told]
    for media, data in zip(medias, sent, strict=True):
        assert original(app, media) == data
    settled(app, user, medias)


def test_a_compressor_killed_under_load_costs_no_upload(app: App, tus_clients: Clients, tmp_path: Path) -> None:
    user = app.user()
    sent = [photo(800, 600, n) + random.Random(n).randbytes(12 * MB) for n in range(8)]
    for number, data in enumerate(sent):
        (tmp_path / str(number)).write_bytes(data)
    uploads = [
        {"path": str(tmp_path / str(n)), "metadata": {"user": user}, "options": {"chunkSize": 2 * MB}} for n in range(8)
    ]
    given = {"headers": app.system.app, "atOnce": 8, "retries": 100, "delay": 200}
    process = tus_clients.start(f"{app.system.url}{PATH}", uploads, **given)
    try:
        begun = f"select 1 from uploads p join users u on u.id = p.user_id where u.name = '{user}' and p.\"offset\" > 0"
        until(lambda: len(asked(app, begun)) >= 8, 20)  # a client that knows no address yet would begin a second upload
        for _ in range(2):
            until(lambda: bool(asked(app, "select 1 from uploads where state = 'open' and \"offset\" > 0")), 20)
            kill(app)
        told = json.loads(process.communicate(timeout=90)[0])
    finally:
        process.kill()
        process.communicate()
    assert [t for t in told if "error" in t] == []
    medias = [t["url"].rpartition("/")[2] for t in told]
    for media, data in zip(medias, sent, strict=True):
        assert original(app, media) == data
    settled(app, user, medias)


@pytest.mark.parametrize("how", ["cut", "killed"])
def test_what_is_cut_off_or_killed_loses_no_more_than_a_few_megabytes(app: App, how: str) -> None:
    user, data = app.user(), photo(800, 600) + random.Random(1).randbytes(30 * MB)
    where = begun(app, user, len(data))
    connection = raw(app, where, 0, len(data), data[: 20 * MB])
    waiting = "select max(\"offset\") from uploads where state = 'open'"
    until(lambda: asked(app, waiting)[0][0] > 14 * MB, 20, "most of it recorded")
    if how == "killed":
        kill(app)
    connection.close()
    came = offset(app, where)
    assert 14 * MB < came <= 20 * MB
    answer = app.http.patch(where, headers={**BYTES, "Upload-Offset": str(came)}, content=data[came:])
    assert answer.status_code == 204, answer.text
    media = answer.headers["chipmunk-media"]
    assert original(app, media) == data
    settled(app, user, [media])


def test_a_client_that_stands_still_keeps_nobody_out(app: App) -> None:
    user, data = app.user(), photo(800, 600, 2)
    where = begun(app, user, len(data))
    with raw(app, where, 0, len(data), b"X" * 1000):
        time.sleep(0.3)
        began = time.monotonic()
        answer = app.http.patch(where, headers={**BYTES, "Upload-Offset": "0"}, content=data)
        assert answer.status_code == 204, answer.text
        assert time.monotonic() - began < 6
    assert original(app, answer.headers["chipmunk-media"]) == data
    settled(app, user, [answer.headers["chipmunk-media"]])


def test_of_clients_at_one_offset_one_wins_and_the_bytes_are_its_own(app: App) -> None:
    user, medias = app.user(), []
    for turn in range(4):
        sent = [photo(800, 600, 10 * turn + n) for n in range(4)]
        length = max(map(len, sent))
        sent = [data.ljust(length, b"\0") for data in sent]
        where, answers = begun(app, user, length), [httpx.Response(500)] * 4

        def send(number: int, where: str = where, answers: Any = answers, sent: Any = sent) -> None:
            headers = {**app.system.app, **BYTES, "Upload-Offset": "0"}
            with httpx.Client(base_url=app.system.url, headers=headers, timeout=60) as http:
                answers[number] = http.patch(where, content=sent[number])

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [n for n, answer in enumerate(answers) if answer.status_code == 204]
        assert len(winners) == 1, [answer.text for answer in answers]
        assert {a.status_code for a in answers} <= {204, 400, 409, 423}
        medias.append(where.removeprefix(PATH))
        assert original(app, medias[-1]) == sent[winners[0]]
    settled(app, user, medias)
