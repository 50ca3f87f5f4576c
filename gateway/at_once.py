"""Answers to questions that nothing has to be waited for, without the scope and the task that uvicorn makes of each request."""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

QUESTION = b"/decide"


class Recalling(Protocol):
    """What the ASGI app has to have for it."""

    def recall(self, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """The whole answer as it goes over the wire, or None where the app is to be called."""


class AtOnce(HttpToolsProtocol):
    """uvicorn's protocol, which it is for every other request.

    A connection on which all was answered so has no timeout: nginx closes what it keeps idle.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._recalling: Recalling = self.config.app  # type: ignore[assignment]
        self._answered = False

    def on_headers_complete(self) -> None:
        self._answered = False
        if (
            self.url == QUESTION
            and self.parser.should_keep_alive()
            and (not self.cycle or self.cycle.response_complete)
        ):
            answer = self._recalling.recall(self.headers)
            if answer is not None:
                self._answered = True
                self.transport.write(answer)
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._answered:
            super().on_message_complete()
