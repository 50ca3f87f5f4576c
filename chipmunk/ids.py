"""Identifiers of rows, and the names that clients choose."""

from __future__ import annotations

import math
import re
import secrets
import time
from datetime import datetime
from uuid import UUID

from chipmunk.errors import BadRequest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


def new_id(now: float | None = None) -> UUID:
    """A UUIDv7 (RFC 9562): ordered by its millisecond, then random. `now` is Unix time in seconds."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    value = milliseconds << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def first_id(moment: datetime) -> UUID:
    """No id made at or after the moment is below this one."""
    milliseconds = math.floor(moment.timestamp() * 1000)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def parse_id(text: str) -> UUID | None:
    """The id in its one spelling, 32 lower-case hexadecimal digits; None for anything else."""
    return UUID(hex=text) if re.fullmatch(r"[0-9a-f]{32}", text) else None


def name(value: object, what: str) -> str:
    """A user's or flow's name as it came, or BadRequest that says what it must look like."""
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise BadRequest(f"A {what} id starts with a letter or digit and has up to 128 of A-Z a-z 0-9 . _ @ -")


def folder(media: UUID) -> str:
    """A media's folder in every store. The last four digits are random, so folders fill evenly."""
    digits = media.hex
    return f"{digits[-4:-2]}/{digits[-2:]}/{digits}"
