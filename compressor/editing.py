"""Making edits: each in whole numbers, or in fractions that fit into a float whole, so that no machine rounds otherwise.

Matrices of colours are in parts of 4096: their products and sums have 22 bits, and a float has 24. Filters with sines in their
kernels, Pillow's gaussian blur and the resizing by SIMD take no part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from chipmunk import edits
from chipmunk.edits import SHIFT, Edit

PARTS = 4096
GREY = (1224, 2405, 467)  # Rec. 601's luma
# https://www.w3.org/TR/filter-effects-1/#sepiaEquivalent and #feColorMatrixElement, in parts
SEPIA = ((1610, 3150, 774), (1430, 2810, 688), (1114, 2187, 537))
LUMA = (872, 2929, 295)
ACROSS = ((-872, -2929, 3801), (586, 573, -1159), (-3224, 2929, 295))
ONE = ((PARTS, 0, 0), (0, PARTS, 0), (0, 0, PARTS))
STRIP = 256  # rows that get their noise at once
MARGIN = 2  # of a watermark and a stamp, in hundredths of the shorter side
FONT = "SourceSansPro-Semibold.ttf"
FONT_TRIED = 200  # pixels, to learn how wide a text is

Matrix = Sequence[Sequence[int]]
Opened = Callable[[str], Image.Image]


def edited(image: Image.Image, wanted: Sequence[Edit], stamp: Opened | None = None) -> Image.Image:
    """The picture, RGB or RGBA, with these edits, which fit it; `stamp` gives the picture of a media, as it is needed."""
    for edit in wanted:
        if edit.name == "stamp":
            assert stamp is not None, "whoever has stamps in their edits brings them"
            image = _stamped(image, edit, stamp(str(edit.values[3])))
        else:
            image = _made(image, edit)
    return image


def _made(image: Image.Image, edit: Edit) -> Image.Image:
    match edit.name:
        case "crop" | "rotate" | "flip" | "straighten" | "resize":
            return _shaped(image, edit)
        case "blur":
            return _blurred(image, edit.number(0))
        case "watermark":
            return _marked(image, edit)
        case _:
            colours = _coloured(image.convert("RGB"), edit)
            if image.mode == "RGBA":
                colours.putalpha(image.getchannel("A"))
            return colours


def _shaped(image: Image.Image, edit: Edit) -> Image.Image:
    size = edits.size_after(edit, *image.size)
    match edit.name:
        case "crop":
            left, top = edit.number(0), edit.number(1)
            return image.crop((left, top, left + size[0], top + size[1]))
        case "rotate":
            return image.transpose(CLOCKWISE[edit.number(0)])
        case "flip":
            return image.transpose(FLIPS[str(edit.values[0])])
        case "straighten":
            return _straightened(image, edit.number(0), size)
        case _:
            return image.resize(size, Image.Resampling.BICUBIC)


CLOCKWISE = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
FLIPS = {"h": Image.Transpose.FLIP_LEFT_RIGHT, "v": Image.Transpose.FLIP_TOP_BOTTOM}


def _straightened(image: Image.Image, tenths: int, size: tuple[int, int]) -> Image.Image:
    """Turned clockwise about its middle, and what of it has no corner of nothing."""
    sine, cosine = edits.turn(tenths)

    def from_there(along: int, across: int, old: int) -> float:
        """What puts the new middle on the old one; twice as much is a whole number of parts."""
        return (old * SHIFT - along * size[0] - across * size[1]) / (2 * SHIFT)

    matrix = (
        *(cosine / SHIFT, sine / SHIFT, from_there(cosine, sine, image.width)),
        *(-sine / SHIFT, cosine / SHIFT, from_there(-sine, cosine, image.height)),
    )
    return image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _coloured(image: Image.Image, edit: Edit) -> Image.Image:
    amount = edit.number(0)
    match edit.name:
        case "brightness":
            return image.point([_within(_hundredth(v * (100 + amount))) for v in range(256)] * 3)
        case "contrast":
            return image.point([_within(128 + _hundredth((v - 128) * (100 + amount))) for v in range(256)] * 3)
        case "saturation":
            return _by_matrix(image, _mixed(ONE, [GREY] * 3, -amount))
        case "sepia":
            return _by_matrix(image, _mixed(ONE, SEPIA, amount))
        case "hue":
            return _by_matrix(image, _hue(amount))
        case "sharpen":
            beside = -_hundredth(amount * PARTS // 8)
            kernel = [beside / PARTS] * 4 + [(PARTS - 8 * beside) / PARTS] + [beside / PARTS] * 4
            return image.filter(ImageFilter.Kernel((3, 3), kernel, scale=1))
        case _:
            return _noisy(image, amount, edit.number(1))


def _hundredth(value: int) -> int:
    return (value + 50) // 100


def _within(value: int) -> int:
    return min(255, max(0, value))


def _mixed(one: Matrix, other: Matrix, percent: int) -> Matrix:
    """So much of the other; less than none leads away from it."""
    return [
        [_hundredth(a * (100 - percent) + b * percent) for a, b in zip(*r, strict=True)]
        for r in zip(one, other, strict=True)
    ]


def _hue(degrees: int) -> Matrix:
    """Turns colours about grey, as bright as they are."""
    sine, cosine = edits.turn(degrees * 10)
    return [
        [luma + (cosine * (own - luma) + sine * across) // SHIFT for own, luma, across in zip(*row, strict=True)]
        for row in zip(ONE, [LUMA] * 3, ACROSS, strict=True)
    ]


def _by_matrix(image: Image.Image, matrix: Matrix) -> Image.Image:
    rows = [value for row in matrix for value in (*(part / PARTS for part in row), 0.0)]
    return image.convert("RGB", tuple(rows))


def _blurred(image: Image.Image, radius: int) -> Image.Image:
    """Three times the mean of a square: all but a gaussian of that many pixels. Transparent pixels give no colour to others."""
    if image.mode == "RGBA":
        return _blurred(image.convert("RGBa"), radius).convert("RGBA")
    for _ in range(3):
        image = image.filter(ImageFilter.BoxBlur(radius))
    return image


def _noisy(image: Image.Image, levels: int, seed: int) -> Image.Image:
    """Each pixel lighter or darker by at most so many levels, the same in all channels."""
    drawn = random.Random(seed)  # noqa: S311 - grain, and the same for the same seed
    spread = [v * (2 * levels + 1) // 256 for v in range(256)]
    for top in range(0, image.height, STRIP):
        rows = image.crop((0, top, image.width, min(image.height, top + STRIP)))
        grain = Image.frombytes("L", rows.size, drawn.randbytes(rows.width * rows.height)).point(spread)
        image.paste(ImageChops.add(rows, Image.merge("RGB", (grain,) * 3), 1, -levels), (0, top))
    return image


def _marked(image: Image.Image, edit: Edit) -> Image.Image:
    """White letters with a dark edge, `size` hundredths of the height, smaller where the text is too wide."""
    place, text, opacity = str(edit.values[0]), str(edit.values[3]), edit.number(2)
    room = max(1, image.width - 2 * _margin(image))
    tried = _font(FONT_TRIED).getbbox(text)
    fits = FONT_TRIED * room // max(1, int(tried[2]) + FONT_TRIED // 8)
    size = max(1, min(image.height * edit.number(1) // 100, fits))
    font, edge = _font(size), max(1, size // 20)
    left, top, right, bottom = map(int, font.getbbox(text, stroke_width=edge))
    across, down = _placed(image, place, (right - left, bottom - top))
    at = (across - left, down - top)
    for colour, width in (((0, 0, 0), edge), ((255, 255, 255), 0)):
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).text(at, text, 255, font, stroke_width=width)
        painted = Image.new(image.mode, image.size, (*colour, 255) if image.mode == "RGBA" else colour)
        image = _over(image, painted, mask.point([_hundredth(v * opacity) for v in range(256)]))
    return image


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Letter by letter, since what lays out text otherwise is not on every machine."""
    with as_file(files("font_source_sans_pro") / "files" / FONT) as path:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _margin(image: Image.Image) -> int:
    return max(1, min(image.size) * MARGIN // 100)


def _placed(image: Image.Image, place: str, size: tuple[int, int]) -> tuple[int, int]:
    """Where what is so large begins, in that place of the picture."""
    (width, height), margin = size, _margin(image)
    across = {"w": margin, "e": image.width - margin - width}.get(place[-1], (image.width - width) // 2)
    down = {"n": margin, "s": image.height - margin - height}.get(place[0], (image.height - height) // 2)
    return across, down


def _stamped(image: Image.Image, edit: Edit, stamp: Image.Image) -> Image.Image:
    """The other picture over it, `size` hundredths of the width, smaller where it is too wide or too high."""
    room = [max(1, side - 2 * _margin(image)) for side in image.size]
    width = min(max(1, image.width * edit.number(1) // 100), room[0], max(1, room[1] * stamp.width // stamp.height))
    size = width, min(room[1], max(1, (2 * width * stamp.height + stamp.width) // (2 * stamp.width)))
    small = stamp.resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    small.putalpha(small.getchannel("A").point([_hundredth(v * edit.number(2)) for v in range(256)]))
    across, down = _placed(image, str(edit.values[0]), size)
    at, image = (max(0, across), max(0, down)), image.copy()
    if image.mode == "RGBA":
        image.alpha_composite(small, at)
    else:
        image.paste(small.convert("RGB"), at, small.getchannel("A"))
    return image


def _over(image: Image.Image, painted: Image.Image, mask: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        painted.putalpha(mask)
        return Image.alpha_composite(image, painted)
    image = image.copy()
    image.paste(painted, (0, 0), mask)
    return image
