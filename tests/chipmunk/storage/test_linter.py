"""The linter passes what keeps the contract, and has a sentence for what breaks it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chipmunk.storage import BadKey, Missing, Stat, Store, check_key
from chipmunk.storage.linter import lint
from chipmunk.storage.linter_remote import lint_remote
from chipmunk.storage.local import LocalStore
from chipmunk.storage.memory import MemoryStore

LARGE = 70_000_000


class ByContent(MemoryStore):
    """Keys are of its own making."""

    async def put(self, key: str, source: Path) -> str:
        check_key(key)
        return await super().put(hashlib.sha256(source.read_bytes()).hexdigest(), source)

    async def delete(self, key: str) -> None:
        if key.endswith("/"):
            raise BadKey("there are no folders here")
        await super().delete(key)


class Forgetful(MemoryStore):
    async def delete(self, key: str) -> None:
        check_key(key, folder=True)


class Greedy(MemoryStore):
    async def delete(self, key: str) -> None:
        await super().delete(key)
        for below in [k for k in self._objects if k.startswith(key.rstrip("/"))]:
            del self._objects[below]


class Wholesale(MemoryStore):
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        async for chunk in super().open(key, start):
            yield chunk


class Silent(MemoryStore):
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        try:
            async for chunk in super().open(key, start, end):
                yield chunk
        except Missing:
            yield b""


class Trusting(MemoryStore):
    async def put(self, key: str, source: Path) -> str:
        self._objects[key] = (source.read_bytes(), datetime.now(UTC))
        return key


class InPieces(MemoryStore):
    async def put(self, key: str, source: Path) -> str:
        data = await asyncio.to_thread(source.read_bytes)
        for end in (len(data) // 2, len(data)):
            self._objects[check_key(key)] = (data[:end], datetime.now(UTC))
            await asyncio.sleep(0.05)
        return key


class Moving(MemoryStore):
    async def put(self, key: str, source: Path) -> str:
        await super().put(key, source)
        source.unlink()
        source.touch()
        return key


class Rounding(MemoryStore):
    async def stat(self, key: str) -> Stat | None:
        found = await super().stat(key)
        return found and Stat((found.bytes + 511) // 512 * 512, found.modified)


@pytest.mark.parametrize("kind", ["local", "memory", "by content"])
async def test_a_store_that_keeps_the_contract_passes(kind: str, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    stores: dict[str, Store] = {"local": LocalStore(tmp_path / "s"), "memory": MemoryStore(), "by content": ByContent()}
    assert await lint(stores[kind], tmp_path / "scratch", large=LARGE) == []


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        (Forgetful(), "a deleted object is still there"),
        (Greedy(), "deleting a folder took its neighbour"),
        (Wholesale(), "the range 0:1 is wrong"),
        (Silent(), "open of a missing key does not raise Missing"),
        (Trusting(), "put takes the key '../x'"),
        (InPieces(), "a reader saw a half-written object"),
        (InPieces(), "an interrupted put left half an object"),
        (Moving(), "put took its source away"),
        (Rounding(), "stat does not say 1 bytes and when"),
    ],
)
async def test_a_store_that_breaks_it_is_told_how(store: Store, sentence: str, tmp_path: Path) -> None:
    found = await lint(store, tmp_path)
    assert any(sentence in said for said in found), found


async def test_scratch_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    await lint(MemoryStore(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


async def test_a_store_that_notices_no_fault_of_its_network_is_told_so(tmp_path: Path) -> None:
    class Nothing:
        async def answer(self, status: int, times: int | None = None) -> None: ...
        async def cut(self, after: int, times: int | None = None) -> None: ...
        async def stall(self, after: int, times: int | None = None) -> None: ...
        async def gone(self) -> None: ...
        async def heal(self) -> None: ...

    found = await lint_remote(MemoryStore(), tmp_path, Nothing())
    assert {"put, gone, says that all is well", "put, cut, says that all is well"} <= set(found)
    assert "open does without a server" in found
