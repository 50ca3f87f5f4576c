"""Views of media that lie in S3, through the real nginx: as those from disk, with nothing shown of the store."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest

from chipmunk import renditions
from chipmunk.ids import parse_id
from gateway.kept import LOOKS
from gateway.kept import path as kept_path
from tests.acceptance.test_views import link, refused_ids, same
from tests.client import App, fresh, media_folder, photo, problem
from tests.harness import System, scratch, until
from tests.pictures import animation
from tests.servers.ceph import Rgw
from tests.servers.faults import Proxy

PHOTO = photo(1400, 1000, 11)
SETTLED_SECONDS = 40
LAST = {"Connection": "close"}  # nginx closes after a 412, without a word in its headers


@dataclass
class Elsewhere:
    """A system, and two buckets: `first` behind a line that can break, `second` straight."""

    app: App
    proxy: Proxy
    loop: asyncio.AbstractEventLoop
    secrets: list[str] = field(default_factory=list)

    @property
    def system(self) -> System:
        return self.app.system

    def line(self, act: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(act, self.loop).result(10)

    def add(self, name: str, url: str, bucket: str, rgw: Rgw) -> None:
        operator = {"Authorization": f"Bearer {self.system.operator_key}"}
        fields = {"url": f"s3+{url}/{bucket}", "access_key": rgw.access_key, "secret_key": rgw.secret_key}
        answer = self.app.anonymous().put(f"/v1/backends/{name}", json=fields, headers=operator)
        assert answer.status_code in (200, 201), answer.text
        self.secrets += [urlsplit(url).netloc, bucket, rgw.access_key, rgw.secret_key]

    def flow(self, *roles: tuple[str, str], **fields: object) -> str:
        name, placed = fresh("flow"), [{"backend": backend, "role": role} for backend, role in roles]
        answer = self.app.http.put(f"/v1/flows/{name}", json={"backends": placed, **fields})
        assert answer.status_code == 201, answer.text
        return name

    def query(self, statement: str, *values: object) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self.system.settings.database_url)
            try:
                return await connection.fetchval(statement, *values)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def stored(self, user: str, data: bytes, flow: str, *, at: str = "first", **query: object) -> dict[str, Any]:
        """Uploads and waits until all copies are there and views are served by `at`."""
        media = self.app.stored(user, data, flow=flow, **query)
        home = "select b.name from media m join backends b on b.id = m.home where m.id = $1"
        waiting = "select count(*) from copies where media_id = $1 and state <> 'stored' and role is not null"
        until(lambda: self.query(home, UUID(media["id"])) == at, SETTLED_SECONDS, f"{media['id']} at {at}")
        until(lambda: self.query(waiting, UUID(media["id"])) == 0, SETTLED_SECONDS, "all copies")
        return media

    def away(self, user: str, data: bytes, flow: str, **query: object) -> tuple[dict[str, Any], dict[int, bytes]]:
        """As `stored`, and takes the files of the local volume; returns what they held."""
        media = self.stored(user, data, flow, **query)
        held = self.on_disk(media)
        shutil.rmtree(media_folder(self.system, media["id"]))
        self.query("delete from copies where media_id = $1 and backend_id = 1", UUID(media["id"]))
        until(lambda: self.app.http.get(f"{media['url']}1/").status_code == 200, 3, "a view from elsewhere")
        time.sleep(LOOKS[-1] + 0.4)  # the move itself has nginx forget it
        return media, held

    def on_disk(self, media: dict[str, Any]) -> dict[int, bytes]:
        folder = media_folder(self.system, media["id"])
        return {int(p.name[0]): p.read_bytes() for p in folder.iterdir()}

    def keep(self, client: httpx.Client, media: dict[str, Any], *rungs: int) -> None:
        """Views these rungs until nginx keeps them: of what was moved just now it is told to forget all for a while."""

        def there() -> bool:
            assert {client.get(f"{media['url']}{rung}/").status_code for rung in rungs} == {200}
            return len(self.kept(media)) == len(rungs)

        until(there, 10, "rungs that nginx keeps")

    def kept(self, media: dict[str, Any]) -> list[Path]:
        """The files of it that nginx keeps."""
        identifier = parse_id(media["id"])
        assert identifier is not None
        paths = (kept_path(self.system.settings.cache_dir, identifier, rung) for rung in range(1, 7))
        return [p for p in paths if p.exists()]


@pytest.fixture(scope="module")
def elsewhere(rgw: Rgw) -> Iterator[Elsewhere]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(rgw.url)
    with scratch() as folder, System(folder / "data", nginx_workers=1) as system, App(system) as app:
        made = Elsewhere(app, proxy, loop)
        made.line(proxy._listen())
        made.add("first", proxy.url, rgw.make_bucket(), rgw)
        made.add("second", rgw.url, rgw.make_bucket(), rgw)
        yield made
        assert system.stop() == 0, system.output
        made.line(proxy.gone())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(autouse=True)
def healed(elsewhere: Elsewhere) -> Iterator[None]:
    yield
    elsewhere.line(elsewhere.proxy.heal())


@pytest.fixture(scope="module")
def owner(elsewhere: Elsewhere) -> str:
    return elsewhere.app.user()


@pytest.fixture(scope="module")
def alone(elsewhere: Elsewhere, owner: str) -> tuple[dict[str, Any], dict[int, bytes]]:
    """A media in one bucket alone, and what its files were."""
    return elsewhere.away(owner, PHOTO, elsewhere.flow(("first", "primary")), filename="Grüße.jpg")


def fields(answer: httpx.Response) -> dict[str, str]:
    passing = {"date", "etag", "last-modified", "connection"}
    return {k: v for k, v in answer.headers.items() if k not in passing}


def test_all_qualities_are_those_of_the_local_volume_with_the_same_headers(
    elsewhere: Elsewhere, owner: str, alone: tuple[dict[str, Any], dict[int, bytes]]
) -> None:
    media, held = alone
    here = elsewhere.app.stored(owner, PHOTO, filename="Grüße.jpg")
    ada = elsewhere.app.viewer(owner)
    assert set(held) == set(range(7))
    for quality in range(7):
        for _ in range(2):
            away, local = ada.get(f"{media['url']}{quality}/"), ada.get(f"{here['url']}{quality}/")
            assert away.status_code == local.status_code == 200
            assert away.content == held[quality]
            assert away.headers.raw != []
            assert fields(away) == fields(local), quality
            assert re.fullmatch('"[0-9a-f]{32}"', away.headers["etag"])
        head = ada.head(f"{media['url']}{quality}/")
        assert (head.status_code, head.content, fields(head)) == (200, b"", fields(away))
    elsewhere.keep(ada, media, *range(1, 7))


def test_frames_of_an_animation_go_with_it_and_are_forgotten_with_it(elsewhere: Elsewhere, owner: str) -> None:
    app, flow = elsewhere.app, elsewhere.flow(("first", "primary"))
    media = elsewhere.stored(owner, animation("GIF"), flow, filename="a.gif")
    folder = media_folder(elsewhere.system, media["id"])
    held = {n: (folder / renditions.file(n)).read_bytes() for n in range(11, 22)}
    shutil.rmtree(media_folder(elsewhere.system, media["id"]))
    elsewhere.query("delete from copies where media_id = $1 and backend_id = 1", UUID(media["id"]))
    ada = app.viewer(owner)
    until(lambda: app.http.get(f"{media['url']}11/").status_code == 200, 3, "a view from elsewhere")
    time.sleep(LOOKS[-1] + 0.4)
    identifier = UUID(media["id"])
    for _ in range(2):
        assert {n: ada.get(f"{media['url']}{n}/").content for n in held} == held
    kept = [kept_path(elsewhere.system.settings.cache_dir, identifier, n) for n in held]
    assert any(path.exists() for path in kept)
    assert app.http.delete(f"/v1/media/{media['id']}").status_code == 204
    until(lambda: not any(path.exists() for path in kept), 5, "nothing kept")
    assert ada.get(f"{media['url']}11/").status_code == 404


@pytest.mark.parametrize("quality", [0, 5])
def test_ranges_and_conditions_are_as_nginx_has_them_for_files_of_its_own(
    elsewhere: Elsewhere, owner: str, alone: tuple[dict[str, Any], dict[int, bytes]], quality: int
) -> None:
    media, held = alone
    here = elsewhere.app.stored(owner, PHOTO)
    ada, length = elsewhere.app.viewer(owner), len(held[quality])
    whole = ada.get(f"{media['url']}{quality}/")
    near = ada.get(f"{here['url']}{quality}/")
    for asked in (
        "bytes=0-0", "bytes=100-199", "bytes=-100", "bytes=50-", f"bytes=0-{length}", f"bytes={length - 1}-",
        f"bytes={length}-", f"bytes={length}-{length + 9}", "bytes=-0", "bytes=9-3", "bytes=x", "bytes=",
        "lines=0-9", f"bytes=-{length * 2}",
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            away = ada.request(method, f"{media['url']}{quality}/", headers={"Range": asked})
            local = ada.request(method, f"{here['url']}{quality}/", headers={"Range": asked})
            assert (away.status_code, away.content) == (local.status_code, local.content), (asked, method)
            if (quality, local.status_code) == (0, 416):
                assert away.headers["content-range"] == f"bytes */{length}"
                assert away.headers["cache-control"] == "no-store"
            else:
                assert fields(away) == {**fields(local), **({} if quality else disposition(away))}, (asked, method)
    for name, far, close in (
        ("If-None-Match", whole.headers["etag"], near.headers["etag"]),
        ("If-None-Match", f'"x", W/{whole.headers["etag"]}', f'"x", W/{near.headers["etag"]}'),
        ("If-None-Match", '"other"', '"other"'),
        ("If-None-Match", "*", "*"),
        ("If-Modified-Since", whole.headers["last-modified"], near.headers["last-modified"]),
        ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("If-Match", whole.headers["etag"], near.headers["etag"]),
        ("If-Match", '"other"', '"other"'),
        ("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("If-Unmodified-Since", whole.headers["last-modified"], near.headers["last-modified"]),
    ):
        away = ada.get(f"{media['url']}{quality}/", headers={name: far, **LAST})
        local = ada.get(f"{here['url']}{quality}/", headers={name: close, **LAST})
        assert (away.status_code, away.content) == (local.status_code, local.content), (name, far)
    for tag, status in ((whole.headers["etag"], 206), (whole.headers["last-modified"], 206), ('"other"', 200)):
        part = ada.get(f"{media['url']}{quality}/", headers={"Range": "bytes=10-19", "If-Range": tag})
        assert part.status_code == status
        assert part.content == (held[quality][10:20] if status == 206 else held[quality])
    several = ada.get(f"{media['url']}{quality}/", headers={"Range": "bytes=0-9,20-29"})
    assert several.status_code == 200 or quality
    assert held[quality] == several.content or several.headers["content-type"].startswith("multipart/byteranges")


def disposition(answer: httpx.Response) -> dict[str, str]:
    found = answer.headers.get("content-disposition")
    return {} if found is None else {"content-disposition": found}


def test_who_may_not_see_it_is_told_what_they_are_told_of_any_other(
    elsewhere: Elsewhere, owner: str, alone: tuple[dict[str, Any], dict[int, bytes]]
) -> None:
    app, media = elsewhere.app, alone[0]
    urls = refused_ids(app, owner, media)
    for client, status, code in ((app.viewer(app.user()), 404, "not_found"), (app.anonymous(), 401, "unauthorized")):
        answers = {name: client.get(f"{url}3/") for name, url in urls.items()}
        problem(answers["foreign"], status, code)
        for name, answer in answers.items():
            assert same(answer, answers["foreign"]), name
    public = link(app, media, "anyone")
    for quality in (0, 7, 9):
        assert same(app.anonymous().get(f"{public['url']}{quality}/"), app.http.get(f"{media['url']}7/")), quality
    refused = app.viewer(owner).post(f"{media['url']}3/")
    problem(refused, 405, "method_not_allowed")


def test_no_way_leads_to_the_inner_addresses(
    elsewhere: Elsewhere, alone: tuple[dict[str, Any], dict[int, bytes]]
) -> None:
    media = alone[0]["id"]
    inner = f"-/stored/{media[-4:-2]}/{media[-2:]}/{media}/3"
    local = inner.replace("stored", "local") + ".webp"
    for path in (
        f"/{inner}", f"/v1/../{inner}", f"/v1/%2e%2e/{inner}", f"//{inner}", f"/docs/../{inner}", f"/v1//../{inner}",
        f"/{inner}?x", f"/{inner}/", f"/%2d/{inner[2:]}", f"/{inner}/../../../../../../v1/flows",
        f"/{inner}%3f/../../../../../../../v1/flows", f"/{inner}%23/../../../../../../../v1/flows",
        f"/{inner}#/../../../../../../v1/flows",
        f"/{local}", f"/v1/../{local}", "/-/away/0", "/@away", f"/{inner}/again", "/@again",
    ):  # fmt: skip
        status, body = raw(elsewhere.system, path)
        assert status in (400, 401, 404), path
        assert b"RIFF" not in body, path


def raw(system: System, path: str) -> tuple[int, bytes]:
    """What is answered to a path that goes over the wire as it is, with the app's key."""
    with socket.create_connection(("127.0.0.1", system.port), timeout=10) as line:
        key = system.app["Authorization"]
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    return int(answer.split()[1]), answer


