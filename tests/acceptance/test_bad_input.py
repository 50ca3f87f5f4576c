"""Bad input gets the stated error, costs nothing, and leaves nothing behind."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image, PngImagePlugin

from tests.client import App, disk_bytes, fresh, leaves_nothing, photo, problem
from tests.harness import System, until


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def user(app: App) -> str:
    return app.user()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * min(height * (width // 8 + 1), 5_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    for n in range(4):
        info.add_text(f"t{n}", "a" * 30_000_000, zip=True)
    out = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(out, "PNG", pnginfo=info)
    return out.getvalue()


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


JPEG = photo()
BAD_FILES = {
    "empty": (b"", 422, "empty_file"),
    "one byte": (b"\xff", 415, "unsupported_type"),
    "truncated": (cut(JPEG, 0.5), 422, "corrupt_image"),
    "tail missing": (JPEG[:-400], 422, "corrupt_image"),
    "corrupt": (JPEG[:200] + bytes(len(JPEG) - 200), 422, "corrupt_image"),
    "png bomb": (png_bomb(60_000, 60_000), 422, "too_many_pixels"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415, "unsupported_type"),
    "html": (b"<!doctype html><script>alert(1)</script>", 415, "unsupported_type"),
    "zip": (b"PK\x03\x04" + bytes(100), 415, "unsupported_type"),
    "elf": (b"\x7fELF" + bytes(100), 415, "unsupported_type"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_the_stated_error_and_leaves_nothing(app: App, user: str, name: str) -> None:
    data, status, code = BAD_FILES[name]
    with leaves_nothing(app, user):
        body = problem(app.upload(user, data, filename="holiday.jpg"), status, code)
    assert "/" not in json.dumps(body["detail"])


def test_compressed_text_chunks_do_not_fill_the_memory(app: App, user: str) -> None:
    with leaves_nothing(app, user):
        answer = app.upload(user, text_bomb())
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            app.ready(answer.json()["id"])
            assert app.http.delete(f"/v1/media/{answer.json()['id']}").status_code == 204
    assert app.stored(user)["status"] == "ready"


def test_a_polyglot_is_the_picture_that_it_is_and_nothing_a_browser_runs(app: App, user: str) -> None:
    media = app.stored(user, JPEG + b"<script>alert(1)</script>PK\x03\x04", filename="x.html")
    answer = app.viewer(user).get(f"{media['url']}0/")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_the_content_decides_not_the_name(app: App, user: str) -> None:
    media = app.stored(user, JPEG, filename="song.mp3")
    assert (media["kind"], media["mime"]) == ("image", "image/jpeg")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x00b.jpg", "x" * 300 + ".jpg", "\u202egpj.exe", 'a"b\r\nX: y.jpg', "..", ""]
)
def test_a_hostile_file_name_is_kept_harmless(app: App, user: str, name: str) -> None:
    answer = app.http.put("/v1/media", params={"user": user, "filename": name}, content=JPEG)
    assert answer.status_code in (201, 400, 422), answer.text
    if answer.status_code == 201:
        media = answer.json()
        assert "/" not in media["filename"]
        assert "\x00" not in media["filename"]
        assert 0 < len(media["filename"].encode()) <= 255
        app.ready(media["id"])
        view = app.viewer(user).get(f"{media['url']}0/")
        assert view.content == JPEG
        assert "x" not in {k.lower() for k in view.headers}


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a%2Fb", "a%00", "x" * 129, "ünï", "аdmin", "%ff", "a b"])
def test_a_hostile_user_name_is_refused(app: App, name: str) -> None:
    answer = app.http.put(f"/v1/users/{name}", json={})
    assert answer.status_code in (400, 404, 405), (name, answer.status_code, answer.text)
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("flow", ["nope", "../general", "general\x00", "x" * 200])
def test_an_unknown_flow_is_refused_before_the_body_is_read(app: App, user: str, flow: str) -> None:
    with leaves_nothing(app, user):
        answer = app.upload(user, JPEG, flow=flow)
    assert answer.status_code in (400, 422), answer.text


JSON_BODIES = {
    "not json": b"{nope",
    "a list": b"[]",
    "no data": b'{"user": "%s"}',
    "junk base64": b'{"user": "%s", "data": "!!!!"}',
    "data uri junk": b'{"user": "%s", "data": "data:image/png;base64,@@"}',
    "number": b'{"user": "%s", "data": 5}',
    "deep": b'{"user": "%s", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "surrogate": b'{"user": "%s", "filename": "\\ud800", "data": 1}',
}


@pytest.mark.parametrize("name", JSON_BODIES)
def test_bad_json_is_refused(app: App, user: str, name: str) -> None:
    body = JSON_BODIES[name].replace(b"%s", user.encode())
    with leaves_nothing(app, user):
        answer = app.http.post("/v1/media", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), (answer.status_code, answer.text[:300])
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_json_with_good_base64_or_a_data_uri_is_taken(app: App, user: str) -> None:
    text = base64.b64encode(JPEG).decode()
    for data in (text, f"data:image/jpeg;base64,{text}"):
        answer = app.http.post("/v1/media", json={"user": user, "filename": "me.jpg", "data": data})
        assert answer.status_code == 201, answer.text
        assert app.ready(answer.json()["id"])["bytes"] == len(JPEG)


def raw(system: System, head: str, body: bytes = b"", wait: float = 10) -> bytes:
    """What the server answers to these very bytes until it closes or `wait` seconds pass."""
    with socket.create_connection(("127.0.0.1", system.port), timeout=wait) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + body)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
                if b"\r\n\r\n" in answer and b"Content-Length: 0" not in answer and answer.rstrip().endswith(b"}"):
                    break
        except TimeoutError:
            pass
        return answer


def put_head(app: App, user: str, *lines: str) -> str:
    key = app.system.api_key
    return "\n".join([f"PUT /v1/media?user={user} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *lines, "", ""])


def test_an_upload_without_a_length_is_refused(app: App, user: str) -> None:
    with leaves_nothing(app, user):
        answer = raw(app.system, put_head(app, user, "Transfer-Encoding: chunked"), b"5\r\nhello\r\n")
    assert b" 411 " in answer.split(b"\r\n")[0]
    assert b"length_required" in answer


def test_two_gigabytes_too_many_are_refused_unread(app: App) -> None:
    poor = app.user(quota_bytes=100_000)
    with leaves_nothing(app, poor):
        began = time.monotonic()
        answer = raw(app.system, put_head(app, poor, "Content-Length: 2000000000", "Expect: 100-continue"))
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"100 Continue" not in answer
    assert b"quota_exceeded" in answer
    assert time.monotonic() - began < 5


def test_a_client_that_stops_half_way_leaves_nothing_soon(app: App, user: str) -> None:
    with leaves_nothing(app, user):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", app.system.port)) as connection:
                head = put_head(app, user, "Content-Length: 5000000").replace("\n", "\r\n")
                connection.sendall(head.encode() + bytes(1_000_000))
                time.sleep(0.3)


def test_a_slow_upload_keeps_its_place_and_others_go_on(app: App) -> None:
    user = app.user(quota_bytes=3_000_000)
    data = photo(300, 200)
    result: list[bytes] = []

    def slow() -> None:
        with socket.create_connection(("127.0.0.1", app.system.port), timeout=30) as connection:
            head = put_head(app, user, f"Content-Length: {len(data)}", "Connection: close").replace("\n", "\r\n")
            connection.sendall(head.encode())
            for at in range(0, len(data), len(data) // 6 + 1):
                connection.sendall(data[at : at + len(data) // 6 + 1])
                time.sleep(0.4)
            result.append(b"".join(iter(lambda: connection.recv(65536), b"")))

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.5)
    assert app.standing(user)["reserved_bytes"] > len(data)
    assert app.stored(user)["status"] == "ready"
    thread.join()
    assert b" 201 " in result[0].split(b"\r\n")[0], result


def test_two_hundred_uploads_at_once_against_a_quota_for_twenty(app: App) -> None:
    files = [photo(400, 300, seed, 80) for seed in range(200)]
    probe = app.user()
    weight = app.stored(probe, files[0])["total_bytes"]
    user = app.user(quota_bytes=weight * 20 + 1_000_000)
    answers: list[httpx.Response] = []

    def send(part: list[bytes]) -> None:
        with httpx.Client(base_url=app.system.url, headers=app.system.app, timeout=120) as http:
            for data in part:
                answers.append(http.put("/v1/media", params={"user": user}, content=data))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(send, [files[n::50] for n in range(50)]))
    assert len(answers) == 200
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
        elif answer.status_code == 413:
            assert answer.json()["code"] == "quota_exceeded"
        else:
            assert answer.status_code == 201, answer.text
    stored = sum(answer.status_code == 201 for answer in answers)
    until(lambda: app.standing(user)["reserved_bytes"] == 0, 60, "every reservation settled")
    standing = app.standing(user)
    items = app.http.get("/v1/media", params={"user": user, "limit": 200}).json()["items"]
    assert stored == len(items) == standing["media_count"]
    assert standing["used_bytes"] == disk_bytes(app.system, [i["id"] for i in items]) <= weight * 20 + 1_000_000
    assert len(items) >= 15


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /" + "a" * 40_000 + " HTTP/1.1\nHost: x\n\n", b"414"),
        ("GET /healthz HTTP/1.1\nHost: x\nX: " + "a" * 40_000 + "\n\n", b"431"),
        ("GET /healthz HTTP/1.1\nHost: x\nCookie: " + "a=b; " * 20_000 + "\n\n", b"431"),
        ("GET /healthz HTTP/1.1\n\n", b"400"),
        ("NONSENSE\n\n", b"400"),
    ],
)
def test_floods_of_header_are_refused_as_problems(app: App, head: str, status: bytes) -> None:
    answer = raw(app.system, head)
    assert status in answer.split(b"\r\n")[0], answer[:300]
    assert b"application/problem+json" in answer


def test_an_idempotent_retry_stores_nothing_twice(app: App) -> None:
    user, key = app.user(), {"Idempotency-Key": fresh("key")}
    first = app.http.put("/v1/media", params={"user": user, "filename": "a.jpg"}, content=JPEG, headers=key)
    again = app.http.put("/v1/media", params={"user": user, "filename": "a.jpg"}, content=JPEG, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    other = app.http.put("/v1/media", params={"user": user}, content=photo(seed=9), headers=key)
    problem(other, 422, "idempotency_key_reused")
    assert app.standing(user)["media_count"] == 1
