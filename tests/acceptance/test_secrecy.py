"""No log, figure or table holds what opens something, or what people call their files."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import redis
from PIL import Image

from tests.callers import Cast
from tests.client import App, fresh, photo
from tests.harness import System, until

NAME = "Geheimnis-Ärztin-7f3a9"


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


class Secrets:
    """What has been used and must be nowhere, by what it is."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def add(self, what: str, text: str) -> str:
        self.found[what] = text
        return text

    def spellings(self) -> Iterator[tuple[str, str]]:
        for what, text in self.found.items():
            coded = base64.b64encode(text.encode()).decode().rstrip("=")
            for spelled in {
                text,
                quote(text),
                quote(text, safe=""),
                json.dumps(text)[1:-1],
                coded,
                text.encode().hex(),
            }:
                yield what, spelled


@pytest.fixture(scope="module")
def secrets(app: App) -> Secrets:
    """A day of ordinary use, mistakes and mishaps, all of it with secrets of its own."""
    used = Secrets()
    cast = Cast(app)
    used.add("API key", app.system.api_key)
    used.add("operator key", app.system.operator_key)
    for key in app.system.settings.secret_keys:
        used.add("signing key", key)
    for key in app.system.settings.master_keys:
        used.add("master key", key)
    for kind, token in {
        **cast.good,
        "logged out": cast.refused["logged out"],
        "expired": cast.refused["expired"],
    }.items():
        used.add(f"token of {kind}", str(token))
    media = upload(app, cast.owner, used)
    browse(app, cast, used)
    view(app, cast, used, media)
    mistake(app, cast, used)
    mishap(app, cast, used)
    time.sleep(2.5)
    return used


def upload(app: App, user: str, used: Secrets) -> str:
    """By every door, well and badly. Returns the standing link of one media, without slashes."""
    names = [used.add(f"file name {n}", f"{NAME}-{n}.jpg") for n in range(6)]
    data, bad = photo(200, 150, 5), photo(200, 150, 6)[:3000]
    text = base64.b64encode(data).decode()
    answers = [
        app.http.put("/v1/media", params={"user": user, "filename": names[0]}, content=data),
        app.http.post("/v1/media", files={"file": (names[1], data)}, data={"user": user}),
        app.http.post("/v1/media", json={"user": user, "filename": names[2], "data": text}),
        app.http.put("/v1/media", params={"user": user, "filename": names[3]}, content=bad),
        app.http.post("/v1/media", files={"file": (names[4], bad)}, data={"user": user}),
        app.http.post("/v1/media", json={"user": user, "filename": names[5], "data": "!!"}),
        app.http.put("/v1/media", params={"user": user, "filename": names[3], "flow": "none"}, content=data),
        app.http.put("/v1/media", params={"user": user, "filename": names[3]}, content=b"x" * 100),
        app.http.put(f"/v1/media?user={user}&filename={quote(names[3])}&filename=b", content=data),
    ]
    assert [a.status_code for a in answers] == [201, 201, 201, 422, 422, 400, 422, 415, 400]
    key = used.add("idempotency key", fresh("once-only-key"))
    assert app.http.put(f"/v1/media?user={user}", content=data, headers={"Idempotency-Key": key}).status_code == 201
    urls = [used.add(f"view {n}", app.ready(a.json()["id"])["url"].strip("/")) for n, a in enumerate(answers[:3])]
    return urls[0]


def browse(app: App, cast: Cast, used: Secrets) -> None:
    sessions = [app.session(cast.owner) for _ in range(5)]
    for n, session in enumerate(sessions):
        used.add(f"session {n}", session["token"])
        used.add(f"entrance {n}", session["enter_url"].rpartition("/")[2])
    address = [s["enter_url"].rpartition("/")[2] for s in sessions]
    answer = app.anonymous().get(
        sessions[0]["enter_url"], params={"next": f"/docs?{used.add('next', fresh('next-page'))}"}
    )
    cookie = used.add("cookie", answer.headers["set-cookie"].partition("=")[2].partition(";")[0])
    app.anonymous().get(f"/v1/users/{cast.owner}", headers={"Cookie": f"chipmunk_session={cookie}"})
    app.anonymous().get(sessions[0]["enter_url"])
    app.anonymous().get(sessions[1]["enter_url"], params={"next": "//evil.example"})
    app.anonymous().post(sessions[1]["enter_url"])
    for path in (
        f"/./enter/{address[2]}",
        f"/v1/../enter/{address[3]}",
        f"/enter/{address[4]}/",
        f"/enter//{address[4]}",
    ):
        raw(app.system, path)
    raw(app.system, f"/%65nter/{address[4]}?next=%5c")


