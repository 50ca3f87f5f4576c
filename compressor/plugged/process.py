"""The service's end of one process of a plug-in. Whatever it does ends in an answer or in `Failed`, in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from chipmunk import hooks
from chipmunk.hooks import Answer, Handed
from compressor.plugged.child import MESSAGE_BYTES

START_SECONDS = 30.0
CLEAN = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
CHILD = "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from compressor.plugged.child import main; main()"
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A plug-in did not answer as it may. `how`: died, late, babbled, erred or unreachable."""

    def __init__(self, how: str, why: str = "") -> None:
        super().__init__(why or how)
        self.how = how


@dataclass(frozen=True, slots=True)
class Terms:
    """How a plug-in is started: its class, its options, and its limits."""

    name: str
    entry: str
    options: dict[str, Any]
    memory_bytes: int
    seconds: int

    @property
    def cpu_seconds(self) -> int:
        """Of a process's life. It is replaced after half of that, so that no question is the one too many."""
        return 4 * self.seconds * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Hello:
    """What a plug-in is, as it says itself."""

    hooks: frozenset[str]
    kinds: frozenset[str]
    connects: str | None
    fences: tuple[str, ...]


class Process:
    """Between questions it stands still (SIGSTOP): nobody pays for what it might do uncalled."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        path = json.dumps([str(Path(p).resolve()) for p in sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", CHILD, str(theirs.fileno()), path],
            pass_fds=(theirs.fileno(),),
            env=CLEAN,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    @classmethod
    async def started(cls, terms: Terms) -> tuple[Self, Hello]:
        try:
            process = cls(terms)
        except OSError as e:  # no memory for it, or too many are there
            raise Failed("died", e.strerror or "") from None
        try:
            told = {"entry": terms.entry, "options": terms.options, "memory_bytes": terms.memory_bytes}
            process._send({**told, "cpu_seconds": terms.cpu_seconds}, [])
            said = await process._heard(START_SECONDS)
            if "error" in said:
                raise Failed("erred", str(said["error"])[:200])
            hello = Hello(
                frozenset(said["hooks"]) & set(hooks.HOOKS),
                frozenset(said["kinds"]) & hooks.KINDS,
                None if said["connects"] is None else str(said["connects"]),
                tuple(str(f)[:20] for f in said["fences"][:5]),
            )
        except BaseException as e:
            await process.end()
            if isinstance(e, KeyError | TypeError):
                raise Failed("babbled") from None
            raise
        process._signal(signal.SIGSTOP)
        return process, hello

    async def ask(self, hook: str, handed: Handed, files: list[int], *, connected: bool) -> Answer:
        """Its answer. After any Failed but `erred` the process is of no more use."""
        identifier = token_hex(8)
        self._signal(signal.SIGCONT)
        self._send({"id": identifier, "hook": hook, "connected": connected, "handed": hooks.sent(handed)}, files)
        said = await self._heard(self._terms.seconds)
        self._signal(signal.SIGSTOP)
        if said.get("id") != identifier:
            raise Failed("babbled")
        if "error" in said:
            raise Failed("erred", str(said["error"])[:200])
        try:
            return hooks.heard(hook, said.get("answer"))
        except hooks.BadAnswer as e:
            raise Failed("erred", str(e)) from None

    @property
    def spent(self) -> bool:
        """Whether it has had half of the CPU seconds that it may ever have, or has ended."""
        if self._process.poll() is not None:
            return True
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        return (int(fields[11]) + int(fields[12])) / TICKS > self._terms.cpu_seconds / 2

    async def end(self) -> None:
        self._ours.close()
        self._process.kill()
        await asyncio.shield(asyncio.to_thread(self._process.wait))

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _send(self, message: dict[str, Any], files: list[int]) -> None:
        try:
            socket.send_fds(self._ours, [json.dumps(message).encode()], files)
        except OSError:
            raise Failed("died") from None

    async def _heard(self, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                data = await self._message()
        except TimeoutError:
            raise Failed("late") from None
        except OSError:
            raise Failed("died") from None
        if not data:
            raise Failed("died")
        try:
            said = json.loads(data) if len(data) <= MESSAGE_BYTES else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Failed("babbled")
        return said

    async def _message(self) -> bytes:
        """The next message, cut where it is longer than one may be; empty: it has ended."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._ours, ready.set)
        try:
            while True:
                with suppress(BlockingIOError):
                    return self._ours.recv(MESSAGE_BYTES + 1)
                ready.clear()
                await ready.wait()
        finally:
            loop.remove_reader(self._ours)
