"""What classifiers get to see of a rung: the model small squares of its pixels, plug-ins all of them. In a decoding process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from compressor import tasks
from compressor.look import MIME, Look, Sides
from compressor.pictures import opened, telling_what_broke

FRAMES = 4  # that are looked at where it moves
EDGE = 16  # of which a part at each side is left out: networks are trained on the middle 224 of 256
Box = tuple[float, float, float, float]


def looks(path: Path, sides: Sides) -> list[Look]:
    """A look at some frames, evenly spread, with squares of these sides."""
    with telling_what_broke(), opened(path, MIME, tasks.LIMITS.max_pixels) as image:
        return [_look(frame, sides) for frame in _frames(image)]


def pixels(path: Path, out: Path) -> tuple[int, int, int]:
    """Writes the RGB bytes of these frames, one after another; returns width, height, and how many they are."""
    with telling_what_broke(), opened(path, MIME, tasks.LIMITS.max_pixels) as image:
        size, frames = image.size, [frame.tobytes() for frame in _frames(image)]
    out.write_bytes(b"".join(frames))
    return *size, len(frames)


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    count = min(getattr(image, "n_frames", 1), tasks.LIMITS.max_frames)
    for number in sorted({n * count // FRAMES for n in range(FRAMES)}):
        if count > 1:
            image.seek(number)
        yield _on_white(image)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    above = image.convert("RGBA")
    below = Image.new("RGB", image.size, "white")
    below.paste(above, mask=above.getchannel("A"))
    return below


def _look(picture: Image.Image, sides: Sides) -> Look:
    width, height = picture.size
    short = min(width, height)
    left, top, edge = (width - short) / 2, (height - short) / 2, short / EDGE
    middle = (left + edge, top + edge, left + short - edge, top + short - edge)
    whole = (width / EDGE, height / EDGE, width - width / EDGE, height - height / EDGE)
    return Look(_square(picture, sides[0], middle), _square(picture, sides[1], whole))


def _square(picture: Image.Image, side: int | None, box: Box) -> bytes | None:
    if side is None:
        return None
    return picture.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0).tobytes()
