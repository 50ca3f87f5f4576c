"""What is measured: the system as `scripts/run` starts it, with one nginx worker, and a bare nginx beside it."""

from __future__ import annotations

import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from chipmunk import config
from chipmunk.ids import folder, parse_id
from solo.packages import plain_environment
from solo.servers import nginx_binary
from tests.client import App, photo
from tests.harness import System, free_port, until

PICTURE = 4  # the rung that is viewed: 300 px, 7 kB
BARE = """\
{user}worker_processes 1; daemon off; pid {folder}/bare.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000; request_pool_size 16k;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; server_tokens off;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location = /sunk {{ client_body_in_file_only clean; proxy_pass_request_body off; proxy_pass http://127.0.0.1:{port}/done; }}
    location = /done {{ return 204; }}
    location / {{ types {{ image/webp webp; }} root {root}; }}
  }}
}}
"""
FRONT = """\
{user}worker_processes 1; daemon off; pid {folder}/front.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; request_pool_size 16k; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_certificate {folder}/front.crt; ssl_certificate_key {folder}/front.key; ssl_protocols TLSv1.3;
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} ssl; http2 on; keepalive_requests 100000;
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    }}
  }}
}}
"""


class House:
    """The running system and what lies in it."""

    def __init__(self, folder: Path, **settings: object) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.system = System(folder / "data", **{"nginx_workers": 1, "workers": 1, **settings})
        self.app = App(self.system)

    @property
    def port(self) -> int:
        return self.system.port

    @cached_property
    def picture(self) -> bytes:
        return photo(300, 225, quality=60)

    def users(self, count: int) -> list[str]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda _: self.app.user(), range(count)))

    def tokens(self, user: str, count: int) -> list[str]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda _: str(self.app.session(user)["token"]), range(count)))

    def media(self, user: str, count: int) -> list[str]:
        """The paths of new media, `/<id>/`, each with its whole ladder."""
        with ThreadPoolExecutor(4) as pool:
            stored = list(pool.map(lambda _: self.app.upload(user, self.picture).json(), range(count)))
        for one in stored:
            self.app.ready(one["id"], 120)
        return [one["url"] for one in stored]

    def file(self, media: str, name: str) -> Path:
        identifier = parse_id(media)
        if identifier is None:
            raise ValueError(media)
        return self.system.data_dir / "store" / folder(identifier) / name

    def close(self) -> None:
        self.app.__exit__()
        self.system.stop()


@contextmanager
def house(folder: Path, **settings: object) -> Iterator[House]:
    running = House(folder, **settings)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def bare_nginx(folder: Path, file: Path) -> Iterator[int]:
    """The port of the same nginx with one worker that serves the file by its name, and drops what is sent to /sunk."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    (folder / "nginx.conf").write_text(
        BARE.format(user="" if os.geteuid() else "user root root; ", folder=folder, port=port, root=file.parent)
    )
    binary = nginx_binary(config.load({"CHIPMUNK_DATA_DIR": str(folder)}))
    with serving([str(binary), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"], port, f"/{file.name}"):
        yield port


@contextmanager
def front(folder: Path, behind: int, path: str) -> Iterator[int]:
    """The port of an nginx with one worker that speaks HTTP/2 over TLS for what listens at `behind`."""
    folder.mkdir()
    port, key, certificate = free_port(), folder / "front.key", folder / "front.crt"
    asked = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    asked += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(asked, check=True, capture_output=True)
    (folder / "nginx.conf").write_text(
        FRONT.format(user="" if os.geteuid() else "user root root; ", folder=folder, port=port, behind=behind)
    )
    binary = nginx_binary(config.load({"CHIPMUNK_DATA_DIR": str(folder)}))
    with serving([str(binary), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr"], port, path, secure=True):
        yield port


@contextmanager
def serving(
    command: list[str], port: int, path: str = "/", *, refused: bool = False, secure: bool = False
) -> Iterator[int]:
    """A peer that runs until the end of the block; entered once it answers, where `refused` with whatever status."""
    url, anyone = f"http{'s' if secure else ''}://127.0.0.1:{port}{path}", ssl._create_unverified_context()
    process = subprocess.Popen(command, env=plain_environment(), stdout=subprocess.DEVNULL)

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} has ended by itself")
        try:
            with urllib.request.urlopen(url, timeout=5, context=anyone) as answer:
                return bool(answer.status < 400)
        except urllib.error.HTTPError:
            return refused
        except OSError:
            return False

    try:
        until(answers, 60, f"an answer of {command[0]}")
        yield port
    finally:
        process.terminate()
        process.wait(20)
