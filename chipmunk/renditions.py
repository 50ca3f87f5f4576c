"""Renditions by number, which is also the name of their file: rungs, and frames that show how a picture moves."""

from __future__ import annotations

from collections.abc import Sequence

RUNGS = range(1, 7)
PREVIEWS = range(11, 21)  # ten at most, evenly spread, in order

Rendition = dict[str, int]


def rungs(of: Sequence[Rendition]) -> list[Rendition]:
    return [one for one in of if one["quality"] in RUNGS]


def previews(of: Sequence[Rendition]) -> list[int]:
    """The numbers of a media's preview frames."""
    return sorted(one["quality"] for one in of if one["quality"] in PREVIEWS)


def label(quality: int) -> str:
    """For metrics."""
    return str(quality) if quality in RUNGS else "preview"
