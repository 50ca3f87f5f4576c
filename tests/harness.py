"""Real servers for tests: PostgreSQL and Valkey alone, or the whole system as `scripts/run` starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from chipmunk import config
from solo.packages import PROJECT
from solo.servers import with_servers

START_SECONDS = 90


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def scratch() -> Iterator[Path]:
    """A short path (sockets lie below it) that any user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="chipmunk-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def until(holds: Callable[[], bool], seconds: float = 20, what: str = "this") -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.02)


class Solo:
    """`python -m solo <command>` on a data directory; the output goes to a file beside it."""

    def __init__(self, command: str, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self._output = data_dir.parent / f"{data_dir.name}.out"
        given = {f"CHIPMUNK_{name.upper()}": str(value) for name, value in settings.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CHIPMUNK_")}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "solo", command],
                cwd=PROJECT,
                env={**inherited, "CHIPMUNK_DATA_DIR": str(data_dir), **given},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, words: str) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.output
            return words in self.output

        until(said, START_SECONDS, f"{words!r} in the output of {self.data_dir}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def pids(self) -> dict[str, int]:
        """The pid of each child by its name: postgres, valkey, authorizer, api, compressor, worker-1, nginx."""
        book = json.loads((self.data_dir / "run" / "children.json").read_text())
        return {name: row["pid"] for name, row in book["children"].items()}


class System(Solo):
    """The whole system on a free port of 127.0.0.1."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.port = int(str(settings.get("port") or free_port()))
        super().__init__("run", data_dir, **{**settings, "port": self.port})
        self.wait_for("Chipmunk is ready")
        keys = {name: self._key(name) for name in ("api.key", "operator.key", "secret.keys", "master.keys")}
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_key = str(settings.get("api_key") or keys["api.key"])
        self.operator_key = str(settings.get("operator_key") or keys["operator.key"])
        environ = {f"CHIPMUNK_{name.upper()}": str(value) for name, value in settings.items()}
        environ |= {"CHIPMUNK_DATA_DIR": str(data_dir), "CHIPMUNK_PORT": str(self.port)}
        environ |= {"CHIPMUNK_API_KEY": self.api_key, "CHIPMUNK_OPERATOR_KEY": self.operator_key}
        environ.setdefault("CHIPMUNK_SECRET_KEYS", keys["secret.keys"])
        environ.setdefault("CHIPMUNK_MASTER_KEYS", keys["master.keys"])
        self.settings = with_servers(config.load(environ))

    def _key(self, name: str) -> str:
        path = self.data_dir / "keys" / name
        return path.read_text().strip() if path.exists() else ""

    @property
    def app(self) -> dict[str, str]:
        """The headers of the app's own backend."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def log(self, name: str) -> str:
        """What a child said, or nginx's `access` log."""
        return (self.data_dir / "log" / f"{name}.log").read_text(errors="replace")

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signals a child and returns the pid that it had."""
        pid = self.pids()[name]
        os.kill(pid, number)
        return pid

    def restart(self, name: str) -> None:
        """Kills a child and waits until another has its place and all is well."""
        before = self.kill(name)
        until(lambda: self.pids().get(name, before) != before and self.healthy(), 30, f"a new {name}")
