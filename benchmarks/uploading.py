"""Uploads beside the least that such a service has to do: spool the body; make rungs 1 to 3 and sync the files."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil  # type: ignore[import-untyped]

from benchmarks import reserving
from benchmarks.cost import proportional
from benchmarks.house import House, bare_nginx, house
from benchmarks.load import REPEATED, Load
from benchmarks.rows import Row, alone, at_least, at_most, beside, in_turns
from benchmarks.session import Session
from benchmarks.viewing import wav
from chipmunk.config import Settings
from chipmunk.storage.local import sync_file
from compressor import ladder, sniff, tasks
from compressor.limits import Limits
from tests.client import photo
from tests.harness import until

GROUP = "uploading"
MIB = 1 << 20
GB = 10**9
LARGE_BYTES = 500 * 10**6
REASONS = {"quota": b"quota_exceeded", "size": b"too_large"}
CORES = len(os.sched_getaffinity(0))
UPLOADERS = 4 * CORES
ASKED = 4800
SENT = """\
local bodies, count, at = {}, 0, 0
function init(arguments)
  for path in io.lines(arguments[1]) do
    local file = io.open(path, "rb")
    local data = file:read("*a")
    file:close()
    count = count + 1
    bodies[count] = "PUT " .. arguments[2] .. " HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: " .. arguments[3]
      .. "\\r\\nContent-Length: " .. #data .. "\\r\\n\\r\\n" .. data
  end
end
function request()
  at = at % count + 1
  return bodies[at]
