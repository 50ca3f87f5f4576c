"""Decoding: from a file nobody trusts to an upright sRGB picture, as large as the rungs need and no larger."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image, ImageCms, ImageFile, PngImagePlugin, WebPImagePlugin

from chipmunk.errors import CorruptImage, DecodeFailed, Problem, TooManyPixels
from compressor import hdr, webp
from compressor.ladder import RUNGS
from compressor.limits import FULL
from compressor.scaling import Box, resized

Source = Path | BinaryIO
Profile = bytes | int | None  # ICC, or the transfer characteristic of HDR
FORMATS = {
    "image/jpeg": ("JPEG", "MPO"),
    "image/png": ("PNG",),
    "image/gif": ("GIF",),
    "image/webp": ("WEBP",),
    "image/avif": ("AVIF",),
    "image/heic": ("HEIF",),
    "image/heif": ("HEIF",),
    "image/tiff": ("TIFF",),
    "image/bmp": ("BMP",),
    "image/x-icon": ("ICO",),
}
# What says the transfer characteristic, beside an ICC profile: a chunk of PNG's, a `colr` box (ISO/IEC 14496-12, 12.1.5)
MARKS = {
    "image/png": re.compile(rb"\0\0\0\x04cICP.(.)", re.DOTALL),
    "image/avif": re.compile(rb"colrnclx..\0(.)", re.DOTALL),
}
HEAD_BYTES = 64 * 1024
ORIENTATION = 0x0112
# EXIF 2.32, table 6: what makes a picture of each orientation upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_THE_SIDE = frozenset({5, 6, 7, 8})
BACKWARDS = {"across": frozenset({2, 3, 7, 8}), "down": frozenset({3, 4, 6, 7})}  # as stored, to what is upright
SIXTEEN_BITS = {"I;16": "L;16", "I;16L": "L;16", "I;16B": "L;16B"}  # and what keeps the high byte of each
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, RuntimeError)
SRGB = ImageCms.createProfile("sRGB")

ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_CHUNK = 1024 * 1024
PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024 * 1024


@contextmanager
def telling_what_broke() -> Iterator[None]:
    """Whatever a decoder raises becomes CorruptImage or DecodeFailed; a full disk is no fault of the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        raise DecodeFailed("Decoding the file needs more memory than the service allows.") from None
    except Image.DecompressionBombError:
        raise TooManyPixels() from None
    except Problem:
        raise
    except Exception as e:  # decoders raise whatever a broken file leads them to, a division by its zero among that
        if isinstance(e, OSError) and e.errno in FULL:
            raise
        raise CorruptImage() from None


def opened(source: Source, mime: str, max_pixels: int) -> Image.Image:
    """The picture with only its header read. Raises CorruptImage, TooManyPixels."""
    Image.MAX_IMAGE_PIXELS = None
    said = MARKS[mime].search(_head(source)) if mime in MARKS else None
    image = Image.open(source, formats=FORMATS[mime])
    nclx = image.info.get("nclx_profile") or {}  # of HEIF
    hdr.mark(image, said[1][0] if said else nclx.get("transfer_characteristics"))
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixels(width=width, height=height, most_pixels=max_pixels)
    Image.MAX_IMAGE_PIXELS = max_pixels  # for pictures within it, as in an icon
    return image


