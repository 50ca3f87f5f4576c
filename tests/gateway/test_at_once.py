"""The authorizer's way of answering at once, by a real server on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from chipmunk.serving import listen
from gateway.at_once import AtOnce

KNOWN = b"HTTP/1.1 204 No Content\r\nx-media: at once\r\n\r\n"
QUESTION = b"GET /decide HTTP/1.1\r\nHost: a\r\nX-Media-Id: %b\r\n\r\n"


class App:
    """Knows one id by heart, asks about `asked` and `broken`, and leaves every other to ASGI."""

    def answer(self, headers: list[tuple[bytes, bytes]]) -> bytes | Awaitable[bytes] | None:
        given = dict(headers).get(b"x-media-id", b"")
        if given in (b"asked", b"broken"):
            return self._asked(given)
        return KNOWN if given == b"known" else None

    async def _asked(self, given: bytes) -> bytes:
        await asyncio.sleep(0.1)
        if given == b"broken":
            raise RuntimeError
        return KNOWN.replace(b"at once", b"asked")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        await asyncio.sleep(0.05)
        given = dict(scope["headers"]).get(b"x-media-id", b"none")
        headers = [(b"content-length", b"0"), (b"x-media", b"%b of %b" % (given, scope["path"].encode()))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(
        App(), http=AtOnce, loop="uvloop", lifespan="on", log_config=None, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listen(f"unix:{tmp_path}/s")]})
    thread.start()
    yield server
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def connection(server: uvicorn.Server, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(f"{tmp_path}/s")
        yield connection


def said(connection: socket.socket, answers: int) -> list[str]:
    """What so many answers say, in the order in which they come."""
    text = b""
    while text.count(b"\r\n\r\n") < answers:
        more = connection.recv(4096)
        assert more, text
        text += more
    return [line.partition(": ")[2] for line in text.decode().splitlines() if line.lower().startswith("x-media:")]


def test_what_is_known_is_answered_at_once_again_and_again_on_one_connection(connection: socket.socket) -> None:
    for _ in range(3):
        connection.sendall(QUESTION % b"known")
        assert said(connection, 1) == ["at once"]


def test_all_else_is_the_apps_before_and_after(connection: socket.socket) -> None:
    for given, answer in ((b"other", "other of /decide"), (b"known", "at once"), (b"another", "another of /decide")):
        connection.sendall(QUESTION % given)
        assert said(connection, 1) == [answer]
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Media-Id: known\r\n\r\n")
    assert said(connection, 1) == ["known of /livez"]


def test_answers_keep_the_order_of_questions_that_came_together(connection: socket.socket) -> None:
    connection.sendall(QUESTION % b"slow" + QUESTION % b"known" + QUESTION % b"known")
    assert said(connection, 3) == ["slow of /decide", "known of /decide", "known of /decide"]


def test_what_has_to_be_asked_for_is_answered_in_its_turn(connection: socket.socket) -> None:
    connection.sendall(QUESTION % b"asked")
    assert said(connection, 1) == ["asked"]
    connection.sendall(QUESTION % b"asked" + QUESTION % b"known" + QUESTION % b"asked")
    assert said(connection, 3) == ["asked", "at once", "asked"]
    connection.sendall(QUESTION % b"known" + QUESTION % b"other")
    assert said(connection, 2) == ["at once", "other of /decide"]


@pytest.mark.parametrize("more", [b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", QUESTION % b"other"])
def test_nothing_else_is_answered_before_it(connection: socket.socket, more: bytes) -> None:
    connection.sendall(QUESTION % b"asked" + more)
    assert connection.recv(1) == b""


def test_where_it_fails_the_connection_is_closed(connection: socket.socket) -> None:
    connection.sendall(QUESTION % b"broken")
    assert connection.recv(1) == b""


def test_what_was_asked_is_answered_before_the_end(server: uvicorn.Server, connection: socket.socket) -> None:
    connection.sendall(QUESTION % b"asked")
    time.sleep(0.02)
    server.should_exit = True
    assert said(connection, 1) == ["asked"]
    assert connection.recv(1) == b""


def test_a_question_in_pieces_and_one_with_a_body_are_answered_once(connection: socket.socket) -> None:
    for byte in QUESTION % b"known":
        connection.sendall(bytes([byte]))
    assert said(connection, 1) == ["at once"]
    connection.sendall(
        (QUESTION % b"known").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc") + QUESTION % b"known"
    )
    assert said(connection, 2) == ["at once", "at once"]


def test_who_asks_for_it_gets_the_connection_closed(connection: socket.socket) -> None:
    connection.sendall((QUESTION % b"known").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert said(connection, 1) == ["known of /decide"]
    assert connection.recv(1) == b""


def test_idle_connections_do_not_hold_up_the_end(server: uvicorn.Server, connection: socket.socket) -> None:
    connection.sendall(QUESTION % b"known")
    said(connection, 1)
    server.should_exit = True
    assert connection.recv(1) == b""