end
""" + REPEATED[REPEATED.index("function done") :]


def measure(session: Session) -> Iterator[Row]:
    """All rows of the group, each as it is known."""
    with house(session.folder / "house") as ours:
        yield from large(session, ours)
        yield from small(session, ours)
        yield from refused(session, ours)
        yield from reservations(session, ours)


def large(session: Session, ours: House) -> Iterator[Row]:
    """A large file through nginx, beside the same nginx that spools it for nobody."""
    file = session.folder / "large.wav"
    file.write_bytes(wav(session.count(LARGE_BYTES)))
    [user] = ours.users(1)
    size, path = file.stat().st_size, f"/v1/media?user={user}"
    ours.app.http.put(f"/v1/users/{user}", json={"quota_bytes": None}).raise_for_status()

    def stored() -> float:
        status, seconds, said = send(ours.port, path, ours.system.app, file)
        if status != 201:
            raise RuntimeError(f"the upload was answered {status}")
        ours.app.http.delete(f"/v1/media/{json.loads(said)['id']}").raise_for_status()
        return size / seconds / 1e6

    with bare_nginx(session.folder / "bare", file) as port:

        def spooled() -> float:
            return size / send(port, "/sunk", {}, file)[1] / 1e6

        ways = {"chipmunk": stored, "spooled": spooled}
        in_turns(ways, 1, session.say)
        rates = in_turns(ways, session.rounds, session.say)
    name = f"{size / 1e6:.0f} MB raw body through nginx to 201"
    note = "ours is hashed and on the disk when it is answered, the peer's is in memory"
    yield beside(GROUP, name, "MB/s", rates["chipmunk"], rates["spooled"], at_least(0.8), note)
    grown = [grows(ours, stored) for _ in range(min(3, session.rounds))]
    yield alone(GROUP, f"{name}: growth of the compressor's memory", "MB", grown, at_most(20))
    file.unlink()


def grows(ours: House, act: Callable[[], object]) -> float:
    """By how much the compressor's processes grow at most while `act` runs, in MB of proportional set size."""
    whole = psutil.Process(ours.system.pids()["compressor"])
    pids = [whole.pid, *(child.pid for child in whole.children(recursive=True))]
    before, most, ended = sum(map(proportional, pids)), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, sum(map(proportional, pids)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        act()
    finally:
        ended.set()
        watcher.join()
    return max(0, most - before) / 1e6


def send(port: int, path: str, headers: dict[str, str], file: Path) -> tuple[int, float, bytes]:
    """Puts a file in one request: status, seconds to the answer, and the answer's body."""
    lines = [f"PUT {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {file.stat().st_size}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    with socket.create_connection(("127.0.0.1", port)) as connection, file.open("rb") as body:
        began = time.perf_counter()
        connection.sendall(head.encode())
        connection.sendfile(body)
        said = connection.recv(65536)
        seconds = time.perf_counter() - began
        while more := connection.recv(65536):
            said += more
    return int(said.split(b" ", 2)[1]), seconds, said.partition(b"\r\n\r\n")[2]


class Uploads:
    """The same few pictures, uploaded again and again by `connections` clients at once."""

    def __init__(self, folder: Path, ours: House, pictures: Sequence[bytes]) -> None:
        [self._user] = ours.users(1)
        ours.app.http.put(f"/v1/users/{self._user}", json={"quota_bytes": None}).raise_for_status()
        self._ours, self._script, self._list = ours, folder / "put.lua", folder / f"{self._user}.txt"
        self._script.write_text(SENT)
        paths = [folder / f"{self._user}-{number}.jpg" for number, _ in enumerate(pictures)]
        for path, data in zip(paths, pictures, strict=True):
            path.write_bytes(data)
        self._list.write_text("".join(f"{path}\n" for path in paths))

    def run(self, seconds: int, connections: int = UPLOADERS) -> Load:
        """RuntimeError where an upload was not taken."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(self._script)]
        path, key = f"/v1/media?user={self._user}", self._ours.system.app["Authorization"]
        command += [f"http://127.0.0.1:{self._ours.port}/", "--", str(self._list), path, key]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        load = Load(**json.loads(said.rpartition("FIGURES ")[2]))
        if load.refused or load.broken:
            raise RuntimeError(f"{load.refused} of {load.requests} uploads were refused, {load.broken} broken")
        return load

    def settle(self) -> None:
        """Waits until no ladder is left to make."""
        until(lambda: asyncio.run(unfinished(self._ours.system.settings)) == 0, 300, "the end of all ladders")


async def unfinished(settings: Settings) -> int:
    connection = await asyncpg.connect(settings.database_url)
    try:
        return int(await connection.fetchval("select count(*) from jobs where state in ('queued', 'running')"))
    finally:
        await connection.close()


def small(session: Session, ours: House) -> Iterator[Row]:
    """Pictures of 100 kB from several clients, beside a loop on each core that does what cannot be left out."""
    pictures = [photo(1024, 768, seed=seed, quality=72) for seed in range(8)]
    uploads = Uploads(session.folder, ours, pictures)
    uploads.run(1)
    latencies = []

    def answered() -> float:
        uploads.settle()
        load = uploads.run(session.seconds)
        latencies.append(load.p50)
        uploads.settle()
        return load.rate / CORES

    with bare_loops(session.folder / "loops", ours.system.settings, pictures) as loops:
        rates = in_turns({"chipmunk": answered, "loops": lambda: loops(session.seconds)}, session.rounds, session.say)
    size = sum(map(len, pictures)) / len(pictures) / 1000
    name = f"JPEGs of {size:.0f} kB, answered 201, per core"
    note = f"ladders of those before are made meanwhile; p50 {sorted(latencies)[len(latencies) // 2]:.0f} ms"
    yield beside(GROUP, name, "uploads/s", rates["chipmunk"], rates["loops"], at_least(0.6), note)


@contextmanager
def bare_loops(folder: Path, settings: Settings, pictures: list[bytes]) -> Iterator[Callable[[float], float]]:
    """A function that runs the loop on every core for some seconds, and returns its rounds per second and core."""
    context, limits = multiprocessing.get_context("spawn"), Limits.of(settings)
    with ProcessPoolExecutor(CORES, context, initializer=tasks.prepare, initargs=(limits,)) as pool:

        def run(seconds: float) -> float:
            given = [(folder / uuid4().hex, pictures, seconds) for _ in range(CORES)]
            counts = list(pool.map(bare_loop, *zip(*given, strict=True)))
            shutil.rmtree(folder)
            return sum(counts) / CORES / seconds

        run(0.2)
        yield run


def bare_loop(folder: Path, pictures: list[bytes], seconds: float) -> int:
    """Writes, makes rungs 1 to 3 and syncs, one picture after the other; returns how many."""
    count, ends = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        data, out = pictures[count % len(pictures)], folder / str(count)
        out.mkdir(parents=True)
        original = out / "0"
        original.write_bytes(data)
        kind = sniff.sniff(data[: sniff.HEAD_BYTES])
        assert kind is not None
        tasks.begin(original, kind, out, False, ladder.still_cap(len(data)))
        for file in out.iterdir():
            sync_file(file)
        count += 1
    return count


def refused(session: Session, ours: House) -> Iterator[Row]:
    """Bodies that cannot be taken: the time to the refusal, while the client goes on sending."""
    [user] = ours.users(1)
    ours.app.http.put(f"/v1/users/{user}", json={"quota_bytes": 1000 * MIB}).raise_for_status()
    spool = ours.system.settings.spool_dir
    for why, size in (("quota", 2 * GB), ("size", 6 * GB)):
        before, seconds = spool.stat().st_mtime_ns, []
        for _ in range(session.count(100)):
            status, passed, said = refusal(ours, user, size)
            if status != 413 or REASONS[why] not in said:
                raise RuntimeError(f"the upload was answered {status}")
            seconds.append(passed * 1000)
        name = f"refused by {why}, body of {size // GB} GB"
        yield alone(GROUP, name, "ms", seconds, at_most(20), f"slowest of {len(seconds)}: {max(seconds):.1f} ms")
        written = float(spool.stat().st_mtime_ns != before)
        yield alone(GROUP, f"{name}: changes of the spool", "changes", [written], at_most(0))


def refusal(ours: House, user: str, size: int) -> tuple[int, float, bytes]:
    """Announces a raw body, begins to send it, and reads what is said to that."""
    head = f"PUT /v1/media?user={user} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
    head += f"Authorization: {ours.system.app['Authorization']}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", ours.port)) as connection:
        began = time.perf_counter()
        connection.sendall(head.encode() + bytes(64 * 1024))
        said = connection.recv(65536)
        return int(said.split(b" ", 2)[1]), time.perf_counter() - began, said


def reservations(session: Session, ours: House) -> Iterator[Row]:
    """Reservations on one user by the kernel itself, 64 at once; then as many as fit half of what is asked for."""
    asked = session.count(ASKED)
    rates, wrong = [], 0
    for _ in range(session.rounds):
        rate, mistakes = asyncio.run(reserving.reserved(ours.system.settings, ours.users(1)[0], asked))
        session.say(f"{rate:,.0f} reservations per second")
        rates.append(rate)
        wrong += mistakes
    name = f"reservations on one user, {reserving.AT_ONCE} at once"
    yield alone(GROUP, name, "reservations/s", rates, at_least(1000))
    yield alone(GROUP, f"{name}: off by", "reservations", [float(wrong)], at_most(0))
