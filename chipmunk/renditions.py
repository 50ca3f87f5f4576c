"""Renditions by number: rungs, frames that show how a picture moves, and all of it as a video."""

from __future__ import annotations

from collections.abc import Sequence

RUNGS = range(1, 7)
PREVIEWS = range(11, 21)  # ten at most, evenly spread, in order
REEL = 21  # an animation as a video

Rendition = dict[str, int]


def file(quality: int) -> str:
    """The name of its file in its media's folder."""
    return f"{quality}.webm" if quality == REEL else f"{quality}.webp"


def mime(quality: int) -> str:
    return "video/webm" if quality == REEL else "image/webp"


def rungs(of: Sequence[Rendition]) -> list[Rendition]:
    return [one for one in of if one["quality"] in RUNGS]


def previews(of: Sequence[Rendition]) -> list[int]:
    """The numbers of a media's preview frames."""
    return sorted(one["quality"] for one in of if one["quality"] in PREVIEWS)


def has_reel(of: Sequence[Rendition]) -> bool:
    return any(one["quality"] == REEL for one in of)


def label(quality: int) -> str:
    """For metrics."""
    return str(quality) if quality in RUNGS else "video" if quality == REEL else "preview"
