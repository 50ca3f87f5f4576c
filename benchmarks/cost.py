"""What the whole system costs while nobody asks anything of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.house import House, house
from benchmarks.rows import Row, alone, at_most
from benchmarks.session import Session

GROUP = "cost"
SETTLING_SECONDS, IDLE_SECONDS = 15.0, 30.0
IMAGES = ("chipmunk-gateway", "chipmunk-compressor")


def measure(session: Session) -> Iterator[Row]:
    """All rows of the group, each as it is known."""
    with house(session.folder / "house", nginx_workers="auto") as ours:
        time.sleep(0 if session.smoke else SETTLING_SECONDS)
        yield from memory(ours)
        yield from processor(ours, session.seconds if session.smoke else IDLE_SECONDS)
    yield from images()


def memory(ours: House) -> Iterator[Row]:
    """Proportional set sizes: what is shared between processes counts once in all."""
    parts = {name: sum(map(proportional, pids)) / 1e6 for name, pids in parts_of(ours).items()}
    stated = ", ".join(f"{name} {size:.0f}" for name, size in sorted(parts.items(), key=lambda part: -part[1]))
    yield alone(GROUP, "memory of the whole system at idle", "MB", [sum(parts.values())], at_most(400), stated)


def processor(ours: House, seconds: float) -> Iterator[Row]:
    """Per cent of one core."""
    parts = parts_of(ours)
    before, began = {name: sum(map(busy, pids)) for name, pids in parts.items()}, time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    shares = {name: 100 * (sum(map(busy, pids)) - before[name]) / passed for name, pids in parts.items()}
    stated = ", ".join(f"{name} {share:.2f}" for name, share in sorted(shares.items(), key=lambda part: -part[1]))
    yield alone(GROUP, "processor time at idle", "% of a core", [sum(shares.values())], at_most(1), stated)


def images() -> Iterator[Row]:
    """The sizes of our own images, where Docker has built them."""
    if shutil.which("docker") is None:
        return
    for name in IMAGES:
        found = subprocess.run(["docker", "image", "inspect", name], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            yield alone(GROUP, f"image {name}", "MB", [json.loads(found.stdout)[0]["Size"] / 1e6])


def parts_of(ours: House) -> dict[str, list[int]]:
    """The processes of each part of the system, those that they started included."""
    parts = {
        name: [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        for name, pid in ours.system.pids().items()
    }
    supervisor = psutil.Process(ours.system.process.pid)
    known = {pid for pids in parts.values() for pid in pids}
    others = {process.pid for process in supervisor.children(recursive=True)} - known
    return {**parts, "supervisor": [supervisor.pid, *others]}


def proportional(pid: int) -> int:
    """Bytes of a process's proportional set size; 0 once it is gone."""
    try:
        rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rolled, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def busy(pid: int) -> float:
    """Seconds of processor time of a process and of its children that have ended; 0 once it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
