"""A web server of the tests' own, which says word for word what it is told to, however wrong."""

from __future__ import annotations

import asyncio
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

Page = bytes | Callable[[StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """`pages` are whole answers by path; `asked` are the heads of requests, in order."""

    port: int
    scheme: str
    host: str = "127.0.0.1"
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str, host: str = "") -> str:
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    async def answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.asked.append(head)
                page = self.pages.get(head.split(" ")[1], told(b"", "404 Not Found"))
                if isinstance(page, bytes):
                    writer.write(page)
                else:
                    await page(writer)
                await writer.drain()
        except (OSError, EOFError):
            return
        finally:
            writer.transport.abort()


def told(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer with its Content-Length and these headers, `_` for `-`."""
    given = {"Content-Length": str(len(body)), **{n.replace("_", "-"): v for n, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def moved(location: str, status: str = "302 Found") -> bytes:
    return told(b"", status, Location=location)


def endless(part: bytes, pause: float = 0, first: bytes = b"") -> Callable[[StreamWriter], Awaitable[None]]:
    """An answer without a length that goes on with `part` for as long as anybody listens."""

    async def page(writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + first)
        while True:
            await writer.drain()
            await asyncio.sleep(pause)
            writer.write(part)

    return page


def chunked(body: bytes, size: int = 100_000) -> bytes:
    """An answer in chunks, which says nothing of its length."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in [*parts, b""])
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded


@asynccontextmanager
async def site(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    made = Site(0, "http" if tls is None else "https", host)
    answering: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(
        lambda reader, writer: answering.add(asyncio.create_task(made.answer(reader, writer))), host, 0, ssl=tls
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await asyncio.sleep(0)


@contextmanager
def served(host: str) -> Iterator[Site]:
    """A site on an event loop of its own."""
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    made: list[Site] = []

    async def serve() -> None:
        async with site(host=host) as there:
            made.append(there)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
