"""What begin hands over to finish, where decoding again would cost more: the picture at the top rung's size.

It lies beside the original, and goes with it; without it, finish decodes the original to the same end.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from PIL import Image

from compressor.ladder import Rung

NAME = ".top"
FORMAT = "TIFF"  # as it is in memory
JPEG_BYTES = 1_000_000  # what a JPEG costs is to undo its entropy coding, at any scale
PROGRESSIVE_BYTES = 500_000
PIXELS = 1_500_000  # of what has to be decoded whole


def pays(image: Image.Image, length: int) -> bool:
    """Whether decoding costs more than keeping, told by the header and the length of the file."""
    if image.format in ("JPEG", "MPO"):
        return length >= (PROGRESSIVE_BYTES if "progressive" in image.info else JPEG_BYTES)
    return image.width * image.height >= PIXELS


def keep(top: Image.Image, folder: Path) -> None:
    """As far as the disk has room."""
    part = folder / f"{NAME}.part"
    try:
        top.save(part, FORMAT)
        part.rename(folder / NAME)
    except OSError:
        part.unlink(missing_ok=True)


def kept(folder: Path, rung: Rung | None = None) -> Image.Image | None:
    """The picture, where it is there, whole and of this rung's size, where that is known."""
    with suppress(OSError, SyntaxError, ValueError), Image.open(folder / NAME, formats=(FORMAT,)) as image:
        image.load()
        if rung is None or image.size == (rung.width, rung.height):
            return image
    return None


def drop(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)
