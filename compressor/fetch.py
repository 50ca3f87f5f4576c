"""Fetches a file from a URL that somebody names, and reaches nothing inside by it: see docs/how-to/upload-from-a-url.md."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

import aiohttp
from yarl import URL

from chipmunk import __version__
from chipmunk.addresses import Allowed
from chipmunk.errors import EmptyFile, FetchFailed, TooLarge, UrlRefused
from chipmunk.goals import Goal
from compressor import filenames, sniff
from compressor.inbox import BATCH, write_body
from compressor.names import resolved
from compressor.outgoing import QUIET_SECONDS, Outgoing, Resolve

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {
    "User-Agent": f"Chipmunk/{__version__}",
    "Accept": "image/*, audio/*, */*;q=0.5",
    "Accept-Encoding": "identity",
}


class Taking(Protocol):
    """Who takes a file in while it comes."""

    most: int

    def look(self, head: bytes, filename: str | None) -> None:
        """At its first bytes; raises Unsupported."""

    async def room(self, length: int) -> None:
        """Makes room for as many bytes of it in all; raises what there is to say where there is none."""

    async def came(self, done: int, total: int | None) -> None:
        """So much of it is here."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of `length` bytes. `filename` is what the server calls it, else the URL."""

    length: int
    filename: str | None


class Fetcher:
    """`seconds` is what a fetch may take in all; `tls` is for servers with certificates of one's own."""

    def __init__(
        self,
        seconds: float,
        allowed: Allowed,
        *,
        resolve: Resolve = resolved,
        tls: ssl.SSLContext | None = None,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._outgoing = Outgoing(allowed, resolve=resolve, tls=tls, quiet=quiet)

    def check(self, url: str) -> None:
        """UrlRefused where the URL itself tells enough."""
        self._outgoing.goal(url)

    async def fetch(self, url: str, target: Path, taking: Taking) -> Fetched:
        """The file of this URL, at `target`. UrlRefused, FetchFailed, TooLarge, EmptyFile, and what `taking` raises."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._followed(self._outgoing.goal(url), target, taking)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _failed() from None

    async def _followed(self, first: Goal, target: Path, taking: Taking) -> Fetched:
        at = first
        for _ in range(MOST_REDIRECTS + 1):
            async with self._outgoing.asked(at, HEADERS) as answer:
                if answer.status not in REDIRECTS:
                    return await _taken(answer, _filename(answer, first.url), target, taking)
                at = self._onward(at, answer)
        raise FetchFailed("The server of this URL sends one on and on.")

    def _onward(self, at: Goal, answer: aiohttp.ClientResponse) -> Goal:
        location = answer.headers.get("Location", "")
        if not location:
            raise _failed(answer.status)
        try:
            then = self._outgoing.goal(str(at.url.join(URL(location, encoded=location.isascii()))))
        except ValueError:
            raise UrlRefused() from None
        if at.url.scheme == "https" and then.url.scheme != "https":
            raise UrlRefused()
        return then


def _failed(status: int | None = None) -> FetchFailed:
    if status is None:
        failed = FetchFailed()
    else:
        failed = FetchFailed(f"The server of this URL answered {status}, and gave no file.", upstream_status=status)
    failed.passing = status is None or status in PASSING
    return failed


def _filename(answer: aiohttp.ClientResponse, url: URL) -> str | None:
    said = answer.headers.get("Content-Disposition", "").encode("utf-8", "surrogateescape")
    return filenames.disposition(said)[1] or unquote(url.raw_path.rpartition("/")[2]) or None


async def _taken(answer: aiohttp.ClientResponse, filename: str | None, target: Path, taking: Taking) -> Fetched:
    """The body, written to a file as it comes and given up as soon as it is known to be none that is wanted."""
    if answer.status not in (200, 203):
        raise _failed(answer.status)
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("The server of this URL gives the file in a compressed form alone.")
    length = None if "Transfer-Encoding" in answer.headers else answer.content_length
    if length is not None:
        if length > taking.most:
            raise TooLarge(limit_bytes=taking.most)
        await taking.room(length)
    try:
        written = await write_body(_chunks(answer, filename, length, taking), target, taking.most)
    except ValueError:
        raise TooLarge(limit_bytes=taking.most) from None
    if written == 0:
        raise EmptyFile()
    return Fetched(written, filename)


async def _chunks(
    answer: aiohttp.ClientResponse, filename: str | None, length: int | None, taking: Taking
) -> AsyncIterator[bytes]:
    """The body as it comes, looked at by its first bytes, with room made for what was not announced."""
    head, looked, done, made = bytearray(), False, 0, length or 0
    async for chunk in answer.content.iter_any():
        done += len(chunk)
        if not looked:
            head += chunk[: sniff.HEAD_BYTES]
            if looked := len(head) >= sniff.HEAD_BYTES:
                taking.look(bytes(head[: sniff.HEAD_BYTES]), filename)
        if done - made >= BATCH and done <= taking.most:
            await taking.room(done)
            made = done
        yield chunk
        await taking.came(done, length)
    if head and not looked:
        taking.look(bytes(head), filename)
