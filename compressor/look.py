"""What a classifier's model gets to see of a frame, and of which size it wants that."""

from __future__ import annotations

from dataclasses import dataclass

MIME = "image/webp"  # of every rung
Sides = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Look:
    """RGB bytes of the middle square of a frame, and of the whole of it squeezed into a square; None: not wanted."""

    middle: bytes | None
    whole: bytes | None
