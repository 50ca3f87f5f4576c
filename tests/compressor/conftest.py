"""The write side in this process, on real servers, without nginx."""

from __future__ import annotations

import asyncio
import base64
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from chipmunk import apps, credentials, flows, ids, keys, sessions, users
from chipmunk import media as medias
from chipmunk.config import Settings
from chipmunk.db import Database
from chipmunk.media import Media
from chipmunk.signing import Seal
from compressor.app import create
from compressor.parts import Parts
from compressor.worker import Worker

API_KEY = "cmk_" + "k" * 40
SECRET = "s" * 40


def photo(width: int = 320, height: int = 240, seed: int = 1, quality: int = 80) -> bytes:
    noise = random.Random(seed).randbytes(32 * 24 * 3)
    image = Image.frombytes("RGB", (32, 24), noise).resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def gif(frames: int = 8, width: int = 200, height: int = 150) -> bytes:
    pictures = [Image.open(io.BytesIO(photo(width, height, seed))) for seed in range(frames)]
    out = io.BytesIO()
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=50, loop=0)
    return out.getvalue()


def settings_of(data_dir: Path, database_url: str, redis_url: str, **given: Any) -> Settings:
    (data_dir / "store" / ".spool").mkdir(parents=True, exist_ok=True)
    return Settings(
        data_dir=data_dir, database_url=database_url, redis_url=redis_url,
        api_key=API_KEY, secret_keys=(SECRET,), **{"decoders": 2, "master_keys": (SECRET[::-1],), **given},
    )  # fmt: skip


@dataclass
class House:
    """An app's backend beside the write side."""

    parts: Parts
    http: httpx.AsyncClient
    app_id: int
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.parts.settings

    @property
    def database(self) -> Database:
        return self.parts.database

    async def user(self, name: str = "ann", quota: int | None = 50_000_000) -> str:
        async with self.database.transaction() as connection:
            given = frozenset({"quota_bytes"})
            made, _, _ = await users.put(connection, self.app_id, name, quota=quota, suspended=None, given=given)
        self.keys[name] = made.key
        return name

    async def flow(self, name: str, **fields: Any) -> str:
        async with self.database.transaction() as connection:
            await flows.put(connection, self.app_id, name, **fields)
        return name

    async def token(self, name: str, scopes: tuple[str, ...] = credentials.SCOPES) -> str:
        async with self.database.transaction() as connection:
            seal = Seal(self.settings.secret_keys, "session")
            opened = await sessions.create(connection, seal, self.keys[name], timedelta(hours=1), list(scopes))
        return opened.token

    async def put(self, data: bytes, user: str | None = "ann", **query: Any) -> httpx.Response:
        headers = query.pop("headers", {})
        params = {**({} if user is None else {"user": user}), **query}
        return await self.http.put("/v1/media", params=params, content=data, headers=headers)

    async def stored(self, data: bytes | None = None, **query: Any) -> dict[str, Any]:
        answer = await self.put(photo() if data is None else data, **query)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def standing(self, name: str = "ann") -> tuple[int, int, int]:
        """Used and reserved bytes, and the number of media."""
        row = await self.one("select used_bytes, reserved_bytes, media_count from users where id = $1", self.keys[name])
        return tuple(row)

    async def one(self, query: str, *values: Any) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchrow(query, *values)

    async def many(self, query: str, *values: Any) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query, *values))

    async def run(self, query: str, *values: Any) -> None:
        async with self.database.connection() as connection:
            await connection.execute(query, *values)

    async def until(self, state: str, media: str, seconds: float = 20) -> Media:
        """The media once it is in that state."""
        async with asyncio.timeout(seconds):
            while True:
                async with self.database.connection() as connection:
                    found = await medias.find(connection, UUID(hex=media))
                if found is not None and found.state == state:
                    return found
                await asyncio.sleep(0.05)

    def folder(self, media: str) -> Path:
        identifier = ids.parse_id(media)
        assert identifier is not None
        return self.settings.store_dir / ids.folder(identifier)

    def files(self) -> list[str]:
        """Every file below the store but its quarantine's."""
        root = self.settings.store_dir
        found = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
        return sorted(str(p) for p in found if p.parts[0] != ".quarantine")

    def bytes_on_disk(self) -> int:
        return sum((self.settings.store_dir / p).stat().st_size for p in self.files())

    async def nothing(self, name: str = "ann") -> bool:
        """Whether the user has nothing and nothing lies on the disk."""
        idle = await self.one("select count(*) from idempotency_keys where answer is null")
        return self.files() == [] and await self.standing(name) == (0, 0, 0) and idle[0] == 0


@asynccontextmanager
async def house_of(settings: Settings) -> AsyncIterator[House]:
    app = create(settings)
    async with app.router.lifespan_context(app):
        parts: Parts = app.state.parts
        async with parts.database.transaction() as connection:
            app_id = await apps.default_app(connection)
            await keys.keep_that_of_settings(connection, API_KEY)
        transport = httpx.ASGITransport(app=app)
        headers = {"authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers, timeout=60) as http:
            yield House(parts, http, app_id)


@asynccontextmanager
async def working(parts: Parts) -> AsyncIterator[None]:
    """A worker at work, without sweeps."""
    stopping = asyncio.Event()
    task = asyncio.create_task(Worker(parts, stopping).run())
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


@pytest.fixture
def settings(tmp_path: Path, database: str, redis_url: str) -> Settings:
    return settings_of(tmp_path / "data", database, redis_url)


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    async with house_of(settings) as house:
        await house.user()
        yield house


def form(*parts: tuple[str, str | None, bytes], boundary: str = "b0undary") -> tuple[bytes, dict[str, str]]:
    """A multipart body of (name, filename, value), and its header."""
    body = b""
    for name, filename, value in parts:
        more = "" if filename is None else f'; filename="{filename}"'
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
        )
    return body + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
