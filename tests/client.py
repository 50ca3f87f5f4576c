"""An app's backend and its users, as they would call Chipmunk: through nginx, with a plain HTTP client."""

from __future__ import annotations

import hashlib
import io
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from chipmunk.ids import folder, parse_id
from tests.harness import System, until

NUMBERS = count(1)


def fresh(what: str) -> str:
    """A name that no other test uses."""
    return f"{what}-{os.getpid()}-{next(NUMBERS)}"


def photo(width: int = 640, height: int = 480, seed: int = 1, quality: int = 85) -> bytes:
    """A JPEG with coarse and fine detail, other bytes for each seed."""
    noise = random.Random(seed).randbytes(64 * 48 * 3)
    image = Image.frombytes("RGB", (64, 48), noise).resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


class App:
    """An app's backend."""

    def __init__(self, system: System, timeout: float = 60) -> None:
        self.system = system
        self._timeout, self._clients = timeout, list[httpx.Client]()
        self.http = self._client(system.app)

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def _client(self, headers: dict[str, str]) -> httpx.Client:
        client = httpx.Client(base_url=self.system.url, headers=headers, timeout=self._timeout)
        self._clients.append(client)
        return client

    def user(self, **fields: object) -> str:
        name = fresh("user")
        answer = self.http.put(f"/v1/users/{name}", json=fields)
        assert answer.status_code in (200, 201), answer.text
        return name

    def standing(self, user: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/users/{user}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def upload(self, user: str, data: bytes, **query: object) -> httpx.Response:
        return self.http.put("/v1/media", params={"user": user, "filename": "a.jpg", **query}, content=data)

    def stored(self, user: str, data: bytes | None = None, **query: object) -> dict[str, Any]:
        """Uploads, expects 201, and waits until the ladder is done."""
        answer = self.upload(user, photo() if data is None else data, **query)
        assert answer.status_code == 201, answer.text
        return self.ready(answer.json()["id"])

    def ready(self, media: str, seconds: float = 30) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def done() -> bool:
            found.update(self.http.get(f"/v1/media/{media}").json())
            return found["status"] != "processing"

        until(done, seconds, f"the ladder of {media}")
        return found

    def ready_soon(self, media: str) -> dict[str, Any]:
        """The same of one that a job is still to make."""
        until(lambda: self.http.get(f"/v1/media/{media}").status_code == 200, 30, f"the media {media}")
        return self.ready(media)

    def session(self, user: str, ttl_seconds: int = 3600, **fields: object) -> dict[str, Any]:
        answer = self.http.post("/v1/sessions", json={"user": user, "ttl_seconds": ttl_seconds, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def viewer(self, user: str, **fields: object) -> httpx.Client:
        """A client that is logged in as the user."""
        token = self.session(user, **fields)["token"]
        return self._client({"Authorization": f"Bearer {token}"})

    def anonymous(self) -> httpx.Client:
        return self._client({})


def media_folder(system: System, media: str) -> Path:
    identifier = parse_id(media)
    assert identifier is not None
    return system.data_dir / "store" / folder(identifier)


def disk_bytes(system: System, medias: list[str]) -> int:
    """What the folders of these media weigh."""
    return sum(f.stat().st_size for m in medias for f in media_folder(system, m).iterdir())


def leftovers(system: System) -> list[str]:
    """Files that are in no media's folder: spooled bodies and half-made uploads."""
    store = system.data_dir / "store"
    return [
        str(p.relative_to(store)) for part in (".spool", ".inbox") for p in (store / part).rglob("*") if p.is_file()
    ]


@contextmanager
def leaves_nothing(app: App, user: str) -> Iterator[None]:
    """What happens inside costs the user nothing and leaves no file, a moment later at the latest."""
    before, files = app.standing(user), set(leftovers(app.system))
    yield

    def same() -> bool:
        now = app.standing(user)
        kept = ("used_bytes", "reserved_bytes", "media_count")
        return all(now[k] == before[k] for k in kept) and not set(leftovers(app.system)) - files

    until(same, 10, f"{user} as before: {before}")


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, which has this status and code."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.headers
    body = dict(answer.json())
    assert (body["status"], body["code"]) == (status, code), body
    assert body["title"]
    assert body["detail"]
    return body


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wait_healthy(system: System, seconds: float = 30) -> None:
    until(system.healthy, seconds, "a healthy system")
    time.sleep(0.1)
