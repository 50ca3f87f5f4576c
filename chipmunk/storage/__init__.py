"""Stores: where the bytes of media lie. A store is these four methods; more powers are protocols of their own.

An object key is `ab/cd/<media id>/<file>`; a store that is addressed by content keeps under a key of its own making, which
`put` returns. `storage.linter` is this contract as a program.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from chipmunk.errors import NotFound, Unavailable

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}){0,15}/?")
LONGEST_KEY = 1024


class BadKey(ValueError):
    """The text is no object key."""


class Missing(NotFound):
    """The store has no object of that key."""

    sentence = "The bytes are not there."


class Damaged(Missing):
    """What lies there is not what was put: it fails its own check, and none of it is given out."""

    sentence = "The bytes are not as they were stored."


class StoreUnavailable(Unavailable):
    """The store cannot be reached, refuses us or is too slow: what was asked may work later."""

    code = "store_unavailable"
    sentence = "The store cannot be used now; try again."


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
        """Takes the object, or with a `/` at the end all below it (where keys are ours). A missing one is fine."""
        ...


@runtime_checkable
class Checking(Protocol):
    """Of stores that lie elsewhere: can tell whether they are there, and have to be closed."""

    async def check(self) -> None:
        """Whether objects can be kept and read now; else StoreUnavailable, with a sentence that says what is wrong."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class ByContent(Protocol):
    """Addressed by content: objects that are equal share a key, and what one is kept for has to be said."""

    async def unpin(self, key: str, name: str) -> None:
        """Gives up the object that was put under this name; its content goes with the last. A missing one is fine."""
        ...

    def named(self, prefix: str = "") -> AsyncIterator[tuple[str, Stat]]:
        """Every name that begins so and that an object is kept under, in no order. `delete` takes names too."""
        ...


@runtime_checkable
class ServedFromDisk(Protocol):
    """nginx can send the objects as files."""

    def path(self, key: str) -> Path:
        """Where the object of this key lies."""
        ...


@runtime_checkable
class Listing(Protocol):
    """Can tell what it holds: for the scrub, which looks for what no row knows."""

    def listed(self, prefix: str = "") -> AsyncIterator[tuple[str, Stat]]:
        """Every object whose key begins so, in no order."""
        ...


@dataclass(frozen=True, slots=True)
class Presigned:
    """A request that a browser may make without a credential until it expires. `fields` are for a form (POST), the file
    last."""

    method: str
    url: str
    headers: dict[str, str]
    fields: dict[str, str]


@runtime_checkable
class PresigningUploads(Protocol):
    async def presign_put(self, key: str, mime: str, ttl: timedelta, length: int | None = None) -> Presigned:
        """A PUT of the body with that Content-Type, and where given of exactly that length in bytes."""
        ...

    async def presign_post(self, key: str, mime: str, ttl: timedelta, most_bytes: int) -> Presigned:
        """A form, whose policy holds the body to that type and to 1 to `most_bytes` bytes."""
        ...

    async def begin_parts(self, key: str, mime: str) -> str:
        """Begins an upload in parts and returns its id."""
        ...

    async def presign_part(self, key: str, upload: str, number: int, ttl: timedelta) -> Presigned:
        """A PUT of part `number`, from 1 to 10,000; all but the last have 5 MiB or more."""
        ...

    async def finish_parts(self, key: str, upload: str) -> None:
        """Makes the parts that have arrived one object; Missing where there are none."""
        ...

    async def abort_parts(self, key: str, upload: str) -> None:
        """Drops an upload in parts. A missing one is fine."""
        ...

    async def abort_stale(self, older_than: timedelta) -> int:
        """Drops the uploads in parts that were begun so long ago, our own puts' too, and returns how many."""
        ...


@runtime_checkable
class PresigningReads(Protocol):
    async def presign_get(self, key: str, ttl: timedelta) -> Presigned:
        """A GET of the object: for parts of this system, never for a viewer."""
        ...


@runtime_checkable
class LettingPagesIn(Protocol):
    async def cors(self, origins: Collection[str]) -> None:
        """Lets pages of these origins send what was presigned for, and no others."""
        ...


def check_key(key: str, *, folder: bool = False) -> str:
    """The key, or BadKey: relative, without empty, hidden or dotted steps. Only a `folder` may end in `/`."""
    if len(key) > LONGEST_KEY or not KEY.fullmatch(key) or (key.endswith("/") and not folder):
        raise BadKey("not an object key")
    return key
