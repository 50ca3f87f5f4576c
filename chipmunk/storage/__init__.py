"""Stores: where the bytes of media lie. A store is these four methods; more powers are protocols of their own.

An object key is `ab/cd/<media id>/<file>`. `storage.linter` is this contract as a program.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from chipmunk.errors import NotFound

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}){0,15}/?")
LONGEST_KEY = 1024


class BadKey(ValueError):
    """The text is no object key."""


class Missing(NotFound):
    """The store has no object of that key."""

    sentence = "The bytes are not there."


@dataclass(frozen=True, slots=True)
class Stat:
    """An object's size in bytes, and when it was stored."""

    bytes: int
    modified: datetime


class Store(Protocol):
    """Keeps objects for good: what `put` returned for is there after a crash."""

    async def put(self, key: str, source: Path) -> str:
        """Keeps the file's bytes under `key`, whole or not at all, and returns the key used. The source stays."""
        ...

    def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, without, `end`. Raises Missing. An end past the object's is the object's."""
        ...

    async def stat(self, key: str) -> Stat | None:
        """Size and time, or None."""
        ...

    async def delete(self, key: str) -> None:
        """Takes the object, or with a `/` at the end all below it. A missing one is fine."""
        ...


def check_key(key: str, *, folder: bool = False) -> str:
    """The key, or BadKey: relative, without empty, hidden or dotted steps. Only a `folder` may end in `/`."""
    if len(key) > LONGEST_KEY or not KEY.fullmatch(key) or (key.endswith("/") and not folder):
        raise BadKey("not an object key")
    return key
