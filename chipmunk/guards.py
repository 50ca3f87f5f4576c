"""Guards against calls that a browser was tricked into making."""

from __future__ import annotations

from urllib.parse import urlsplit

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


def elsewhere(origin: str | None, sec_fetch_site: str | None, host: str | None, origins: tuple[str, ...]) -> None:
    """A call that needs no credential and still changes something: from a page of another site it is CrossSite.

    By Sec-Fetch-Site; of browsers that send none, as they do without TLS, by whether Origin names our host. What is no
    browser sends neither. (As Go's http.CrossOriginProtection has it.)
    """
    if origin in origins or sec_fetch_site in ("same-origin", "none"):
        return
    if sec_fetch_site is not None or (origin is not None and urlsplit(origin).netloc != host):
        raise CrossSite("A link is opened from its own page.")
