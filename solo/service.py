"""A service is data: what to run, and how to tell that it is ready and how to end it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Service:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    prepare: Service | None = None
    ready: Probe | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    sockets: Sequence[int] = ()
    nice: int = 0


def answers(address: str, request: bytes, wanted: bytes) -> Probe:
    """Whether `unix:/path` or `host:port` answers the request with something that begins as wanted."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await _connect(address)
                try:
                    writer.write(request)
                    return (await reader.read(len(wanted))).startswith(wanted)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    return probe


def serves(address: str, path: str) -> Probe:
    """Whether a GET of the path is answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    return answers(address, request, b"HTTP/1.1 200 ")


def says_ready(pid_file: Path) -> Probe:
    """Whether PostgreSQL's pid file says, in its eighth line, that connections are taken; as pg_ctl does."""

    async def probe() -> bool:
        try:
            return pid_file.read_text().splitlines()[7].strip() == "ready"  # noqa: ASYNC240 (ten lines)
        except (OSError, IndexError):
            return False

    return probe


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))
