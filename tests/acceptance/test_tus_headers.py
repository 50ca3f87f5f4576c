"""What an upload says of itself in long headers comes back through nginx."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.client import App, photo
from tests.harness import System

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}
PATH = "/v1/uploads/"


@pytest.fixture
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def test_metadata_as_long_as_a_header_may_be_comes_back(app: App) -> None:
    said = "user " + base64.b64encode(app.user().encode()).decode()
    said += ",note " + base64.b64encode(b"n" * 11_000).decode()
    made = app.http.post(PATH, headers={**TUS, "Upload-Length": "10", "Upload-Metadata": said})
    assert made.status_code == 201, made.text
    found = app.http.head(made.headers["location"], headers=TUS)
    assert found.status_code == 200
    assert found.headers["upload-metadata"] == said


def test_the_addresses_of_hundreds_of_parts_come_back(app: App) -> None:
    user, data, parts = app.user(), photo(), []
    step = -(-len(data) // 250)
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        said = {"Upload-Concat": "partial", "Upload-Length": str(len(piece))}
        made = app.http.post(f"{PATH}?user={user}", headers={**TUS, **BYTES, **said}, content=piece)
        assert made.status_code == 201, made.text
        parts.append(made.headers["location"])
    whole = app.http.post(f"{PATH}?user={user}", headers={**TUS, "Upload-Concat": "final;" + " ".join(parts)})
    assert whole.status_code == 201, whole.text
    found = app.http.head(whole.headers["location"], headers=TUS)
    assert found.status_code == 200
    assert found.headers["upload-concat"] == "final;" + " ".join(parts)
