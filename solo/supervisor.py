"""Keeps services running: starts them, waits until they are ready, restarts what dies, stops all in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence

from solo.logs import Logs
from solo.processes import Ledger, group, signal_group, spawn
from solo.refusal import Refusal
from solo.service import Service

READY_SECONDS = 60.0
FIRST_DELAY, LONGEST_DELAY, HEALTHY_SECONDS = 0.2, 10.0, 30.0
DEATHS_BEFORE_READY = 3
LAST_SECONDS = 0.4
LOOK_SECONDS = 1.0  # of a child's end SIGCHLD tells sooner


class Child:
    """One service and the process that is it at present."""

    def __init__(self, service: Service, process: subprocess.Popen[bytes]) -> None:
        self.service = service
        self.process = process
        self.since = time.monotonic()
        self.deaths = 0
        self.is_stopping = False
        self.keeper: asyncio.Task[None] | None = None


class Supervisor:
    def __init__(self, logs: Logs, ledger: Ledger) -> None:
        self._logs = logs
        self._ledger = ledger
        self._children: list[Child] = []
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._changed.set)

    def hurry(self) -> None:
        """From now on nothing that is being stopped is waited for."""
        self._hurry.set()

    async def once(self, service: Service) -> None:
        """Runs a service that ends by itself; a Refusal where it ends badly."""
        child = self._begin(service)
        try:
            status = await self._end_of(child)
        finally:
            signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._forget(child)
        if status != 0:
            raise Refusal(f"{service.name} failed: {self._logs.last_line(service.name)}")

    async def start(self, *services: Service) -> None:
        """Starts services side by side and returns when all are ready; a Refusal where one does not get there."""
        starts = await asyncio.gather(*map(self._start, services), return_exceptions=True)
        for refusal in filter(None, starts):
            raise refusal

    async def _start(self, service: Service) -> None:
        if service.prepare:
            await self.once(service.prepare)
        child = self._begin(service)
        child.keeper = asyncio.create_task(self._keep(child))
        await self._ready(child)

    async def stop(self, *orders: tuple[Sequence[str], float]) -> None:
        """Ends services by the beginnings of their names, each lot with its seconds, and then all others."""
        for words, seconds in (*orders, (("",), 1.0)):
            chosen = [c for word in words for c in self._children if c.service.name.startswith(word)]
            await asyncio.gather(*(self._stop(child, seconds) for child in chosen))

    def _begin(self, service: Service) -> Child:
        child = Child(service, self._spawn(service))
        self._children.append(child)
        self._record()
        return child

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        with self._logs.open(service.name) as output:
            return spawn(service, output)

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        self._record()

    def _record(self) -> None:
        self._ledger.write({c.service.name: c.process.pid for c in self._children})

    async def _end_of(self, child: Child) -> int:
        """The exit status, when it comes."""
        while (status := child.process.poll()) is None:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
        return status

    async def _keep(self, child: Child) -> None:
        delay = FIRST_DELAY
        while True:
            status = await self._end_of(child)
            await self._leave_nothing(child.process.pid)
            if child.is_stopping:
                return
            delay = FIRST_DELAY if time.monotonic() - child.since > HEALTHY_SECONDS else delay
            child.deaths += 1
            self._logs.event("child died", name=child.service.name, status=status, restart_in=round(delay, 1))
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            try:
                child.process, child.since = self._spawn(child.service), time.monotonic()
            except OSError as e:
                self._logs.event("child not started", name=child.service.name, reason=e.strerror)
            self._record()

    async def _ready(self, child: Child) -> None:
        name, deadline = child.service.name, time.monotonic() + READY_SECONDS
        while child.deaths < DEATHS_BEFORE_READY and time.monotonic() < deadline:
            if child.process.poll() is None and (child.service.ready is None or await child.service.ready()):
                return
            await asyncio.sleep(0.01)
        problem = "does not start" if child.deaths else f"is not ready after {READY_SECONDS:.0f} s"
        raise Refusal(f"{name} {problem}; the end of {self._logs.path(name)}: {self._logs.last_line(name)}")

    async def _stop(self, child: Child, seconds: float) -> None:
        """Asks, then insists, then kills."""
        child.is_stopping = True
        if child.keeper and child.process.poll() is not None:
            child.keeper.cancel()
        service = child.service
        for number, patience in ((service.stop_signal, seconds), (service.death_signal, LAST_SECONDS)):
            if child.process.poll() is None:
                os.kill(child.process.pid, number)
                await self._wait(child, patience)
        if child.process.poll() is None:
            self._logs.event("child killed", name=service.name, after_seconds=seconds)
            child.process.kill()
        await self._leave_nothing(child.process.pid)
        await self._end_of(child)
        if child.keeper:
            await asyncio.wait({child.keeper})
        self._forget(child)

    async def _leave_nothing(self, leader: int) -> None:
        """Ends what a child left, such as nginx's workers. Asks before it kills: Python has a process that gives back
        the semaphores of those that died, and that ends once they have."""
        signal_group(leader, signal.SIGTERM)
        deadline = time.monotonic() + LAST_SECONDS
        while group(leader) and time.monotonic() < deadline and not self._hurry.is_set():  # noqa: ASYNC110 - nobody says that others' children ended
            await asyncio.sleep(0.02)
        signal_group(leader, signal.SIGKILL)

    async def _wait(self, child: Child, seconds: float) -> None:
        """Until it has ended or its time is up, which is at once when there is a hurry."""
        ended = asyncio.create_task(self._end_of(child))
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done():
            await asyncio.wait({ended}, timeout=LAST_SECONDS)
        ended.cancel()
        hurried.cancel()
