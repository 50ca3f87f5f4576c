"""Animations: renditions from rung 3 on move as the original does, up to stated bounds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from PIL import Image, ImageSequence

from chipmunk.renditions import PREVIEWS
from compressor.encode import within, write
from compressor.ladder import Budget, Rung, RungFile
from compressor.limits import Limits
from compressor.overlay import Layer, bare
from compressor.pictures import base
from compressor.scaling import resized

MIMES = frozenset({"image/gif", "image/png", "image/webp", "image/avif"})
PREVIEWED = 4  # the rung that preview frames are as large as
MOVING_FROM = 3  # a picture of 40 px or less is a placeholder: it stands still
SOURCE_FRAMES = 4  # of an animation's frames together, times the pixels that one picture may have
RUNG_PIXELS = 64_000_000  # of a rung's frames together: 256 MB while they are encoded
LEAST_MILLISECONDS, DEFAULT_MILLISECONDS = 11, 100  # browsers show frames of 10 ms or less for 100 ms
NO_KEY_FRAMES = 0  # but the first: each other one would be encoded twice, to see which way is smaller
HARDER = ((1.0, 1), (0.5, 1), (0.2, 1), (0.2, 2), (0.1, 4), (0.0, 8))


@dataclass(frozen=True, slots=True)
class Moving:
    """Frames that are kept, how long each is shown in milliseconds, and how often all repeat (0: for ever)."""

    frames: list[Image.Image]
    durations: list[int]
    loop: int

    def thinned(self, step: int) -> Moving:
        """Every `step`-th frame, shown as long as those that it stands for."""
        durations = [sum(self.durations[at : at + step]) for at in range(0, len(self.durations), step)]
        return Moving(self.frames[::step], durations, self.loop)


def frame_count(image: Image.Image, limits: Limits) -> int:
    """How many frames move; 1 for a still picture and for an animation past the bounds."""
    count = int(getattr(image, "n_frames", 1)) if image.format in ("GIF", "PNG", "WEBP", "AVIF") else 1
    if count <= 1 or count * image.width * image.height > SOURCE_FRAMES * limits.max_pixels:
        return 1
    return count


def moving(
    image: Image.Image, rungs: list[Rung], crop: float | None, limits: Limits, lay: Layer = bare
) -> Iterator[Moving]:
    """The frames at each rung's size: all of them, or evenly thinned to the bounds.

    The file is read once where all rungs fit in memory together, and else for each rung, to hold only its frames.
    """
    count, together = int(getattr(image, "n_frames", 1)), sum(r.width * r.height for r in rungs)
    if count <= limits.max_frames and count * together <= RUNG_PIXELS:
        yield from _read(image, rungs, crop, 1, lay)
        return
    for rung in rungs:
        most = max(1, min(limits.max_frames, RUNG_PIXELS // (rung.width * rung.height)))
        yield from _read(image, [rung], crop, -(-count // most), lay)


def _read(image: Image.Image, rungs: list[Rung], crop: float | None, step: int, lay: Layer) -> list[Moving]:
    """Every `step`-th frame at each rung's size, made from that at the rung above."""
    image.seek(0)
    frames: dict[int, list[Image.Image]] = {rung.quality: [] for rung in rungs}
    durations = []
    for number, frame in enumerate(ImageSequence.Iterator(image)):
        frame.load()  # some formats tell a frame's duration only then
        durations.append(milliseconds(frame))
        if number % step:
            continue
        above = lay(base(frame, rungs[-1].quality, crop))
        above = above.copy() if above is frame else above
        for rung in reversed(rungs):
            above = resized(above, (rung.width, rung.height))
            frames[rung.quality].append(above)
    thin = [sum(durations[at : at + step]) for at in range(0, len(durations), step)]
    loop = int(image.info.get("loop", 1 if image.format == "GIF" else 0))
    return [Moving(frames[rung.quality], thin, loop) for rung in rungs]


def milliseconds(frame: Image.Image) -> int:
    given = frame.info.get("duration") or 0
    return round(given) if given >= LEAST_MILLISECONDS else DEFAULT_MILLISECONDS


def climb(
    image: Image.Image,
    rungs: list[Rung],
    crop: float | None,
    budget: Budget,
    out: Path,
    limits: Limits,
    lay: Layer = bare,
) -> tuple[list[RungFile], dict[str, Any]]:
    """Makes moving rungs; with them what moves: frames, seconds, and how often all repeat."""
    made: list[RungFile] = []
    motion: dict[str, Any] = {}
    for rung, frames in zip(rungs, moving(image, rungs, crop, limits, lay), strict=True):
        motion = {
            "frames": getattr(image, "n_frames", 1),
            "duration_seconds": round(sum(frames.durations) / 1000, 3),
            "loop": frames.loop,
        }
        began = monotonic()
        data = _within(frames, budget.share(rung.quality), rung, limits)
        budget.took(rung.quality, len(data))
        made.append(write(data, rung, out, monotonic() - began))
    return made, motion


def preview(
    image: Image.Image, crop: float | None, cap: int, out: Path, limits: Limits, lay: Layer = bare
) -> list[RungFile]:
    """Ten frames, evenly spread, or all where there are fewer; as large as rung 4, and together at most `cap` bytes."""
    count = int(getattr(image, "n_frames", 1))
    shown = min(count, len(PREVIEWS))
    chosen = {count * number // shown: quality for number, quality in zip(range(shown), PREVIEWS, strict=False)}
    quality, effort = limits.qualities[PREVIEWED - 1], min(2, limits.efforts[PREVIEWED - 1])
    made: list[RungFile] = []
    image.seek(0)
    for number, frame in enumerate(ImageSequence.Iterator(image)):
        if number not in chosen:
            frame.load()  # the next one may be drawn over it
            continue
        began = monotonic()
        small = lay(base(frame, PREVIEWED, crop))
        data = within(small, cap // (shown - len(made)), quality, effort)
        cap -= len(data)
        made.append(write(data, Rung(chosen[number], *small.size), out, monotonic() - began))
    return made


def _within(animation: Moving, most: int, rung: Rung, limits: Limits) -> bytes:
    """Lower quality first, then fewer frames, then the first frame alone."""
    quality, effort = limits.qualities[rung.quality - 1], min(2, limits.efforts[rung.quality - 1])
    for factor, step in HARDER:
        if len(animation.frames) <= step:
            break
        data = _webp(animation.thinned(step), round(quality * factor), effort)
        if len(data) <= most:
            return data
    return within(animation.frames[0], most, quality, effort)


def _webp(animation: Moving, quality: int, effort: int) -> bytes:
    out = io.BytesIO()
    first, *rest = animation.frames
    first.save(
        out, "WEBP", save_all=True, append_images=rest, duration=animation.durations, loop=animation.loop,
        quality=quality, method=effort, kmax=NO_KEY_FRAMES, exif=b"", xmp=b"", icc_profile=b"",
    )  # fmt: skip
    return out.getvalue()
