"""URLs that somebody names for this service to ask: whether one may be asked at all, as far as it tells itself."""

from __future__ import annotations

from dataclasses import dataclass

from yarl import URL

from chipmunk import addresses
from chipmunk.addresses import Address, Allowed
from chipmunk.errors import UrlRefused

LONGEST_URL = 2048


@dataclass(frozen=True, slots=True)
class Goal:
    """A URL that may be asked for. `address` is there where its host is one."""

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
