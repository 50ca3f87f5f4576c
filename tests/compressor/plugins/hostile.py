"""A plug-in that does what its options say, and none of it is nice."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import resource
import signal
import socket
import subprocess
import threading
import time
from typing import Any

from chipmunk.hooks import Arrival, Plugin, Refused


def flood() -> None:
    """Answers for itself, at length."""
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as service:
            service.send(b"[" * 150_000)


def forge() -> None:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as service:
            service.send(b'{"id": "0", "answer": null}')


def eat() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(16 * 1024 * 1024))


def spin() -> None:
    while True:
        pass


DEEDS: dict[str, Any] = {
    "sleep": lambda: time.sleep(60),
    "spin": spin,
    "eat": eat,
    "crash": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(0),
    "raise": lambda: 1 / 0,
    "flood": flood,
    "forge": forge,
    "kill": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "stop": lambda: os.killpg(os.getpgid(os.getppid()), signal.SIGSTOP),
}


def attempts(service: int, places: dict[str, str]) -> dict[str, str]:
    """What came of trying to get at what was not handed over."""
    libc = ctypes.CDLL(None, use_errno=True)

    def limit() -> None:
        resource.prlimit(service, resource.RLIMIT_NOFILE, (3, 3))

    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    def in_memory() -> None:
        if libc.memfd_create(b"x", 0) < 0:
            raise OSError(ctypes.get_errno(), "memfd_create")

    tried: dict[str, Any] = {
        **{name: (lambda p=path: pathlib.Path(p).read_bytes()) for name, path in places.items()},
        "environment of the service": pathlib.Path(f"/proc/{service}/environ").read_bytes,
        "folder": lambda: os.listdir("/tmp"),
        "write": lambda: pathlib.Path("/tmp/hostile").write_text("x"),
        "socket": lambda: socket.socket(socket.AF_INET),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": fork,
        "signal": lambda: os.kill(service, signal.SIGUSR1),
        "limit": limit,
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, service, 19),
        "memory": in_memory,
        "more memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
    }
    found = {}
    for name, deed in tried.items():
        try:
            deed()
            found[name] = "done"
        except (OSError, ValueError, subprocess.SubprocessError) as e:
            found[name] = type(e).__name__
    return found


def opened() -> list[int]:
    found = []
    for descriptor in range(256):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            found.append(descriptor)
    return found


class Hostile(Plugin):
    def __init__(self, options: Any) -> None:
        super().__init__(options)
        if options.get("at_start"):
            DEEDS[options["at_start"]]()

    def before_ingest(self, arrival: Arrival) -> Refused | None:
        name = arrival.filename or ""
        if name == "attempts":
            found = attempts(self.options["service"], self.options["places"])
            return Refused(" ".join(sorted(name for name, how in found.items() if how == "done")) or "nothing")
        if name == "held":
            return Refused(f"{len(opened())} {sorted(os.environ)} {os.getpgid(0) == os.getpid()}")
        if name == "sum":
            return Refused(f"{len(arrival.file.read())} {arrival.kind} {arrival.mime} {arrival.length} {arrival.flows}")
        if name == "later":
            threading.Thread(target=spin, daemon=True).start()
            time.sleep(0.05)
        if name in DEEDS:
            DEEDS[name]()
        return None
