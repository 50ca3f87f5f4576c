"""Requests to hosts that somebody else names, which reach nothing inside.

Each host is asked for once; all its addresses must be such as may be connected to, and the connection goes to one of
these, whatever the host's name means a moment later.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from chipmunk.addresses import Address, Allowed
from chipmunk.errors import UrlRefused
from chipmunk.goals import Goal, goal
from compressor.names import resolved

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 15.0
RESOLVE_SECONDS = 5.0
QUIET_SECONDS = 1.0  # a refusal takes at least as long, so that a name which is known inside is not told by haste

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Outgoing:
    """`tls` is for servers with certificates of one's own."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        resolve: Resolve = resolved,
        tls: ssl.SSLContext | None = None,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls
        self._quiet = quiet

    def goal(self, url: str) -> Goal:
        """What the URL names; UrlRefused where it tells enough itself."""
        return goal(url, self._allowed)

    @asynccontextmanager
    async def asked(
        self, at: Goal, headers: Mapping[str, str], *, method: str = "GET", body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whatever it is, on a connection of its own to one of the addresses that were checked. UrlRefused,
        and what aiohttp raises."""
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
            session.request(method, at.url, headers=headers, data=body, allow_redirects=False) as answer,
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
