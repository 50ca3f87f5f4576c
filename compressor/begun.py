"""What is known of a file once it has been looked into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from compressor.ladder import RungFile


@dataclass(frozen=True, slots=True)
class Begun:
    """What a file turned out to be. `frames` above 1: it moves. Without a picture there are no rungs, now or later. `crop`:
    where a square was cut out of it."""

    kind: str
    mime: str
    width: int | None = None
    height: int | None = None
    frames: int = 1
    duration_seconds: float | None = None
    placeholder: bytes | None = None
    rungs: list[RungFile] = field(default_factory=list)
    music: dict[str, Any] = field(default_factory=dict)
    has_picture: bool = False
    provenance: dict[str, Any] | None = None
    crop: float | None = None
    palette: list[int] | None = None
    phash: int | None = None
    motion: dict[str, Any] = field(default_factory=dict)
