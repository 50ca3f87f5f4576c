"""Processes as Linux knows them: one that cannot outlive us, and what an earlier run left."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from solo.service import Service

PR_SET_PDEATHSIG = 1
LEFTOVER_SECONDS = 4.0


@dataclass(frozen=True)
class Seen:
    """A process told apart from a later one with the same pid by its start, in clock ticks since the boot."""

    pid: int
    started: int


def spawn(service: Service, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a process, in a session of its own, that the kernel signals when this one dies, however it dies."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def before_exec() -> None:
        os.nice(service.nice)
        libc.prctl(PR_SET_PDEATHSIG, int(service.death_signal))
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(
        service.command,
        env=dict(service.environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=service.sockets,
        preexec_fn=before_exec,
    )


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on; empty where the process is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def seen(pid: int) -> Seen | None:
    fields = _stat(pid)
    return Seen(pid, int(fields[19])) if fields else None


def group(leader: int) -> list[int]:
    """The living processes of a process group."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[2]) == leader]


def signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


class Ledger:
    """run/children.json: who is running, for the next start to find when this one is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, children: Mapping[str, int]) -> None:
        """Replaces the book; the old one stays where the disk is full."""
        rows = {name: found.__dict__ for name, pid in children.items() if (found := seen(pid))}
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps({"boot": _boot(), "children": rows}))
            fresh.replace(self._path)

    def end_leftovers(self) -> list[str]:
        """Ends what still runs of an earlier start, with KILL after a few seconds; the names of what there was."""
        left = {row.pid: name for name, row in self._read().items() if self._is_left(row)}
        for leader, name in left.items():
            signal_group(leader, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while still := [leader for leader in left if group(leader)]:
            if time.monotonic() > deadline:
                for leader in still:
                    signal_group(leader, signal.SIGKILL)
            time.sleep(0.02)
        return list(left.values())

    def _read(self) -> dict[str, Seen]:
        try:
            book = json.loads(self._path.read_text())
            rows = {name: Seen(**row) for name, row in book["children"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return rows if book["boot"] == _boot() else {}

    def _is_left(self, row: Seen) -> bool:
        """Whether its group still lives, the first of it or only others, and is no later one with the same number.

        What the owner of the book may not signal, root does not signal in its name.
        """
        owner = self._path.stat().st_uid
        return seen(row.pid) in (row, None) and any(_owner(pid) == owner for pid in group(row.pid))


def _owner(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
