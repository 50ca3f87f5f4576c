"""The processes of one plug-in, as many as questions are asked at once; and a pause after it failed again and again."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import structlog

from chipmunk import metrics
from chipmunk.hooks import RENDER, Answer, Handed, Refused
from compressor.plugged.process import Failed, Hello, Process, Terms

FAILURES = 3  # one after another, whatever the files, after which it is left alone for a while
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
CONNECT_SECONDS = 5.0
WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
log = structlog.get_logger()


class Pool:
    """`flows`: the only ones whose media it is asked about; None: all."""

    def __init__(self, terms: Terms, flows: frozenset[str] | None, most: int) -> None:
        self._terms = terms
        self._flows = flows
        self._places = asyncio.Semaphore(most)
        self._idle: list[Process] = []
        self._hello: Hello | None = None
        self._failures = 0
        self._until = 0.0

    @property
    def name(self) -> str:
        return self._terms.name

    async def start(self) -> None:
        """Its first process. Where that does not start, the first question tries again."""
        try:
            self._idle.append(await self._new())
        except Failed as e:
            self._fail("start", e)

    async def stop(self) -> None:
        await asyncio.gather(*(process.end() for process in self._idle))
        self._idle.clear()

    def concerned(self, hook: str, kind: str, flows: tuple[str, ...]) -> bool:
        """Whether it is to be asked. What one that never started takes part in nobody knows: it is asked everything."""
        if self._flows is not None and self._flows.isdisjoint(flows):
            return False
        return self._hello is None or (hook in self._hello.hooks and kind in self._hello.kinds)

    def takes(self, hook: str) -> bool:
        """Whether there is anything that it would be asked at that moment."""
        return self._hello is None or hook in self._hello.hooks

    async def ask(self, hook: str, handed: Handed, file: Path | None) -> Answer:
        """Its answer, or Failed. Questions that find all its processes busy wait, as long as an answer may take."""
        began, outcome = time.monotonic(), "aborted"
        try:
            async with self._place():
                answer = await self._asked(hook, handed, file)
            outcome = "refused" if isinstance(answer, Refused) else "answered"
            self._failures = 0
            return answer
        except Failed as e:
            outcome = e.how
            if outcome not in ("busy", "paused"):
                self._fail(hook, e)
            raise
        finally:
            metrics.PLUGIN_CALLS.labels(self.name, hook, outcome).inc()
            metrics.PLUGIN_SECONDS.labels(self.name, hook).observe(time.monotonic() - began)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._places.acquire(), self._terms.seconds)
        except TimeoutError:
            raise Failed("busy") from None
        try:
            if time.monotonic() < self._until:
                raise Failed("paused")
            yield
        finally:
            self._places.release()

    async def _asked(self, hook: str, handed: Handed, file: Path | None) -> Answer:
        process = self._idle.pop() if self._idle else await self._new()
        good = False
        try:
            with ExitStack() as held:
                files = []
                if file is not None:
                    files.append(os.open(file, WRITING if hook == RENDER else os.O_RDONLY, 0o600))
                    held.callback(os.close, files[0])
                connection = await self._connection()
                if connection is not None:
                    files.append(held.enter_context(connection).fileno())
                answer = await process.ask(hook, handed, files, connected=connection is not None)
            good = True
            return answer
        except Failed as e:
            good = e.how in ("erred", "unreachable")
            raise
        finally:
            if good and not process.spent:
                self._idle.append(process)
            else:
                await process.end()

    async def _new(self) -> Process:
        process, hello = await Process.started(self._terms)
        if self._hello is None:
            log.info("plug-in started", plugin=self.name, hooks=sorted(hello.hooks), fences=hello.fences)
        self._hello = hello
        return process

    async def _connection(self) -> socket.socket | None:
        """A connection to the address that the option names which the plug-in connects by; the service's own doing."""
        option = self._hello.connects if self._hello is not None else None
        if option is None:
            return None
        address = str(self._terms.options.get(option, ""))
        unix = address.startswith("unix:")
        host, _, port = address.rpartition(":")
        connection = socket.socket(socket.AF_UNIX if unix else socket.AF_INET6 if ":" in host else socket.AF_INET)
        connection.setblocking(False)
        try:
            to = address.removeprefix("unix:") if unix else (host.strip("[]"), int(port))
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, to), CONNECT_SECONDS)
        except (OSError, ValueError) as e:
            connection.close()
            raise Failed("unreachable", type(e).__name__) from None
        return connection

    def _fail(self, hook: str, error: Failed) -> None:
        self._failures += 1
        pause = 0.0
        if self._failures >= FAILURES:
            pause = min(SHORTEST_PAUSE * 2 ** min(self._failures - FAILURES, 10), LONGEST_PAUSE)
            self._until = time.monotonic() + pause
        log.warning("plug-in failed", plugin=self.name, hook=hook, how=error.how, why=str(error), pause_seconds=pause)
