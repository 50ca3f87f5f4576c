"""A client of Kubo's RPC, as far as a store needs it: https://docs.ipfs.tech/reference/kubo/rpc/

Whatever keeps the node from answering is StoreUnavailable; what the node itself refuses is Refused. No message has the
node's address or a credential in it.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import aiohttp

from chipmunk.storage import Damaged, StoreUnavailable

T = TypeVar("T")
PASSING = (429, 502, 503, 504)
CHUNK = 256 * 1024
LONGEST_ANSWER = 1024 * 1024
LAYOUT = {
    "cid-version": "1", "cid-base": "base32", "chunker": "size-262144", "raw-leaves": "true", "hash": "sha2-256",
    "trickle": "false", "max-file-links": "174", "wrap-with-directory": "false", "progress": "false",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds until a connection has to stand, a call to be answered, and in which at least one byte comes. `local` is what
    a node may take to find a block that it ought to have; `least_rate` the bytes a second that a node has to take."""

    connect: float = 5
    call: float = 15
    idle: float = 15
    local: float = 5
    least_rate: int = 256 * 1024
    tries: int = 4
    first_pause: float = 0.2


class Refused(Exception):
    """The node answered, and the answer is an error of its own."""


class Passing(Exception):
    """May be otherwise in a moment."""


