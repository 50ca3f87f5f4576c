"""The how-to page's nginx configurations in front of Chipmunk, with TLS, for real."""

from __future__ import annotations

import http.server
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from solo.servers import nginx_binary
from tests.client import App, problem
from tests.docs.howto import blocks, lay
from tests.harness import System, free_port, scratch, until

PAGE = "tls-and-proxies.md"
MAIN = """daemon off; worker_processes 1; pid nginx.pid; error_log stderr; events {{ }}
http {{ access_log off; {temp} include {name}; }}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
OPENSSL = [
    "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=example.com",
    "-addext", "subjectAltName=DNS:media.example.com,DNS:www.example.com",
]  # fmt: skip


class Backend(http.server.BaseHTTPRequestHandler):
    """The app beside Chipmunk."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"app")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


@contextmanager
def proxied(number: int, name: str, host: str, backend: int = 0) -> Iterator[tuple[App, httpx.Client]]:
    """Chipmunk with the page's settings of that number, and a client that reaches it through the page's nginx."""
    with scratch() as folder, System(folder / "data", **settings(number)) as system, App(system) as app:
        pem, port = folder / "example.pem", free_port()
        subprocess.run([*OPENSSL, "-keyout", folder / "example.key", "-out", pem], check=True, capture_output=True)
        ports = {"443": f"127.0.0.1:{port}", "8080": str(system.port), "8000": str(backend)}
        configure(folder, name, ports)
        words = [str(nginx_binary(system.settings)), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(words, stdout=output, stderr=output)
        try:
            trusted = ssl.create_default_context(cafile=str(pem))
            with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, headers={"Host": host}) as client:
                client.event_hooks = {"request": [lambda request: request.extensions.update(sni_hostname=host)]}
                until(lambda: _answers(client), 20, (folder / "output").read_text())
                yield app, client
        finally:
            process.terminate()
            process.wait(20)


def configure(folder: Path, name: str, ports: dict[str, str]) -> None:
    """The page's configuration with ports and a certificate of this test's own, and what it is included by."""
    lay(PAGE, folder)
    text = (folder / name).read_text().replace("listen 443", f"listen {ports['443']}")
    text = re.sub(r"/etc/ssl/\S+\.(pem|key);", lambda found: f"{folder}/example.{found[1]};", text)
    text = re.sub(r"(?<=http://127\.0\.0\.1:)(8080|8000);", lambda found: f"{ports[found[1]]};", text)
    (folder / name).write_text(text)
    temporary = " ".join(f"{t}_temp_path {folder}/{t};" for t in TEMPORARY)
    (folder / "nginx.conf").write_text(MAIN.format(temp=temporary, name=name))


def _answers(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/nothing").status_code)
    except httpx.ConnectError:
        return False


def settings(number: int) -> dict[str, str]:
    """The page's settings for its first or second arrangement."""
    lines = [line.partition("#")[0].strip() for line in blocks(PAGE, "sh")[number].splitlines()]
    return {name.removeprefix("CHIPMUNK_").lower(): value for name, value in (line.split("=", 1) for line in lines)}


def test_a_host_of_its_own_gives_a_secure_cookie_and_refuses_early() -> None:
    with proxied(0, "media.conf", "media.example.com") as (app, client):
        user = app.user(quota_bytes=1_000_000)
        media, opened = app.stored(user), app.session(user)
        assert opened["enter_url"].startswith("https://media.example.com/enter/")
        path = opened["enter_url"].removeprefix("https://media.example.com")
        entered = client.get(path, params={"next": "https://www.example.com/photos"})
        assert (entered.status_code, entered.headers["location"]) == (303, "https://www.example.com/photos")
        assert {"Secure", "HttpOnly", "SameSite=lax"} <= set(entered.headers["set-cookie"].split("; "))
        cookie = {"Cookie": entered.headers["set-cookie"].partition(";")[0]}
        seen = client.get(f"{media['url']}5/", headers=cookie)
        assert (seen.status_code, seen.headers["cross-origin-resource-policy"]) == (200, "same-site")
        client.cookies.clear()
        data, headers = os.urandom(30_000_000), app.system.app
        refused = client.put("/v1/media", params={"user": user}, content=data, headers=headers)
        problem(refused, 413, "quota_exceeded")


def test_one_host_serves_the_app_and_chipmunk(backend: int) -> None:
    with proxied(1, "both.conf", "www.example.com", backend) as (app, client):
        user = app.user()
        media, opened = app.stored(user), app.session(user)
        path = opened["enter_url"].removeprefix("https://www.example.com")
        entered = client.get(path, params={"next": "/photos"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/photos")
        client.cookies.clear()
        cookie = {"Cookie": f"chipmunk_session={opened['token']}"}
        assert client.get(f"{media['url']}5/", headers=cookie).headers["content-type"] == "image/webp"
        assert client.get(f"{media['url']}5/").status_code == 401
        mine = client.get("/v1/media", headers=cookie).json()
        assert [item["id"] for item in mine["items"]] == [media["id"]]
        assert client.get("/photos", headers=cookie).text == "app"
