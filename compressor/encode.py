"""Encoding: WebP files without metadata, each within its share of the cap."""

from __future__ import annotations

import io
from pathlib import Path
from time import monotonic

from PIL import Image

from chipmunk import renditions
from compressor.ladder import Budget, Rung, RungFile
from compressor.limits import Limits
from compressor.scaling import resized

STILL_QUALITY = 92  # of a JPEG that is an original
HARDER = (1.0, 0.7, 0.45, 0.25, 0.1, 0.0)


def webp(image: Image.Image, quality: int, effort: int) -> bytes:
    """One WebP, with no EXIF, XMP or profile."""
    out = io.BytesIO()
    alpha = {"alpha_quality": max(quality, 20)} if image.mode == "RGBA" else {}
    image.save(out, "WEBP", quality=quality, method=effort, exif=b"", xmp=b"", icc_profile=b"", **alpha)
    return out.getvalue()


def within(image: Image.Image, most: int, quality: int, effort: int) -> bytes:
    """A WebP of at most `most` bytes: lower quality first, then less and less detail, down to one colour."""
    data = b""
    for factor in HARDER:
        data = webp(image, round(quality * factor), effort)
        if len(data) <= most:
            return data
    side = 2
    while side <= 2 * max(image.size):
        small = image.resize((max(1, image.width // side), max(1, image.height // side)), Image.Resampling.BOX)
        data = webp(small.resize(image.size, Image.Resampling.BILINEAR), 0, effort)
        if len(data) <= most:
            return data
        side *= 2
    return data


def still(image: Image.Image, out: Path, *, lossless: bool) -> None:
    """A picture of its own, without metadata."""
    image.info.clear()
    if lossless or image.mode == "RGBA":
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=STILL_QUALITY, subsampling=0)


def variant(image: Image.Image, out: Path, format: str) -> None:
    """A picture to look at, the same bytes each time."""
    image.info.clear()
    if format == "webp":
        image.save(out, "WEBP", quality=82, method=4)
    elif format == "avif":
        image.save(out, "AVIF", quality=60, speed=7, max_threads=1)
    else:
        _opaque(image).save(out, "JPEG", quality=85)


def _opaque(image: Image.Image) -> Image.Image:
    """On white."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def climb(base: Image.Image, rungs: list[Rung], budget: Budget, out: Path, limits: Limits) -> list[RungFile]:
    """Makes the rungs, each from the one above; the least is encoded first, so that what it leaves goes up."""
    pictures: dict[int, Image.Image] = {}
    above = base
    for rung in reversed(rungs):
        above = pictures[rung.quality] = resized(above, (rung.width, rung.height))
    return [_store(pictures[rung.quality], rung, budget, out, limits) for rung in rungs]


def _store(image: Image.Image, rung: Rung, budget: Budget, out: Path, limits: Limits) -> RungFile:
    at, began = rung.quality - 1, monotonic()
    data = within(image, budget.share(rung.quality), limits.qualities[at], limits.efforts[at])
    budget.took(rung.quality, len(data))
    return write(data, rung, out, monotonic() - began)


def write(data: bytes, rung: Rung, out: Path, seconds: float) -> RungFile:
    """The rung's file, under its name only when it is whole. Who moves it to its place syncs it."""
    part = out / f".{rung.quality}.part"
    part.write_bytes(data)
    part.rename(out / renditions.file(rung.quality))
    return RungFile(rung.quality, rung.width, rung.height, len(data), seconds)
