"""A tus client that says just what a test wants, and one that is cut in the middle of a body."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import httpx

from tests.compressor.conftest import API_KEY, House

PATH = "/v1/uploads/"
TUS = {"tus-resumable": "1.0.0"}
BYTES = {"content-type": "application/offset+octet-stream"}


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def checksum(data: bytes, algorithm: str = "sha1") -> dict[str, str]:
    digest = hashlib.new(algorithm, data).digest()
    return {"upload-checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


async def create(house: House, length: int | None = None, **given: Any) -> httpx.Response:
    """Begins an upload, ann's unless `user` says otherwise."""
    headers, content = given.pop("headers", {}), given.pop("content", None)
    said = {"user": "ann", "filename": "a.jpg", **given}
    about = {"upload-metadata": metadata(**{k: v for k, v in said.items() if v is not None})}
    sized = {} if length is None else {"upload-length": str(length)}
    kind = {} if content is None else BYTES
    return await house.http.post(PATH, headers={**TUS, **about, **sized, **kind, **headers}, content=content)


async def created(house: House, length: int | None = None, **given: Any) -> str:
    answer = await create(house, length, **given)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


async def patch(house: House, where: str, data: bytes, offset: int = 0, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.http.patch(where, headers={**TUS, **BYTES, "upload-offset": str(offset), **named}, content=data)


async def head(house: House, where: str, **headers: str) -> httpx.Response:
    return await house.http.head(where, headers={**TUS, **headers})


async def told(house: House, where: str) -> dict[str, Any]:
    answer = await house.http.get(where)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def cut(house: House, method: str, where: str, chunks: Sequence[bytes], **headers: str) -> int | None:
    """Sends these chunks, and then the connection is lost. The status that nobody got, where there was one."""
    named = {**TUS, **BYTES, "authorization": f"Bearer {API_KEY}"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    coming = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": method,
        "path": where,
        "raw_path": where.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    await house.http._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    return statuses[0] if statuses else None
