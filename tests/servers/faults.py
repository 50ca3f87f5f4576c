"""A TCP proxy in front of a real server that can be told to misbehave; the linter's `Faults`."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE|OPTIONS) ")
CHUNK = 64 * 1024


@dataclass(slots=True)
class Fault:
    kind: Literal["answer", "cut", "stall", "damage", "deafen"]
    amount: int  # the status, or after how many bytes of a request or an answer
    times: int | None
    on: bytes = b""  # what the first line of the request has in it


@dataclass(slots=True)
class Exchange:
    """One request on a connection, and what befalls it."""

    fault: Fault | None = None
    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Proxy:
    """`url` stands for `target`. `bodies`: what is answered with a status, as the server would. `lines`: what was asked."""

    target: str
    bodies: dict[int, bytes] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    lines: list[str] = field(default_factory=list)
    _fault: Fault | None = None
    _server: asyncio.Server | None = None
    _port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gone()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    async def answer(self, status: int, times: int | None = None) -> None:
        self._fault = Fault("answer", status, times)

    async def cut(self, after: int, times: int | None = None, on: bytes = b"") -> None:
        self._fault = Fault("cut", after, times, on)

    async def stall(self, after: int, times: int | None = None) -> None:
        self._fault = Fault("stall", after, times)

    async def damage(self, after: int, times: int | None = None, on: bytes = b"") -> None:
        """One byte of a request is another."""
        self._fault = Fault("damage", after, times, on)

    async def deafen(self, times: int | None = None, on: bytes = b"") -> None:
        """The request goes through, and the connection breaks before the answer is heard."""
        self._fault = Fault("deafen", 0, times, on)

    async def gone(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def heal(self) -> None:
        self._fault = None
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, ssl=self.tls)
        self._port = self._server.sockets[0].getsockname()[1]

    def _next_fault(self, line: bytes) -> Fault | None:
        fault = self._fault
        if fault is None or fault.on not in line:
            return None
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._fault = None
        return fault

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = urlsplit(self.target)
        back, forth = await asyncio.open_connection(host.hostname, host.port)
        exchange = Exchange()
        try:
            async with asyncio.TaskGroup() as group:
                answers = group.create_task(self._answers(back, writer, exchange))
                await self._requests(reader, writer, forth, exchange)
                answers.cancel()
        except BaseExceptionGroup:
            pass
        finally:
            forth.transport.abort()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        forth: asyncio.StreamWriter,
        exchange: Exchange,
    ) -> None:
        while data := await reader.read(CHUNK):
            if REQUEST.match(data):
                self.lines.append(data.partition(b" HTTP/")[0].decode())
                exchange.fault = self._next_fault(data.partition(b"\r\n")[0])
                exchange.sent = exchange.received = 0
            fault = exchange.fault
            if fault is not None and fault.kind == "answer":
                await self._refuse(fault.amount, reader, writer)
                return
            if (
                fault is not None
                and fault.kind == "damage"
                and exchange.sent <= fault.amount < exchange.sent + len(data)
            ):
                at = fault.amount - exchange.sent
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            forth.write(await _limited(fault, exchange.sent, data))
            exchange.sent += len(data)
            await forth.drain()

    async def _answers(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange) -> None:
        while data := await back.read(CHUNK):
            if exchange.fault is not None and exchange.fault.kind == "deafen":
                raise ConnectionError
            writer.write(await _limited(exchange.fault, exchange.received, data))
            exchange.received += len(data)
            await writer.drain()
        raise ConnectionError

    async def _refuse(self, status: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = self.bodies.get(status, b"")
        head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        try:
            async with asyncio.timeout(1):
                while await reader.read(CHUNK):
                    pass
        except TimeoutError:
            pass


async def _limited(fault: Fault | None, passed: int, data: bytes) -> bytes:
    """What of the data goes through; never returns where the rest stalls, ConnectionError where the line breaks."""
    if fault is None or fault.kind not in ("cut", "stall") or passed + len(data) <= fault.amount:
        return data
    if fault.kind == "stall":
        await asyncio.Event().wait()
    raise ConnectionError
