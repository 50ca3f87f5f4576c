"""A Docker daemon of the tests' own, with a small Debian as its only image: no registry is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.harness import until

PROGRAMS = ("dockerd", "docker", "debootstrap", "setpriv", "unshare")
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,curl"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
COMPOSE = Path(sys.executable).with_name("docker-compose")


def missing() -> str:
    """Why there can be no daemon here; empty where there can."""
    if os.geteuid() != 0:
        return "A Docker daemon of the tests' own needs root."
    lacking = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    return f"Not installed: {', '.join(lacking)}." if lacking else ""


class Docker:
    """Everything of it lies below `folder`. It ends with the process that started it."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "docker.sock"
        self._log = folder / "dockerd.log"
        self.environ = {
            "PATH": PATH,
            "HOME": str(folder),
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_BUILDKIT": "0",
        }
        self._exec = folder / "exec"
        words = ["dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        words += ["--ip-masq=false", f"--data-root={folder / 'data'}", f"--exec-root={self._exec}"]
        words += [f"--pidfile={folder / 'pid'}", f"--host=unix://{self._socket}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *words],
                env={"PATH": PATH, "HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        until(self._answers, 60, "a Docker daemon")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            for left in (self._exec / "netns").glob("*"):  # the daemon leaves its host network's mounted
                subprocess.run(["umount", str(left)], check=True)

    def __call__(self, *words: str, data: Path | None = None) -> str:
        """What `docker …` prints. Fails with all it said."""
        return run(["docker", *words], self.environ, data=data)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return (
            self._socket.exists()
            and subprocess.run(["docker", "info"], env=self.environ, capture_output=True).returncode == 0
        )


def run(words: list[str], environ: dict[str, str], folder: Path | None = None, data: Path | None = None) -> str:
    """Standard output of a program that has ten minutes."""
    with (data or Path(os.devnull)).open("rb") as given:
        done = subprocess.run(words, env=environ, cwd=folder, stdin=given, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def debian(folder: Path) -> Path:
    """A tar of a small Debian, made below `folder` once and kept for the next run."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chipmunk"
    kept = cache / f"{SUITE}-python.tar"
    if not kept.exists():
        tree, partial = folder / SUITE, kept.with_suffix(f".{os.getpid()}")
        environ = {**os.environ, "PATH": PATH}
        words = ["unshare", "--mount", "debootstrap"]  # what it mounts ends with it, however it ends
        run([*words, "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree)], environ)
        cache.mkdir(parents=True, exist_ok=True)
        run(["tar", "-C", str(tree), "-cf", str(partial), "."], environ)
        partial.rename(kept)
        shutil.rmtree(tree)
    return kept