def view(app: App, cast: Cast, used: Secrets, identifier: str) -> None:
    """As nginx serves it, and as people mistype it."""
    media = app.http.get("/v1/media", params={"user": cast.owner, "limit": 1}).json()["items"][0]["id"]
    link = app.http.post(f"/v1/media/{media}/links", json={"audience": "anyone", "ttl_seconds": 60}).json()
    public = used.add("public link", link["url"].strip("/"))
    share(app, media, used)
    for kind in ("owner", "other", "nobody", "garbage", "app"):
        for path in ("0/", "3/", "6/", "7/", "3", "", "/3/", "3/x", "0/?a=b", "-1/", "../3/"):
            cast.ask(kind, "GET", f"/{identifier}/{path}")
    for path in (
        f"/{identifier}", f"/{public}/1/", f"/./{public}/1/", f"/x/../{public}/1/", f"//{public}/1/", f"/v1/../{public}/1/",
        f"/v1/{public}", f"/v1/media/{public}", f"/{public}%2f1/", f"/{public}/%31/", f"/{public}/1/#x", f"/{public}/1/;x",
        f"/{public}\\1\\", f"/v1/{public}/1/", f"/enter/{public}/1/", f"/healthz/{public}/1/", f"/{public}.webp",
        f"/{public}/1/{public}",
        f"http://x/{public}/1/",
    ):  # fmt: skip
        raw(app.system, path)
    raw(app.system, f"/{public}/1/", "Range: bytes=9999999-", "If-None-Match: x", f"Referer: http://x/{identifier}/3/")


def share(app: App, media: str, used: Secrets) -> None:
    """Links that have to be opened, rightly and wrongly."""
    password, wrong = used.add("password", "Reiher-blau-5d1"), used.add("wrong password", "Reiher-rot-77e")
    fields = {"audience": "anyone", "max_views": 9, "password": password}
    link = app.http.post(f"/v1/media/{media}/links", json=fields).json()
    signed = used.add("link with a password", link["url"].strip("/"))
    app.http.post(f"/v1/media/{media}/links", json={**fields, "audience": "owner"})
    app.http.post(f"/v1/media/{media}/links", json={**fields, "max_views": 0})
    person, opening = app.anonymous(), f"/v1/links/{signed}/open"
    for given in ({"json": {"password": wrong}}, {"data": {"password": wrong}}, {"json": {"word": password}}):
        person.post(opening, **given)  # type: ignore[arg-type]
    person.post(f"{opening}?password={password}")
    person.post(opening, content=password)
    assert person.post(opening, data={"password": password}).status_code == 303
    used.add("proof", person.cookies.get("chipmunk_opening", path=link["page"]) or "")
    for path in (
        link["page"],
        f"{link['page']}/",
        f"/v1/links/{signed}",
        f"{opening}/",
        f"/x/..{link['page']}",
        f"{link['url']}1/",
    ):
        person.get(path)
    for path in (
        f"/./share/{signed}",
        f"/share//{signed}",
        f"/%73hare/{signed}",
        f"/share/{signed}?x",
        f"/share?{signed}",
    ):
        raw(app.system, path)


def mistake(app: App, cast: Cast, used: Secrets) -> None:
    """Credentials where none belong, and requests that are none."""
    token = app.session(cast.owner)["token"]
    used.add("mislaid token", token)
    for header in (
        f"Authorization: {token}",
        f"Authorization: Basic {token}",
        f"Authorization:  Bearer  {token}x",
        f"X-Token: {token}",
    ):
        raw(app.system, "/v1/users", header)
    raw(app.system, f"/v1/users?token={token}")
    raw(app.system, "/v1/users", f"Cookie: chipmunk_session={token}; chipmunk_session={token}")
    raw(app.system, "/v1/users", f"Authorization: Bearer {token}", f"Authorization: Bearer {token}")
    raw(app.system, "/v1/users", f"X: {'a' * 40_000}", f"Authorization: Bearer {token}")
    raw(app.system, "/" + "a" * 40_000 + token)
    raw(app.system, f"/v1/media?cursor={token}&user={token}&limit={token}")
    cast.ask("app", "PUT", "/v1/users/a", json={token: token})
    cast.ask("app", "POST", "/v1/sessions", json={"user": token, "ttl_seconds": token})
    with socket.create_connection(("127.0.0.1", app.system.port)) as connection:
        connection.sendall(f"{token} {token} {token}\r\n\r\n".encode())
        connection.recv(4096)


