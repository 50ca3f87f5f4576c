"""An app's backend that is told of what happens by webhooks: a real HTTP server in threads of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Told:
    """One request; `number` counts those with its id."""

    path: str
    headers: dict[str, str]
    body: bytes
    number: int

    @property
    def message(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        return str(self.message["type"])

    @property
    def about(self) -> str:
        return str(self.message["data"].get("id"))

    def signed_by(self, secret: str) -> bool:
        try:
            Webhook(secret).verify(self.body, self.headers)
        except Exception:
            return False
        return True


Answer = tuple[int, dict[str, str]]


@dataclass
class Listener:
    """`answer` says what each request is answered, and may take its time; `done` are the requests that were, in order."""

    url: str
    answer: Callable[[Told], int | Answer] = lambda _: 204
    asked: list[Told] = field(default_factory=list)
    done: list[tuple[Told, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def taken(self) -> list[Told]:
        """What was answered with a 2xx."""
        return [told for told, status in self.done if 200 <= status < 300]

    def types(self, about: str) -> list[str]:
        return [told.type for told in self.taken if told.about == about]


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[Listener]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with made.lock:
                number = 1 + sum(t.headers.get("webhook-id") == headers.get("webhook-id") for t in made.asked)
                told = Told(self.path, headers, body, number)
                made.asked.append(told)
            answered = made.answer(told)
            status, more = answered if isinstance(answered, tuple) else (answered, {})
            with made.lock:
                made.done.append((told, status))
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if status not in (199, 204, 304):
                    self.send_header("content-length", "2")
                self.end_headers()
                if status not in (199, 204, 304):
                    self.wfile.write(b"ok")
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """The tests look at what was asked."""

    server = ThreadingHTTPServer((host, 0), Handler)
    made = Listener(f"http://{host}:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
