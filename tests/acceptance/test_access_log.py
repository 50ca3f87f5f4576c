"""The access log says what clients were told, uploads that broke off among them."""

from __future__ import annotations

import json
import socket
import time

from tests.client import App, fresh, photo
from tests.harness import System, until


def statuses(system: System, path: str) -> list[int]:
    lines = [json.loads(line) for line in system.log("access").splitlines()]
    return [line["status"] for line in lines if line["path"] == path]


def logged(system: System) -> int:
    """How many lines there are of uploads, once those of tests before have been written."""
    while True:
        before = len(statuses(system, "/v1/media"))
        time.sleep(1.5)
        if len(statuses(system, "/v1/media")) == before:
            return before


def test_an_upload_is_logged_with_the_status_of_its_answer(system: System) -> None:
    with App(system) as app:
        user = app.user()
        before = logged(system)
        assert app.upload(user, photo()).status_code == 201
        assert app.upload(user, b"nonsense").status_code == 415
        assert app.upload(fresh("nobody"), photo()).status_code == 422
        assert app.upload(user, photo(), flow="nope").status_code == 422
        until(lambda: len(statuses(system, "/v1/media")) == before + 4, what="four lines")
        assert statuses(system, "/v1/media")[before:] == [201, 415, 422, 422]


def test_an_upload_that_breaks_off_is_logged_as_such(system: System) -> None:
    with App(system) as app:
        user = app.user()
        before = logged(system)
        with socket.create_connection(("127.0.0.1", system.port)) as connection:
            lines = [f"PUT /v1/media?user={user} HTTP/1.1", "Host: x", "Content-Length: 100000"]
            lines += [f"{name}: {value}" for name, value in system.app.items()]
            connection.sendall("\r\n".join([*lines, "", "half"]).encode())
            until(lambda: app.standing(user)["reserved_bytes"] > 0, what="a reservation")
        until(lambda: len(statuses(system, "/v1/media")) == before + 1, what="a line")
        assert statuses(system, "/v1/media")[before:] == [499]


def test_what_the_pre_check_refuses_carries_its_request_id(system: System) -> None:
    with App(system) as app:
        answer = app.upload(app.user(quota_bytes=10), photo())
        assert (answer.status_code, len(answer.headers["x-request-id"])) == (413, 32)
