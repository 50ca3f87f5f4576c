"""The colours of a picture: a few that differ, the one that most of it has first.

Median cut (P. Heckbert, "Color image quantization for frame buffer display", SIGGRAPH 1982), as Pillow has it in C, finds
16 colours; those that look alike become one, nearest first, as in agglomerative clustering by centroids, in Oklab.
"""

from __future__ import annotations

from itertools import combinations

from PIL import Image

from chipmunk import colours
from chipmunk.colours import Lab

SIDE = 32  # a thousand pixels: twice as many cost twice as much and name the same colours
CUTS = 16
MOST = 6
ALIKE = 0.1  # ΔE in Oklab below which two are one
LEAST = 0.01  # of the picture, for what is a colour of it
OPAQUE = 128
Part = tuple[int, int, Lab]  # how many pixels, their colour, the same in Oklab


def palette(image: Image.Image) -> list[int]:
    """At most six colours, by how much of the picture they are; none of one that is all transparent."""
    small = image.copy() if max(image.size) <= SIDE else image.reduce(-(-max(image.size) // SIDE))
    mask = None
    if small.mode == "RGBA":
        mask = small.getchannel("A").point(lambda alpha: 255 if alpha >= OPAQUE else 0)
        small = small.convert("RGB")
    cut = small.quantize(CUTS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    table = cut.getpalette("RGB") or []
    counts = cut.histogram(mask)
    found = [(counts[n], int.from_bytes(table[3 * n : 3 * n + 3])) for n in range(len(table) // 3) if counts[n]]
    parts = _merged([(count, colour, colours.oklab(colour)) for count, colour in found])
    least = LEAST * sum(count for count, _, _ in parts)
    return [colour for count, colour, _ in sorted(parts, key=lambda part: (-part[0], part[1])) if count >= least][:MOST]


def _merged(parts: list[Part]) -> list[Part]:
    while len(parts) > 1:
        distance, one, other = min((colours.apart(a[2], b[2]), a, b) for a, b in combinations(parts, 2))
        if distance >= ALIKE:
            break
        parts = [part for part in parts if part is not one and part is not other]
        parts.append(_mixed(one, other))
    return parts


def _mixed(one: Part, other: Part) -> Part:
    """What both are together: the mean in Oklab, shown by the colour of the larger of the two."""
    count = one[0] + other[0]
    mean = tuple((one[0] * a + other[0] * b) / count for a, b in zip(one[2], other[2], strict=True))
    return count, max(one, other)[1], (mean[0], mean[1], mean[2])
