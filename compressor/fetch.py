"""Fetches a file from a URL that somebody names, and reaches nothing inside by it.

Each host on the way is asked for once; all its addresses must be such as may be connected to, and the connection goes
to one of these, whatever the host's name means a moment later. See docs/how-to/upload-from-a-url.md.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from chipmunk import __version__, addresses
from chipmunk.addresses import Address, Allowed
from chipmunk.errors import EmptyFile, FetchFailed, TooLarge, UrlRefused
from compressor import filenames, sniff
from compressor.inbox import BATCH, write_body
from compressor.names import resolved

MOST_REDIRECTS = 5
LONGEST_URL = 2048
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 15.0
RESOLVE_SECONDS = 5.0
QUIET_SECONDS = 1.0  # a refusal takes at least as long, so that a name which is known inside is not told by haste
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {
    "User-Agent": f"Chipmunk/{__version__}",
    "Accept": "image/*, audio/*, */*;q=0.5",
    "Accept-Encoding": "identity",
}

Resolve = Callable[[str, int], Awaitable[list[str]]]


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


@dataclass(frozen=True, slots=True)
class Goal:
    """A URL that may be asked for, as far as it tells itself. `address` is there where its host is one."""

    url: URL
    host: str
    port: int
    address: Address | None


def goal(text: str, allowed: Allowed) -> Goal:
    """What the text names, or UrlRefused."""
    if len(text) > LONGEST_URL or any(c <= " " or c in "\\\x7f" or "\ud800" <= c <= "\udfff" for c in text):
        raise UrlRefused()
    try:
        url = URL(text, encoded=text.isascii())
        host, port = url.raw_host, url.port
        if url.scheme not in ("http", "https") or not host or port is None or "@" in url.raw_authority:
            raise UrlRefused()
        address = addresses.literal(host)
    except ValueError:
        raise UrlRefused() from None
    if not allowed.may_ask(host, port) or (address and not allowed.may_connect(host, port, [address])):
        raise UrlRefused()
    return Goal(url.with_fragment(None), host, port, address)


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
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls
        self._quiet = quiet

    def check(self, url: str) -> None:
        """UrlRefused where the URL itself tells enough."""
        goal(url, self._allowed)

    async def fetch(self, url: str, target: Path, taking: Taking) -> Fetched:
        """The file of this URL, at `target`. UrlRefused, FetchFailed, TooLarge, EmptyFile, and what `taking` raises."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._followed(goal(url, self._allowed), target, taking)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _failed() from None

    async def _followed(self, first: Goal, target: Path, taking: Taking) -> Fetched:
        at = first
        for _ in range(MOST_REDIRECTS + 1):
            async with self._asked(at) as answer:
                if answer.status not in REDIRECTS:
                    return await _taken(answer, _filename(answer, first.url), target, taking)
                at = self._onward(at, answer)
        raise FetchFailed("The server of this URL sends one on and on.")

    def _onward(self, at: Goal, answer: aiohttp.ClientResponse) -> Goal:
        location = answer.headers.get("Location", "")
        if not location:
            raise _failed(answer.status)
        try:
            then = goal(str(at.url.join(URL(location, encoded=location.isascii()))), self._allowed)
        except ValueError:
            raise UrlRefused() from None
        if at.url.scheme == "https" and then.url.scheme != "https":
            raise UrlRefused()
        return then

    @asynccontextmanager
    async def _asked(self, at: Goal) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET, on a connection of its own to one of the addresses that were checked."""
        pinned = await self._pinned(at)
        connector = aiohttp.TCPConnector(
            resolver=pinned,
            use_dns_cache=False,
            force_close=True,
            socket_factory=pinned.socket,
            ssl=self._tls or True,
        )
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=limits,
                auto_decompress=False,
            ) as session,
            session.get(at.url, headers=HEADERS, allow_redirects=False) as answer,
        ):
            yield answer

    async def _pinned(self, at: Goal) -> Pinned:
        """The addresses of its host, all of them checked; UrlRefused, in its own time, where it has none or a bad one."""
        if at.address is not None:
            return Pinned([at.address])
        clock = asyncio.get_running_loop().time
        began = clock()
        found = await self._addresses(at)
        if not self._allowed.may_connect(at.host, at.port, found):
            await asyncio.sleep(began + self._quiet - clock())
            refused = UrlRefused()
            refused.passing = True  # a resolver may have been down: of that too nothing is told
            raise refused
        return Pinned(found)

    async def _addresses(self, at: Goal) -> list[Address]:
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolve(at.host, at.port)
            return [ip_address(text) for text in dict.fromkeys(found)]
        except (OSError, ValueError):
            return []


class Pinned(AbstractResolver):
    """Answers with addresses that were checked, and makes sockets for no others."""

    def __init__(self, found: list[Address]) -> None:
        self._found = found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._found
        ]

    def socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, proto, _, address = info
        if ip_address(address[0]) not in self._found:
            raise OSError("an address that was not checked")
        return socket.socket(family, kind, proto)

    async def close(self) -> None:
        """There is nothing to close."""


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