def test_nothing_of_the_store_is_in_any_answer(
    elsewhere: Elsewhere, owner: str, alone: tuple[dict[str, Any], dict[int, bytes]]
) -> None:
    media, ada = alone[0], elsewhere.app.viewer(owner)
    for breaking in (False, True):
        if breaking:
            elsewhere.line(elsewhere.proxy.gone())
        for quality in range(8):
            for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=99999999-"}, {"If-Match": '"x"', **LAST}):
                answer = ada.get(f"{media['url']}{quality}/", headers=headers)
                told = str(answer.headers).encode() + answer.content
                assert not [s for s in elsewhere.secrets if s.encode() in told], (quality, headers)
                assert not [n for n in answer.headers if n.startswith(("x-accel", "x-amz", "x-rgw"))], answer.headers


def test_a_bucket_that_cannot_be_reached_is_a_refusal_for_now(elsewhere: Elsewhere, owner: str) -> None:
    media, held = elsewhere.away(owner, photo(800, 600, 21), elsewhere.flow(("first", "primary")))
    ada = elsewhere.app.viewer(owner)
    assert ada.get(f"{media['url']}1/").content == held[1]
    elsewhere.line(elsewhere.proxy.gone())
    assert ada.get(f"{media['url']}1/").content == held[1]  # nginx has it already
    for quality in (0, 4):
        answer = ada.get(f"{media['url']}{quality}/")
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    elsewhere.line(elsewhere.proxy.heal())
    until(lambda: ada.get(f"{media['url']}4/").status_code == 200, 10, "the view")
    assert ada.get(f"{media['url']}0/").content == held[0]


