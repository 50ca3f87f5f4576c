"""Answers to nginx's questions, at once where nothing has to be waited for, without the scope and the messages of ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

QUESTION = b"/decide"


class Answering(Protocol):
    """What the ASGI app has to have for it."""

    def answer(self, headers: list[tuple[bytes, bytes]]) -> bytes | Awaitable[bytes] | None:
        """The whole answer as it goes over the wire, or what gives it; None where the app is to be called."""


class AtOnce(HttpToolsProtocol):
    """uvicorn's protocol, which it is for every other request.

    A connection on which all was answered so has no timeout: nginx closes what it keeps idle.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._answering: Answering = self.config.app  # type: ignore[assignment]
        self._answered = False
        self._asking: asyncio.Task[None] | None = None
        self._last = False

    def on_headers_complete(self) -> None:
        answer = None
        if (
            self.url == QUESTION
            and self.parser.should_keep_alive()
            and (not self.cycle or self.cycle.response_complete)
        ):
            answer = self._answering.answer(self.headers)
        self._answered = answer is not None or self._asking is not None
        if not self._answered:
            super().on_headers_complete()
        elif answer is None:
            self.transport.close()  # who asks for something else before the answer does not get it out of turn
        elif self._asking is None and isinstance(answer, bytes):
            self.transport.write(answer)
        else:
            self._asking = self.loop.create_task(self._write(answer, self._asking))
            self.tasks.add(self._asking)
            self._asking.add_done_callback(self._written)

    async def _write(self, answer: bytes | Awaitable[bytes], before: asyncio.Task[None] | None) -> None:
        said = answer if isinstance(answer, bytes) else await answer
        if before is not None:
            await asyncio.wait({before})
        if self._asking is asyncio.current_task():
            self._asking = None
        if not self.transport.is_closing():
            self.transport.write(said)

    def _written(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if task.cancelled() or task.exception() is not None or (self._last and self._asking is None):
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._answered:
            super().on_message_complete()

    def shutdown(self) -> None:
        """Lets what was asked be answered before the connection is closed."""
        if self._asking is None:
            super().shutdown()
        self._last = True
