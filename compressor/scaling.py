"""Making pictures smaller: boxes first where there is far to go, then a Lanczos filter; by SIMD where its wheel is there.

The two ways differ by rounding alone. See docs/decisions/0006-the-ladder-measured.md.
"""

from __future__ import annotations

import PIL
from PIL import Image

try:
    import cykooz_resizer as simd
except ImportError:  # a machine that it has no wheel for
    simd = None

Box = tuple[float, float, float, float]
GAP = 2.0  # what the filter has left to do at least, as a factor, after the boxes
STRIP = 128  # rows of the result that are made at once, so that a large source is not copied whole
MODES = ("L", "RGB", "RGBA", "CMYK")
PILLOWS = ("12", "13")  # whose pictures in memory it knows: it works in place on them
if PIL.__version__.partition(".")[0] not in PILLOWS:
    simd = None


def resized(image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
    """The picture, or the part of it within `box`, at this size. Transparent pixels give no colour to others."""
    box = box or (0, 0, *image.size)
    if image.size == size and box == (0, 0, *size):
        return image
    across, down = (max(1, int((box[at + 2] - box[at]) / size[at] / GAP)) for at in (0, 1))
    if across > 1 or down > 1:
        image = boxed(image, across, down)
        box = (box[0] / across, box[1] / down, box[2] / across, box[3] / down)
    if simd is None or image.mode not in MODES:
        return image.resize(size, Image.Resampling.LANCZOS, box=box)
    return _by_simd(image, size, box)


def boxed(image: Image.Image, across: int, down: int) -> Image.Image:
    """Each pixel the mean of so many; with alpha in strips, for the work is done on a copy that counts it in."""
    if image.mode not in ("RGBA", "LA"):
        return image.reduce((across, down))
    width, height = -(-image.width // across), -(-image.height // down)
    small = Image.new(image.mode, (width, height), None)
    for top in range(0, height, STRIP):
        rows = (0, top * down, image.width, min(image.height, (top + STRIP) * down))
        small.paste(image.crop(rows).reduce((across, down)), (0, top))
    return small


def _by_simd(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    left, top, right, bottom = box[0], box[1], min(box[2], image.width), min(box[3], image.height)
    crop = simd.CropBox(left, top, right - left, bottom - top)
    lanczos = simd.ResizeAlg.convolution(simd.FilterType.lanczos3)
    target = Image.new(image.mode, size, None)
    simd.Resizer().resize_pil(image, target, simd.ResizeOptions(resize_alg=lanczos, crop_box=crop))
    return target
