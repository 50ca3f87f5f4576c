"""The ladder: six rungs, how large each is, and how many bytes they may take. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RUNGS = (10, 40, 160, 320, 640, 1080)
SHARES = (0.015, 0.025, 0.06, 0.13, 0.27, 0.5)  # of the cap, about as the rungs' areas go
KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rung:
    """A rendition to make: its quality (1 to 6) and its size in pixels."""

    quality: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RungFile:
    """A rendition that was made; `bytes` is the size of its file, `seconds` what encoding it took."""

    quality: int
    width: int
    height: int
    bytes: int
    seconds: float = 0.0


def plan(width: int, height: int, square: bool) -> list[Rung]:
    """The six rungs of a picture of this size. None is larger than the picture: where it ends, rungs repeat it."""
    if square:
        side = min(width, height)
        return [Rung(q, min(side, s), min(side, s)) for q, s in enumerate(RUNGS, 1)]
    return [Rung(q, *_fit(width, height, side)) for q, side in enumerate(RUNGS, 1)]


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    longest = max(width, height)
    if longest <= side:
        return width, height

    def scaled(length: int) -> int:
        return max(1, (2 * length * side + longest) // (2 * longest))

    return scaled(width), scaled(height)


def still_cap(length: int) -> int:
    """Most bytes that the renditions of a still picture of `length` bytes take together."""
    return min(MIB, 32 * KIB + 2 * length)


def animated_cap(length: int) -> int:
    """The same of an animation."""
    return min(8 * MIB, 64 * KIB + 2 * length)


class Budget:
    """Shares a cap out among rungs, lowest first; what one leaves over goes to those above it."""

    def __init__(self, cap: int, qualities: Iterable[int]) -> None:
        self._left = cap
        self._weights = {q: SHARES[q - 1] for q in qualities}

    def share(self, quality: int) -> int:
        """Bytes that this rung may take at most."""
        total = sum(self._weights.values())
        return int(self._left * self._weights[quality] / total)

    def took(self, quality: int, size: int) -> None:
        self._left -= size
        del self._weights[quality]