class Kubo:
    """`token`: a bearer token, or `user:password`; empty where the node asks for none."""

    def __init__(self, url: str, token: str = "", pace: Pace | None = None) -> None:
        parts = urlsplit(url)
        self._base = f"{parts.scheme.removeprefix('ipfs+')}://{parts.netloc}{parts.path.rstrip('/')}/api/v0/"
        self._headers = {"Authorization": _authorization(token)} if token else {}
        self._pace = pace or Pace()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, name: str, **args: str) -> dict[str, Any]:
        """What the node answers to a call that may come twice."""
        return await self._retried(lambda: self._call(name, args, self._pace.call))

    def _seconds(self, size: int) -> float:
        return self._pace.call + size / self._pace.least_rate

    async def add(self, source: Path | bytes, size: int, *, only_hash: bool = False) -> str:
        """Adds the file, or only looks at it, and returns its CID. It is not pinned: an add that was given up half way may
        still come to its end there, and a pin by it after that of which nobody knows."""
        args = {**LAYOUT, "pin": "false", "only-hash": str(only_hash).lower()}

        async def attempt() -> str:
            with _opened(source) as file:
                form = aiohttp.FormData(quote_fields=False)
                form.add_field("file", file, filename="file", content_type="application/octet-stream")
                answer = await self._call("add", args, self._seconds(size), form)
            return str(answer.get("Hash"))

        try:
            return await self._retried(attempt)
        except Refused as e:
            raise _unavailable() from e

    async def size(self, cid: str) -> int | None:
        """The bytes of the content; None where the node has not pinned it or lacks its first block."""
        if not await self.is_pinned(cid):
            return None
        try:
            found = await self.call("files/stat", arg=f"/ipfs/{cid}", offline="true", timeout=f"{self._pace.local}s")
        except Refused as e:
            if _is_absent(e):
                return None
            raise StoreUnavailable("The IPFS node cannot read what it has pinned now.") from e
        try:
            return int(found["Size"])
        except (KeyError, TypeError, ValueError):
            raise StoreUnavailable("What answers there is no IPFS node.") from None

    async def is_pinned(self, cid: str) -> bool:
        try:
            await self.call("pin/ls", arg=cid, type="recursive")
        except Refused as e:
            if "not pinned" in str(e):
                return False
            raise _unavailable() from e
        return True

    async def pin(self, cid: str, size: int) -> None:
        """Pins what was added just now."""
        args = {"arg": cid, "recursive": "true", "progress": "false", "offline": "true"}
        try:
            await self._retried(lambda: self._call("pin/add", args, self._seconds(size)))
        except Refused as e:
            raise _unavailable() from e

    async def unpin(self, cid: str) -> None:
        """What is not pinned is fine."""
        try:
            await self.call("pin/rm", arg=cid)
        except Refused as e:
            if "not pinned" not in str(e):
                raise _unavailable() from e

    async def cat(self, cid: str, start: int, length: int) -> AsyncIterator[bytes]:
        """So many bytes of the content, going on where a connection was lost. Damaged where the node lacks them."""
        got, tries = 0, 0
        while got < length:
            try:
                async for piece in self._cat(cid, start + got, length - got):
                    got, tries = got + len(piece), 0
                    yield piece
                if got < length:
                    raise Passing("The IPFS node gave fewer bytes than it said.")
            except Refused as e:
                if _is_absent(e):
                    raise Damaged() from e
                raise StoreUnavailable("The IPFS node cannot read what it has pinned now.") from e
            except Passing as e:
                tries += 1
                await self._pause(tries, e)

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        tries = 0
        while True:
            try:
                return await attempt()
            except Passing as e:
                tries += 1
                await self._pause(tries, e)

    async def _pause(self, tries: int, why: Passing) -> None:
        if tries >= self._pace.tries:
            raise StoreUnavailable(str(why)) from None
        await asyncio.sleep(self._pace.first_pause * 2**tries * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _cat(self, cid: str, start: int, length: int) -> AsyncIterator[bytes]:
        args = {"arg": cid, "offset": str(start), "length": str(length), "offline": "true", "progress": "false"}
        try:
            async with self._post("cat", args, None) as answer:
                await _hold(answer)
                async for piece in answer.content.iter_chunked(CHUNK):
                    if len(piece) > length:
                        raise StoreUnavailable("The IPFS node gives more bytes than it was asked for.")
                    length -= len(piece)
                    yield piece
        except TimeoutError:
            raise StoreUnavailable("The IPFS node is too slow.") from None
        except (aiohttp.ClientError, OSError):
            raise Passing("The IPFS node cannot be reached.") from None

    async def _call(
        self, name: str, args: Mapping[str, str], seconds: float | None, form: aiohttp.FormData | None = None
    ) -> dict[str, Any]:
        try:
            async with self._post(name, args, seconds, form) as answer:
                await _hold(answer)
                body = await answer.content.read(LONGEST_ANSWER)
                while piece := await answer.content.read(LONGEST_ANSWER):
                    body = (body + piece)[-LONGEST_ANSWER:]
        except TimeoutError:
            raise StoreUnavailable("The IPFS node is too slow.") from None
        except (aiohttp.ClientError, OSError):
            raise Passing("The IPFS node cannot be reached.") from None
        try:
            found = json.loads(body.rstrip().rpartition(b"\n")[2] or b"{}")  # of `add` the last line is the whole
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise StoreUnavailable("What answers there is no IPFS node.")
        return found

    def _post(
        self, name: str, args: Mapping[str, str], seconds: float | None, form: aiohttp.FormData | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=32)
            )
        idle = self._pace.idle if seconds is None else None
        within = aiohttp.ClientTimeout(total=seconds, sock_connect=self._pace.connect, sock_read=idle)
        return self._session.post(self._base + name, params=args, data=form, timeout=within, allow_redirects=False)


async def _hold(answer: aiohttp.ClientResponse) -> None:
    """Raises for every answer that is not the one that was asked for."""
    if answer.status == 200:
        return
    if answer.status in PASSING:
        raise Passing("The IPFS node has too much to do.")
    if answer.status in (401, 403):
        raise StoreUnavailable("The IPFS node does not take the credential.")
    try:
        message = json.loads(await answer.content.read(LONGEST_ANSWER))["Message"]
    except (ValueError, KeyError, TypeError):
        if answer.status >= 500:
            raise Passing("The IPFS node fails.") from None
        raise StoreUnavailable(f"What answers there is no IPFS node (status {answer.status}).") from None
    raise Refused(str(message))


def _authorization(token: str) -> str:
    return f"Basic {b64encode(token.encode()).decode()}" if ":" in token else f"Bearer {token}"


def _is_absent(refused: Refused) -> bool:
    """Whether the node says that it does not have the content, rather than that it cannot tell."""
    return "could not find" in str(refused) or "not found locally" in str(refused)


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("The IPFS node refused what it was asked.")


def _opened(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
