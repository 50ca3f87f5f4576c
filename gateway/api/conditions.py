"""Conditions and ranges of a request for a file that nginx does not hold, answered as nginx answers them of one that it does.

Of several ranges the whole file comes, which RFC 9110 leaves open to us: what asks so is rare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

RANGES = re.compile(r"bytes=(.+)", re.IGNORECASE)
ONE = re.compile(r"[ ]*(?:([0-9]{1,18})[ ]*-[ ]*([0-9]{0,18})|-[ ]*([0-9]{1,18}))[ ]*")
TAG = re.compile(r'(W/)?("[^"]*")')
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class File:
    """What is known of it: its length in bytes, a strong validator in its quotes, and when it was stored."""

    length: int
    tag: str
    modified: datetime

    @property
    def date(self) -> str:
        return format_datetime(self.modified.astimezone(UTC).replace(microsecond=0), usegmt=True)


class Unsatisfiable(Exception):
    """The file has no such range."""


def refusal(asked: Headers, file: File) -> int | None:
    """412 or 304 where a condition says so (RFC 9110, 13.2.2). A date counts as the same or not, as nginx has it."""
    if "if-match" in asked:
        if not _lists(asked["if-match"], file.tag, weak=False):
            return 412
    elif "if-unmodified-since" in asked and _later(file.modified, asked["if-unmodified-since"]):
        return 412
    if "if-none-match" in asked:
        return 304 if _lists(asked["if-none-match"], file.tag, weak=True) else None
    return 304 if asked.get("if-modified-since") == file.date else None


def _lists(tags: str, tag: str, *, weak: bool) -> bool:
    return tags.strip() == "*" or any(value == tag and (weak or not mark) for mark, value in TAG.findall(tags))


def _later(modified: datetime, date: str) -> bool:
    try:
        return modified.replace(microsecond=0) > parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return False


def wanted(asked: Headers, file: File) -> tuple[int, int] | None:
    """The bytes from where up to, without, where; None for the whole file. Raises Unsatisfiable."""
    ranges = RANGES.fullmatch(asked.get("range", ""))
    if ranges is None or asked.get("if-range", file.tag) not in (file.tag, file.date):
        return None
    found = [_one(text, file.length) for text in ranges[1].split(",")]
    fitting = [pair for pair in found if pair is not None]
    if not fitting:
        raise Unsatisfiable
    return fitting[0] if len(found) == 1 else None


def _one(text: str, length: int) -> tuple[int, int] | None:
    """What of the file lies in this range; None where nothing does or it is none."""
    found = ONE.fullmatch(text)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, length - int(suffix)), length
    else:
        start, end = int(first), min(int(last) + 1, length) if last else length
    return (start, end) if start < end else None