def mishap(app: App, cast: Cast, used: Secrets) -> None:
    """Parts stop, die and come back while secrets are in their hands."""
    system = app.system
    name = used.add("name of a broken file", f"{NAME}-broken.png")
    out = io.BytesIO()
    Image.frombytes("RGB", (500, 500), bytes(750_000)).save(out, "PNG")
    app.http.put("/v1/media", params={"user": cast.owner, "filename": name}, content=out.getvalue()[:900])
    media = app.upload(cast.owner, photo(1500, 1500, 9), filename=name).json()
    system.kill("worker-1")
    system.kill("authorizer")
    for _ in range(10):
        cast.ask("owner", "GET", f"/{used.found['view 0']}/3/")
        time.sleep(0.1)
    system.kill("valkey", signal.SIGSTOP)
    try:
        session = app.session(cast.owner)
        used.add("token of a bad moment", session["token"])
        app.http.delete(f"/v1/sessions/{session['id']}")
    finally:
        system.kill("valkey", signal.SIGCONT)
    until(system.healthy, 30, "health again")
    app.ready(media["id"], 60)


def raw(system: System, path: str, *headers: str) -> bytes:
    """A request as it is written here: no client tidies it up."""
    head = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""])
    with socket.create_connection(("127.0.0.1", system.port), timeout=10) as connection:
        connection.sendall(head.encode("latin-1"))
        try:
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionResetError:
            return b""


def leaks(secrets: Secrets, texts: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(
        {(what, place) for what, spelled in secrets.spellings() for place, text in texts.items() if spelled in text}
    )


def test_no_log_holds_a_key_a_token_a_signed_id_an_entrance_or_a_file_name(app: App, secrets: Secrets) -> None:
    files = [p for p in (app.system.data_dir / "log").rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {
        "access.log",
        "api.log",
        "compressor.log",
        "authorizer.log",
        "worker-1.log",
        "nginx.log",
    }
    found = leaks(secrets, {p.name: p.read_text(errors="replace") for p in files})
    assert not found, found
    assert leaks(secrets, {"what it printed": app.system.output}) == []
    assert NAME not in "".join(p.read_text(errors="replace") for p in files)


def test_no_figure_holds_one(app: App, secrets: Secrets) -> None:
    operator = {"Authorization": f"Bearer {app.system.operator_key}"}
    text = httpx.get(f"{app.system.url}/metrics", headers=operator).text
    assert "chipmunk_uploads_total" in text
    assert leaks(secrets, {"metrics": text}) == []


def opening(secrets: Secrets) -> Secrets:
    """Those that open something by themselves."""
    kept = Secrets()
    kept.found = {
        w: t for w, t in secrets.found.items() if not w.startswith(("file name", "name of", "idempotency", "next"))
    }
    return kept


def test_the_database_and_redis_hold_nothing_that_opens_something(app: App, secrets: Secrets) -> None:
    async def tables() -> dict[str, str]:
        connection = await asyncpg.connect(app.system.settings.database_url)
        try:
            names = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
            found = {}
            for (name,) in names:
                rows = await connection.fetch(f'select t::text from "{name}" t')
                found[name] = "\n".join(r[0] for r in rows)
            return found
        finally:
            await connection.close()

    found = asyncio.run(tables())
    assert {"sessions", "session_tokens", "entrances", "api_keys", "links", "jobs", "revocations"} <= set(found)
    assert leaks(opening(secrets), found) == []
    with redis.Redis.from_url(app.system.settings.redis_url) as server:
        kept = {str(key): repr(server.dump(key)) for key in server.scan_iter("*")}
        assert leaks(opening(secrets), {**kept, "keys": " ".join(kept)}) == []


def test_what_nginx_keeps_for_a_moment_is_on_no_disk_and_nobody_else_can_read_it(app: App, secrets: Secrets) -> None:
    """Its cache of decisions is keyed by the credential, which stands in its files for as long as they are kept."""
    decisions = (app.system.settings.run_dir / "decisions").resolve()
    assert decisions.parent == Path("/dev/shm")
    assert (decisions.stat().st_mode & 0o777, any(decisions.iterdir())) == (0o700, True)

    def open_to_others(path: Path) -> bool:
        below = [path, *path.parents][: len(path.relative_to(app.system.data_dir).parts)]
        return all(p.exists() and p.stat().st_mode & (stat.S_IXOTH if p.is_dir() else stat.S_IROTH) for p in below)

    files = [p for p in (app.system.data_dir / "nginx").rglob("*") if p.is_file()]
    assert [p.name for p in files if p.exists() and open_to_others(p) and p.name != "nginx.conf"] == []
