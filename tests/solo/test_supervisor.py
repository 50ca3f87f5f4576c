from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from solo.logs import Logs
from solo.processes import Ledger, group
from solo.refusal import Refusal
from solo.service import Service
from solo.supervisor import Supervisor


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(Logs(tmp_path), Ledger(tmp_path / "children.json"))
    yield supervisor
    supervisor.hurry()
    await supervisor.stop()


def shell(name: str, script: str, **more: object) -> Service:
    return Service(name, ["/bin/sh", "-c", script], os.environ, **more)  # type: ignore[arg-type]


async def when(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about within 5 s")


def ended(pid: int) -> bool:
    """Whether the process is gone, or waits for nothing but to be asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


async def test_a_child_that_dies_is_started_again_later_each_time(supervisor: Supervisor, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    await supervisor.start(shell("brief", f"date +%s.%N >> {starts}; sleep 0.05; exit 3"))
    await when(lambda: starts.exists() and len(starts.read_text().split()) >= 4)
    await supervisor.stop()
    times = [float(line) for line in starts.read_text().split()]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] >= 0.2
    assert gaps[1] >= 0.4
    assert gaps[2] >= 0.8
    log = (tmp_path / "solo.log").read_text()
    assert '"event": "child died", "name": "brief", "status": 3, "restart_in": 0.2' in log


async def test_what_a_dead_child_leaves_is_killed_before_it_is_started_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    await supervisor.start(shell("parent", f"sleep 1000 & echo $! >> {left}; sleep 0.1"))
    await when(lambda: left.exists() and len(left.read_text().split()) == 2)
    await supervisor.stop()
    for pid in map(int, left.read_text().split()):
        await when(partial(ended, pid))


async def test_what_a_dead_child_leaves_is_asked_before_it_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    given_back = tmp_path / "given back"
    polite = f"trap 'echo >> \"{given_back}\"; exit' TERM; while :; do sleep 0.01; done"
    await supervisor.start(shell("parent", f"({polite}) & sleep 0.3"))
    await when(given_back.exists)


async def test_a_child_that_never_gets_ready_is_refused_with_its_last_words(supervisor: Supervisor) -> None:
    async def never() -> bool:
        return False

    with pytest.raises(Refusal, match=r"broken does not start; .*: no such config"):
        await supervisor.start(shell("broken", "echo no such config; exit 1", ready=never))
    await supervisor.stop()


async def test_a_step_that_fails_is_refused_and_leaves_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    left = tmp_path / "left"
    with pytest.raises(Refusal, match="step failed: wrong"):
        await supervisor.once(shell("step", f"sleep 1000 & echo $! > {left}; echo wrong; exit 1"))
    await when(lambda: not group(int(left.read_text())))


async def test_orders_end_one_after_the_other_and_the_deaf_are_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    polite = f"trap 'echo %s >> {ends}; exit' TERM; while :; do sleep 0.05; done"
    await supervisor.start(
        shell("first", polite % "first"),
        shell("second", polite % "second"),
        shell("deaf", "trap '' TERM; while :; do sleep 0.05; done"),
    )
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await supervisor.stop((("second",), 2.0), (("first", "deaf"), 0.5))
    assert ends.read_text().split() == ["second", "first"]
    assert time.monotonic() - began < 2
    assert '"child killed", "name": "deaf"' in (tmp_path / "solo.log").read_text()


async def test_a_hurry_does_not_wait_for_anyone(supervisor: Supervisor) -> None:
    await supervisor.start(shell("deaf", "trap '' TERM; while :; do sleep 0.05; done"))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    stopping = asyncio.create_task(supervisor.stop((("deaf",), 60.0)))
    await asyncio.sleep(0.1)
    supervisor.hurry()
    await stopping
    assert time.monotonic() - began < 3


async def test_a_child_asleep_between_two_lives_does_not_hold_up_the_end(supervisor: Supervisor) -> None:
    await supervisor.start(shell("brief", "sleep 0.01; exit 1"))
    await asyncio.sleep(1.5)
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < 0.5


async def test_the_book_names_the_living_by_pid(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(shell("sleeper", "exec sleep 1000"))
    book = (tmp_path / "children.json").read_text()
    assert '"sleeper": {"pid": ' in book
    await supervisor.stop()
    assert '"children": {}' in (tmp_path / "children.json").read_text()


async def test_leftovers_of_a_killed_run_are_ended_and_a_stranger_with_the_same_pid_is_not(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(shell("deaf", "trap '' TERM; while :; do sleep 0.05; done"))
    path = tmp_path / "children.json"
    pid = supervisor._children[0].process.pid
    true_book = path.read_text()
    path.write_text(true_book.replace('"started": ', '"started": 1'))
    assert Ledger(path).end_leftovers() == []
    assert group(pid)

    supervisor._children[0].is_stopping = True
    path.write_text(true_book)
    assert await asyncio.to_thread(Ledger(path).end_leftovers) == ["deaf"]
    assert not group(pid)
    await supervisor.stop()


def test_a_spawned_process_dies_with_its_parent_however_that_dies(tmp_path: Path) -> None:
    code = (
        "import os, time; from solo.processes import spawn; from solo.service import Service\n"
        "child = spawn(Service('s', ['sleep', '1000'], os.environ), open(os.devnull, 'wb'))\n"
        "print(child.pid, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    for _ in range(200):
        if not group(child):
            return
        time.sleep(0.01)
    raise AssertionError("it outlived its parent")
