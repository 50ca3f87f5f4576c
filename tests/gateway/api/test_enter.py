"""Where people may be sent on to, against what a browser makes of an address."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chipmunk import config
from chipmunk.errors import BadRequest
from gateway.api.enter import destination

HERE, APP = "https://media.example", "https://app.example"
SETTINGS = config.load({}, public_url=HERE, origins=APP)
TRICKS = [
    "/", "//", "\\", ".", "..", ":", "@", "?", "#", "%2f", "%5c", "%00", "%0d%0a", "\t", "\n", "\r", " ", "\x00", "\u3002",
    "\uff0f",
    "https:", "http:", "javascript:", "data:", "evil.example", "app.example", "media.example", APP, HERE, "x", "[", "]", ";", "%",
]  # fmt: skip


def in_a_browser(target: str) -> str:
    """The origin that a browser goes to, by the URL Standard: it strips, drops and turns characters before it reads."""
    text = "".join(c for c in target.strip("".join(map(chr, range(0x21)))) if c not in "\t\r\n")
    address, mark, rest = text.partition("?")
    scheme = address.partition(":")[0].lower()
    if scheme in ("http", "https") and ":" in address:
        address = f"{scheme}://" + address.partition(":")[2].lstrip("/\\")
    parts = urlsplit(urljoin(f"{HERE}/enter/x", address.replace("\\", "/") + mark + rest))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@given(st.lists(st.sampled_from(TRICKS), min_size=1, max_size=8).map("".join))
@example("https:evil.example")
@example("/\\evil.example")
@example("\t//evil.example")
def test_nobody_is_sent_anywhere_but_here_or_to_an_allowed_origin(target: str) -> None:
    with suppress(BadRequest):
        assert destination(target, SETTINGS) == target, "what was judged is what is used"
        assert in_a_browser(target) in (HERE, APP)
        assert target.isprintable()


@given(st.text(max_size=40))
def test_whatever_text_it_is_it_is_an_address_or_a_bad_request(target: str) -> None:
    with suppress(BadRequest):
        assert in_a_browser(destination(target, SETTINGS)) in (HERE, APP)


@pytest.mark.parametrize(
    "target", ["/", "/a/b?c=//d#e", APP, f"{APP}/x", f"{HERE}/docs", f"{APP}/?next=https://evil.example"]
)
def test_paths_here_and_pages_of_allowed_origins_are_where_people_go(target: str) -> None:
    assert destination(target, SETTINGS) == target
