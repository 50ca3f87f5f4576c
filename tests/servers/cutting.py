"""A TCP proxy that cuts connections: each after as many bytes from the client, or to it, as it is told or as chance will."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

CHUNK = 16 * 1024
NEVER = 1 << 62


class Cutter:
    """`url` stands for the server at `port`. `plan` gives after how many bytes each way the next connection is cut."""

    def __init__(self, port: int, plan: Callable[[], tuple[int, int]] = lambda: (NEVER, NEVER)) -> None:
        self.plan = plan
        self.cuts = 0
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
            transport.abort()  # of whom the end came between accepting and serving
        self._loop.run_until_complete(asyncio.sleep(0.1))  # what was reset is closed at the loop's next turn

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = self.plan()
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        tasks = [
            asyncio.create_task(self._pump(reader, outer, there)),
            asyncio.create_task(self._pump(inner, writer, back)),
        ]
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for side in (writer, outer):
            _reset(side)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int) -> None:
        left = most
        while data := await reader.read(min(CHUNK, left) or 1):
            if left == 0:
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()
            left -= len(data)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Cuts as a network does that went away: with a reset, and nothing said before."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
