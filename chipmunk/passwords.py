"""Passwords of links: hashed by argon2id, away from the event loop, and only so many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from chipmunk.errors import Unavailable

# The second of the equally strong choices for argon2id in OWASP's Password Storage Cheat Sheet (2025), in KiB and passes.
MEMORY, PASSES, LANES = 19 * 1024, 2, 1
AT_ONCE = 2  # which is as many times MEMORY
MOST_WAITING = 32
T = TypeVar("T")


class Passwords:
    """Hashes and compares; Unavailable where too many wait already. A hash takes about 25 ms of a core."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY, parallelism=LANES, type=Type.ID)
        self._threads = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What is kept of it, with its parameters and its salt."""
        return await self._apart(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, kept: str, password: str) -> bool:
        return await self._apart(lambda: self._compare(kept, password))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compare(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, _bytes(password))
        except VerifyMismatchError:
            return False

    async def _apart(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Unavailable(retry_after=1)
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._threads.submit(work))
        finally:
            self._waiting -= 1


def _bytes(password: str) -> bytes:
    """The same for every way in which a keyboard may put the same letters together."""
    return normalize("NFC", password).encode()