@pytest.mark.parametrize("silent", [False, True], ids=["gone", "silent"])
def test_another_bucket_serves_when_the_primary_is_down(elsewhere: Elsewhere, owner: str, silent: bool) -> None:
    flow = elsewhere.flow(("first", "primary"), ("second", "backup"))
    media, held = elsewhere.away(owner, photo(900, 700, 22 + silent), flow)
    ada = elsewhere.app.viewer(owner)
    elsewhere.line(elsewhere.proxy.stall(0) if silent else elsewhere.proxy.gone())
    began = time.monotonic()
    assert ada.get(f"{media['url']}6/").content == held[6]
    assert time.monotonic() - began < 4
    began = time.monotonic()
    for quality in (0, 2, 3, 4, 5):
        assert ada.get(f"{media['url']}{quality}/").content == held[quality]
    assert time.monotonic() - began < 2


def test_the_local_volume_serves_where_it_is_the_backup(elsewhere: Elsewhere, owner: str) -> None:
    media = elsewhere.stored(
        owner, photo(900, 700, 31), elsewhere.flow(("first", "primary"), ("local", "backup")), filename="a b.jpg"
    )
    held, ada = elsewhere.on_disk(media), elsewhere.app.viewer(owner)
    until(lambda: ada.get(f"{media['url']}1/").headers["etag"].count("-") == 0, 30, "a view from elsewhere")
    before = {quality: ada.get(f"{media['url']}{quality}/") for quality in (0, 1)}
    elsewhere.line(elsewhere.proxy.gone())
    for quality in (0, 2, 6):
        answer = ada.get(f"{media['url']}{quality}/")
        assert (answer.status_code, answer.content) == (200, held[quality])
        assert answer.headers["etag"].count("-") == 1  # nginx's own
        like = fields(before[min(quality, 1)])
        assert {**fields(answer), "content-length": ""} == {**like, "content-length": ""}
    part = ada.get(f"{media['url']}0/", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, held[0][5:10])


