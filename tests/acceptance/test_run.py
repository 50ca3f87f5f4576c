"""One command: the whole system comes up, stays up, goes away, and comes back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from solo.packages import PROJECT
from solo.processes import seen
from tests.harness import System, free_port, scratch, until

CHILDREN = {"postgres", "valkey", "authorizer", "api", "compressor", "worker-1", "nginx"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with scratch() as folder:
        yield folder


def descendants(pid: int) -> set[int]:
    parents: dict[int, list[int]] = {}
    for line in subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        child, parent = map(int, line.split())
        parents.setdefault(parent, []).append(child)
    found = {pid}
    while more := {child for parent in found for child in parents.get(parent, [])} - found:
        found |= more
    return found


def alive(pids: set[int]) -> list[str]:
    """What those of them that still run were started with."""
    found = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            if seen(pid):
                found.append(Path(f"/proc/{pid}/cmdline").read_text())
    return found


def test_everything_runs_and_nothing_runs_as_root(system: System) -> None:
    assert system.healthy()
    assert set(system.pids()) == CHILDREN
    everything = descendants(system.process.pid)
    assert everything > set(system.pids().values())
    assert 0 not in {Path(f"/proc/{pid}").stat().st_uid for pid in everything}


def test_nothing_but_nginx_can_be_reached_from_outside(system: System) -> None:
    def ports(pid: int) -> set[str]:
        sockets = {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink()}
        rows = [
            line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
        ]
        return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}

    found = {port for pid in descendants(system.process.pid) for port in ports(pid)}
    assert found == {f"0100007F:{system.port:04X}"}


def test_no_key_is_in_a_log_or_in_the_output(system: System) -> None:
    logs = [path.read_text(errors="replace") for path in (system.data_dir / "log").iterdir()]
    secrets = [system.api_key, system.operator_key, *system.settings.secret_keys, *system.settings.master_keys]
    assert not [secret for secret in secrets for text in [*logs, system.output] if secret in text]


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_a_child_that_is_killed_comes_back(system: System, name: str) -> None:
    system.restart(name)
    assert f'"event": "child died", "name": "{name}", "status": -9' in system.log("solo")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(folder: Path, number: signal.Signals) -> None:
    with System(folder / "data") as system:
        everything = descendants(system.process.pid)
        decisions = (system.settings.run_dir / "decisions").resolve()
        assert decisions.exists()
        began = time.monotonic()
        system.process.send_signal(number)
        assert system.process.wait(15) == 0
        assert time.monotonic() - began < 10
        assert alive(everything) == []
        assert "child killed" not in system.output
        assert "database system is shut down" in system.log("postgres")
        assert not decisions.exists()


def test_a_child_that_does_not_hear_is_gone_within_ten_seconds_too(folder: Path) -> None:
    with System(folder / "data") as system:
        everything = descendants(system.process.pid)
        for name in ("nginx", "compressor", "valkey"):
            system.kill(name, signal.SIGSTOP)
        began = time.monotonic()
        assert system.stop() == 0
        assert time.monotonic() - began < 10
        assert alive(everything) == []


def test_a_second_ctrl_c_does_not_wait(folder: Path) -> None:
    with System(folder / "data") as system:
        for name in ("nginx", "compressor", "valkey"):
            system.kill(name, signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(2):
            system.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert system.process.wait(15) == 0
        assert time.monotonic() - began < 5


def test_killed_it_takes_its_children_along_and_starts_again_on_the_same_port(folder: Path) -> None:
    with System(folder / "data") as system:
        everything = descendants(system.process.pid)
        system.process.kill()
        system.process.wait()
        until(lambda: not alive(everything), 10, "the end of every child")
        port, key = system.port, system.api_key
    with System(folder / "data", port=port) as system:
        assert system.healthy()
        assert system.api_key == key


def test_killed_with_deaf_children_the_next_start_ends_them(folder: Path) -> None:
    with System(folder / "data") as system:
        everything = descendants(system.process.pid)
        for name in ("nginx", "api", "valkey"):
            system.kill(name, signal.SIGSTOP)
        system.process.kill()
        system.process.wait()
        port = system.port
    with System(folder / "data", port=port) as system:
        assert system.healthy()
        assert alive(everything) == []


@pytest.mark.alone
def test_the_second_start_is_ready_in_five_seconds(folder: Path) -> None:
    def seconds() -> float:
        began = time.monotonic()
        with System(folder / "data"):
            return time.monotonic() - began

    assert any(seconds() < 5 for _ in range(3))


def test_two_run_side_by_side_and_a_moved_directory_runs(folder: Path) -> None:
    with System(folder / "data") as one, System(folder / "other") as two:
        assert one.healthy()
        assert two.healthy()
        assert one.api_key != two.api_key
        key = two.api_key
    (folder / "other").rename(folder / "moved")
    with System(folder / "moved") as system:
        assert system.healthy()
        assert system.api_key == key


def test_a_port_in_use_is_one_sentence(folder: Path, system: System) -> None:
    ran = start(folder / "data", str(system.port))
    assert ran.returncode == 1
    assert ran.stderr == (
        f"chipmunk: Port {system.port} on 127.0.0.1 is in use: "
        "end what listens there, or set CHIPMUNK_PORT to a free one.\n"
    )


def test_the_keys_are_shown_once_on_a_terminal(folder: Path) -> None:
    keys = folder / "shown" / "keys"
    first, second = (on_a_terminal(folder / "shown") for _ in range(2))
    for name in ("api.key", "operator.key"):
        assert (keys / name).read_text().strip() in first
        assert (keys / name).read_text().strip() not in second
    assert (keys / "secret.keys").read_text().strip() not in first


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can close a directory to the servers")
def test_data_below_a_directory_that_only_root_may_enter_is_reached(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with System(closed / "data") as system:
        assert system.healthy()
        assert 0 not in {Path(f"/proc/{pid}").stat().st_uid for pid in descendants(system.process.pid)}
    assert closed.stat().st_mode & 0o777 == 0o700


def start(data_dir: Path, port: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "solo", "run"],
        cwd=PROJECT,
        env=os.environ | {"CHIPMUNK_DATA_DIR": str(data_dir), "CHIPMUNK_PORT": port},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def on_a_terminal(data_dir: Path) -> str:
    """What a person sees from the start to the end of a run."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"CHIPMUNK_DATA_DIR": str(data_dir), "CHIPMUNK_PORT": str(free_port()), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "solo", "run"], cwd=PROJECT, env=environ, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            if b"Chipmunk is ready" not in shown and b"Chipmunk is ready" in shown + chunk:
                process.terminate()
            shown += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        process.terminate()
    assert process.wait(20) == 0
    return shown.decode().replace("\r\n", "")
