"""Guards against calls that a browser was tricked into making."""

from __future__ import annotations

from chipmunk.credentials import API_KEY, OPERATOR, Presented
from chipmunk.errors import CrossSite, KeyInBrowser

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def forgery(
    method: str, given: Presented, origin: str | None, sec_fetch_site: str | None, origins: tuple[str, ...]
) -> None:
    """A call by cookie that changes something comes from the same origin or an allowed one, else CrossSite."""
    if method in SAFE or not given.by_cookie:
        return
    if sec_fetch_site != "same-origin" and origin not in origins:
        raise CrossSite()


def key_in_browser(given: Presented, origin: str | None) -> None:
    """A key that comes together with an Origin header was put into a page, where anyone can read it."""
    if origin and given.token.startswith((API_KEY, OPERATOR)):
        raise KeyInBrowser()