def test_what_is_gone_from_the_local_volume_since_it_was_named_comes_from_where_it_is(
    elsewhere: Elsewhere, owner: str
) -> None:
    flow = elsewhere.flow(("first", "primary"), ("local", "backup"))
    media = elsewhere.stored(owner, photo(900, 700, 32), flow, filename="a b.jpg")
    held, ada = elsewhere.on_disk(media), elsewhere.app.viewer(owner)
    elsewhere.line(elsewhere.proxy.gone())
    assert ada.get(f"{media['url']}4/").content == held[4]
    shutil.rmtree(media_folder(elsewhere.system, media["id"]))
    for quality in (0, 5):
        problem(ada.get(f"{media['url']}{quality}/"), 503, "unavailable")
    elsewhere.line(elsewhere.proxy.heal())
    until(lambda: ada.get(f"{media['url']}5/").status_code == 200, 10, "the view")
    for quality in (0, 3, 6):
        answer = ada.get(f"{media['url']}{quality}/")
        assert (answer.status_code, answer.content) == (200, held[quality])
        assert ("content-disposition" in answer.headers) == (quality == 0)
    part = ada.get(f"{media['url']}0/", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, held[0][5:10])


def test_what_is_deleted_is_refused_and_gone_from_the_cache_within_two_seconds(
    elsewhere: Elsewhere, owner: str
) -> None:
    media, _ = elsewhere.away(owner, photo(900, 700, 41), elsewhere.flow(("first", "primary")))
    ada = elsewhere.app.viewer(owner)
    elsewhere.keep(ada, media, *range(1, 7))
    assert ada.get(f"{media['url']}0/").status_code == 200
    stop = threading.Event()
    statuses: list[tuple[float, int]] = []

    def look() -> None:
        while not stop.is_set():
            began = time.monotonic()
            statuses.append((began, ada.get(f"{media['url']}6/").status_code))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        assert elsewhere.app.http.delete(f"/v1/media/{media['id']}").status_code == 204
        answered = time.monotonic()
        time.sleep(max(0.0, answered + 2.0 - time.monotonic()))
        assert elsewhere.kept(media) == []
        time.sleep(0.5)
    finally:
        stop.set()
        looking.join()
    assert max((at for at, status in statuses if status == 200), default=0) - answered < 2.0
    assert statuses[-1][1] == 404
    assert elsewhere.kept(media) == []


