"""Doors: each brings a body into an upload's folder, as the file `0`, and what the body says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from chipmunk.errors import BadRequest, TooLarge
from compressor.asking import Asking, Fields
from compressor.inbox import Inbox, write_body


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file of `length` bytes that lies in its upload's folder, or that is still to be fetched from `url`."""

    length: int
    fields: Fields
    url: str | None = None


async def arrive(inbox: Inbox, asking: Asking, body: AsyncIterator[bytes], target: Path, most: int) -> int:
    """The request's body as a file of its own: the one that nginx spooled, else streamed. Returns its length."""
    if asking.spool is not None:
        return await inbox.take(asking.spool, target)
    try:
        length = await write_body(body, target, most)
    except ValueError:
        raise TooLarge(limit_bytes=most) from None
    if asking.length not in (None, length):
        raise BadRequest("The body is shorter than its Content-Length.")
    return length
