"""What leaves is encrypted: a store around any other, in which each object is sealed under one media's key.

    header: "CMSE" · version (1) · log2 of the chunk's size (1) · 0 0 · salt (16)
    chunks: AES-256-GCM of 64 KiB of plaintext, the last one of less (of nothing only where the object is empty), each
            with its tag; nonce: number of the chunk (11, big-endian) · 1 if it is the last, else 0

It is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): chunks that are changed, left out, swapped or cut
off do not open. The key is derived from the media's, the salt and the header, so no two objects share one and no nonce
comes twice under it. Any range is read with at most two chunks more than it has, and never gives a byte that was not
authenticated.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from threading import Event
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chipmunk.storage import Damaged, Missing, Stat, Store
from chipmunk.vault import KEY, TAG, derived

SALT = 16
PREFIX = b"CMSE\x01\x10\x00\x00"
HEADER = len(PREFIX) + SALT
CHUNK = 64 * 1024
SEALED = CHUNK + TAG
BATCH = 16  # chunks that go to a thread at once


class SealedStore:
    """A Store around `inner`. `key` has 32 random bytes; `scratch` holds what is on its way out, encrypted already.

    The files there are locked (flock) as long as they are in use.
    """

    def __init__(self, inner: Store, key: bytes, scratch: Path) -> None:
        if len(key) != KEY:
            raise ValueError(f"the key must have {KEY} bytes")
        self.inner = inner
        self._key = key
        self._scratch = scratch

    async def put(self, key: str, source: Path) -> str:
        sealed, given_up = self._scratch / f"sealed-{uuid4().hex}", Event()
        held = _make(sealed)
        try:
            await asyncio.to_thread(_seal, self._key, source, sealed, given_up)
            return await self.inner.put(key, sealed)
        finally:
            given_up.set()
            await asyncio.shield(asyncio.to_thread(_clear, sealed, held))

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """As of any store; and Damaged in place of the first bytes that are not what was put."""
        told = False
        for last_try in (False, True):  # header and chunks are read apart: another object may come between
            try:
                async for piece in self._opened(key, start, end):
                    told = True
                    yield piece
                return
            except Damaged:
                if told or last_try or start < CHUNK:
                    raise

    async def _opened(self, key: str, start: int, end: int | None) -> AsyncIterator[bytes]:
        first, last = start // CHUNK, None if end is None else max(end - 1, start) // CHUNK
        until = None if last is None else HEADER + (last + 1) * SEALED + 1  # a byte more tells whether it goes on
        if first == 0:
            pieces = Pieces(self.inner.open(key, 0, until))
        else:
            header = await Pieces(self.inner.open(key, 0, HEADER)).take(HEADER)
            pieces = Pieces(self.inner.open(key, HEADER + first * SEALED, until))
        try:
            if first == 0:
                header = await pieces.take(HEADER)
            elif await pieces.ended():
                await self._check_end(key, start)
                return
            async for at, plain in _plain(pieces, _cipher(self._key, bytes(header)), first, last):
                if piece := plain[max(start - at, 0) : None if end is None else max(end - at, 0)]:
                    yield piece
        finally:
            await pieces.close()

    async def _check_end(self, key: str, start: int) -> None:
        """Nothing was there from `start` on: so the object has to end before, by its own word."""
        stat = await self.stat(key)
        if stat is None:
            raise Missing()
        if stat.bytes > start:
            raise Damaged()
        async for _ in self._opened(key, max(stat.bytes - 1, 0), None):
            pass

    async def stat(self, key: str) -> Stat | None:
        """With the size of what was put, as far as the inner store's word goes; `open` proves it."""
        found = await self.inner.stat(key)
        return None if found is None else Stat(plain_size(found.bytes), found.modified)

    async def delete(self, key: str) -> None:
        await self.inner.delete(key)


class Pieces:
    """What a store gives in pieces of its own sizes, taken in ours."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._held = memoryview(b"")

    async def take(self, length: int) -> memoryview:
        """So many bytes; fewer only at the end."""
        parts, held = [self._held], len(self._held)
        while held < length and (piece := await anext(self._source, None)) is not None:
            parts.append(memoryview(piece))
            held += len(piece)
        whole = memoryview(b"".join(parts)) if len(parts) > 1 else parts[0]
        self._held = whole[length:]
        return whole[:length]

    async def ended(self) -> bool:
        """Whether there is nothing more."""
        while not self._held and (piece := await anext(self._source, None)) is not None:
            self._held = memoryview(piece)
        return not self._held

    async def close(self) -> None:
        if isinstance(self._source, AsyncGenerator):
            await self._source.aclose()


async def _plain(pieces: Pieces, cipher: AESGCM, number: int, last: int | None) -> AsyncIterator[tuple[int, bytes]]:
    """The plaintext of the chunks from `number` to `last`, or to the end, each with where it begins."""
    while last is None or number <= last:
        count = BATCH if last is None else min(BATCH, last + 1 - number)
        sealed = await pieces.take(count * SEALED)
        ended = await pieces.ended()
        yield number * CHUNK, await asyncio.to_thread(_open, cipher, sealed, number, ended)
        if ended:
            return
        number += count


def _cipher(key: bytes, header: bytes) -> AESGCM:
    if len(header) != HEADER or not header.startswith(PREFIX):
        raise Damaged()
    return AESGCM(derived(key, header[-SALT:], b"chipmunk.sealed." + PREFIX))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _open(cipher: AESGCM, sealed: memoryview, number: int, ended: bool) -> bytes:
    """The plaintext of some chunks; `ended`: nothing comes after them."""
    plain = []
    count = max(1, -(-len(sealed) // SEALED))
    for index in range(count):
        chunk = sealed[index * SEALED : (index + 1) * SEALED]
        try:
            plain.append(cipher.decrypt(_nonce(number + index, ended and index == count - 1), chunk, None))
        except InvalidTag:
            raise Damaged() from None
    return b"".join(plain)


def _make(path: Path) -> int:
    """An empty file, locked: what a dead process has left is told from it by that."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def _clear(path: Path, held: int) -> None:
    path.unlink(missing_ok=True)
    os.close(held)


def _seal(key: bytes, source: Path, target: Path, given_up: Event) -> None:
    """Encrypts into a file that is there already: one that was given up is not made again."""
    header = PREFIX + os.urandom(SALT)
    cipher, number = _cipher(key, header), 0
    with source.open("rb") as read, open(os.open(target, os.O_WRONLY), "wb") as write:
        write.write(header)
        chunk = read.read(CHUNK)
        while not given_up.is_set():
            following = read.read(CHUNK)
            write.write(cipher.encrypt(_nonce(number, not following), chunk, None))
            if not following:
                return
            chunk, number = following, number + 1


def sealed_size(plain: int) -> int:
    """What so many bytes take once they are sealed."""
    return HEADER + plain + TAG * max(1, -(-plain // CHUNK))


def plain_size(sealed: int) -> int:
    """The other way round. Damaged where no object has this size."""
    body = sealed - HEADER
    plain = body - TAG * -(-body // SEALED)
    if plain < 0 or sealed_size(plain) != sealed:
        raise Damaged()
    return plain