def test_a_deleted_users_rungs_go_from_the_cache_with_their_media(elsewhere: Elsewhere) -> None:
    user = elsewhere.app.user()
    media, _ = elsewhere.away(user, photo(700, 500, 51), elsewhere.flow(("first", "primary")))
    elsewhere.keep(elsewhere.app.http, media, 3)
    assert elsewhere.app.http.delete(f"/v1/users/{user}").status_code == 202
    until(lambda: not elsewhere.kept(media), 5, "an empty cache")


def test_what_was_deleted_while_no_authorizer_heard_of_it_goes_when_one_is_back(
    elsewhere: Elsewhere, owner: str
) -> None:
    media, _ = elsewhere.away(owner, photo(700, 500, 52), elsewhere.flow(("first", "primary")))
    elsewhere.keep(elsewhere.app.http, media, 3)
    before = elsewhere.system.kill("authorizer")
    assert elsewhere.app.http.delete(f"/v1/media/{media['id']}").status_code == 204
    until(lambda: elsewhere.system.pids().get("authorizer", before) != before, 20, "a new authorizer")
    until(lambda: not elsewhere.kept(media), 20, "an empty cache")
    until(elsewhere.system.healthy, 20, "health")


def resident(system: System) -> int:
    text = Path(f"/proc/{system.pids()['api']}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024  # type: ignore[index]


def test_a_large_original_takes_little_memory_and_is_not_read_for_who_has_gone(
    elsewhere: Elsewhere, owner: str
) -> None:
    data = photo(64, 64, 61) + random.Random(1).randbytes(100_000_000)
    media, _ = elsewhere.away(owner, data, elsewhere.flow(("first", "primary")))
    ada, url = elsewhere.app.viewer(owner), f"{media['url']}0/"
    before, most, received = resident(elsewhere.system), 0, 0
    with ada.stream("GET", url) as answer:
        assert int(answer.headers["content-length"]) == len(data)
        for chunk in answer.iter_raw(1_000_000):
            assert chunk == data[received : received + len(chunk)]
            received += len(chunk)
            most = max(most, resident(elsewhere.system))
    assert received == len(data)
    assert most - before < 50_000_000
    read = lambda: passed(elsewhere)  # noqa: E731
    began = read()
    with ada.stream("GET", url) as answer:
        next(answer.iter_raw(100_000))
    until(lambda: read() > began, 3, "a count")
    time.sleep(1)
    now = read()
    assert now - began < 20_000_000
    time.sleep(1)
    assert read() == now


def passed(elsewhere: Elsewhere) -> int:
    operator = {"Authorization": f"Bearer {elsewhere.system.operator_key}"}
    text = elsewhere.app.anonymous().get("/metrics", headers=operator).text
    found = re.search(r'chipmunk_stored_bytes_total{backend="first"} ([0-9.e+]+)', text)
    return int(float(found[1])) if found else 0


def test_a_download_goes_on_from_the_other_bucket_when_the_first_dies_under_it(
    elsewhere: Elsewhere, owner: str
) -> None:
    data = photo(64, 64, 71) + os.urandom(30_000_000)
    flow = elsewhere.flow(("first", "primary"), ("second", "backup"))
    media, _ = elsewhere.away(owner, data, flow)
    received = b""
    with elsewhere.app.viewer(owner).stream("GET", f"{media['url']}0/") as answer:
        for chunk in answer.iter_raw(1_000_000):
            if not received:
                elsewhere.line(elsewhere.proxy.gone())
            received += chunk
    assert received == data


def test_a_download_is_cut_and_never_wrong_when_no_copy_is_left(elsewhere: Elsewhere, owner: str) -> None:
    data = photo(64, 64, 81) + os.urandom(30_000_000)
    media, _ = elsewhere.away(owner, data, elsewhere.flow(("first", "primary")))
    received = b""

    def download() -> None:
        nonlocal received
        with elsewhere.app.viewer(owner).stream("GET", f"{media['url']}0/") as answer:
            for chunk in answer.iter_raw(1_000_000):
                if not received:
                    elsewhere.line(elsewhere.proxy.gone())
                received += chunk

    with pytest.raises(httpx.RemoteProtocolError):
        download()
    assert 0 < len(received) < len(data)
    assert data.startswith(received)


def test_health_names_a_backend_that_is_down_and_is_well_otherwise(elsewhere: Elsewhere) -> None:
    note: Callable[[str], Any] = lambda up: elsewhere.query(f"update backends set up = {up} where name = 'first'")  # noqa: E731
    note("false")
    time.sleep(0.3)
    answer = elsewhere.app.anonymous().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "down": ["backends"]})
    note("true")
    time.sleep(0.3)
    assert elsewhere.app.anonymous().get("/healthz").json() == {"status": "ok", "down": []}