def _head(source: Source) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(HEAD_BYTES)
    head = source.read(HEAD_BYTES)
    source.seek(0)
    return head


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read."""
    with suppress(*BROKEN):
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if orientation(image) in ON_THE_SIDE else (width, height)


def base(image: Image.Image, top: int, crop: float | None) -> Image.Image:
    """An upright sRGB picture whose size is that of rung `top` (1 to 6).

    `crop` is where along its longer side a square is cut out of it: 0 at its left or upper end, 0.5 at its centre, 1 at the
    other end; None: it stays as it is.

    Steps that cost by the pixel come after the reduction, so that they touch as few as can be.
    """
    turn = orientation(image)
    cut = _cut(image.size, crop, turn)
    target = _target(cut, RUNGS[top - 1])
    profile = _profile(image)
    before = image.size
    image = _loaded(image, (cut[2] - cut[0]) / target[0])
    ratio = image.size[0] / before[0], image.size[1] / before[1]
    box = (cut[0] * ratio[0], cut[1] * ratio[1], cut[2] * ratio[0], cut[3] * ratio[1])
    reduced = resized(plain(image), target, box)
    reduced = to_srgb(reduced, profile)
    return reduced.transpose(UPRIGHT[turn]) if turn in UPRIGHT else reduced


def whole(image: Image.Image) -> Image.Image:
    """The upright sRGB picture with each of its pixels; of one that moves the first frame."""
    turn, profile = orientation(image), _profile(image)
    image.load()
    full = to_srgb(plain(image), profile)
    return full.transpose(UPRIGHT[turn]) if turn in UPRIGHT else full


def _loaded(image: Image.Image, factor: float) -> Image.Image:
    """Decoded, and where the format can at a smaller size, but at most `factor` times as small."""
    if image.format in ("JPEG", "MPO"):
        width, height = image.size
        image.draft(None, (max(1, round(width / factor)), max(1, round(height / factor))))
    elif isinstance(image, WebPImagePlugin.WebPImageFile) and not image.is_animated and image.fp is not None:
        image.fp.seek(0)
        found = webp.shrunk(image.fp.read(), image.size, factor)
        if found is not None:
            return found
    image.load()
    return image


def _cut(size: tuple[int, int], crop: float | None, turn: int) -> Box:
    """The part of the picture as it is stored."""
    width, height = size
    if crop is None:
        return 0, 0, width, height
    side = min(size)
    along = 1 - crop if turn in BACKWARDS["across" if width > height else "down"] else crop
    left, top = int(along * (width - side)), int(along * (height - side))
    return left, top, left + side, top + side


def _target(cut: Box, side: int) -> tuple[int, int]:
    width, height = int(cut[2] - cut[0]), int(cut[3] - cut[1])
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, int(width * side / longest + 0.5)), max(1, int(height * side / longest + 0.5))


def plain(image: Image.Image) -> Image.Image:
    """The same picture in a mode that can be resized: L, RGB, RGBA, CMYK or LAB, with 8 bits a channel."""
    mode = image.mode
    if mode in SIXTEEN_BITS:
        return Image.frombytes("L", image.size, image.tobytes(), "raw", SIXTEEN_BITS[mode])
    if mode.startswith("I") or mode == "F":
        return _eight_bit(image)
    if image.has_transparency_data and mode != "RGBA":
        return image.convert("RGBA")
    if mode == "1":
        return image.convert("L")
    if mode in ("L", "RGB", "RGBA", "CMYK", "LAB"):
        return image
    return image.convert("RGBA" if mode in ("PA", "LA", "La", "RGBa") else "RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Samples that fit sixteen bits by dropping the low eight; wider or floating ones by their largest."""
    whole = image.convert("F")
    highest = float(cast(tuple[float, float], whole.getextrema())[1])
    if image.mode == "I":
        highest = max(highest, 65535)
    scale = 255 / highest if highest > 0 else 1.0
    return whole.point(lambda value: value * scale + 0.5).convert("L")


def _profile(image: Image.Image) -> Profile:
    return image.info.get("icc_profile") or hdr.marked(image)


def to_srgb(image: Image.Image, profile: Profile) -> Image.Image:
    """RGB or RGBA in sRGB, by the embedded profile; one that is broken or does not fit is ignored."""
    if isinstance(profile, int):
        return _with_alpha(hdr.shown(image.convert("RGB"), profile), image)
    if profile and not _is_srgb(profile):
        with suppress(ImageCms.PyCMSError, *BROKEN):
            return _by_profile(image, profile)
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    colour = image.convert("RGB") if image.mode == "RGBA" else image
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    turned = ImageCms.profileToProfile(colour, source, SRGB, outputMode="RGB")
    return image if turned is None else _with_alpha(turned, image)


def _with_alpha(turned: Image.Image, image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        turned.putalpha(image.getchannel("A"))
    return turned


def _is_srgb(profile: bytes) -> bool:
    """The common sRGB profiles name themselves, in ASCII or UTF-16."""
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile
