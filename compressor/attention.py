"""Where a square is cut out of a picture so that its subject stays.

Attention by edges, skin and saturation, as in smartcrop.js by J. Wagner (https://github.com/jwagner/smartcrop.js, 2013), whose
weights and thresholds these are. A square has the whole of the shorter side, so there is one number to find.
"""

from __future__ import annotations

import math
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFilter

SIDE = 48  # of the picture that is looked at
EDGES = ImageFilter.Kernel((3, 3), (0, -1, 0, -1, 4, -1, 0, -1, 0), scale=1)
SKIN, SKIN_LEAST, SKIN_BRIGHTNESS, SKIN_WEIGHT = (0.78, 0.57, 0.44), 0.8, (0.2, 1.0), 1.8
SATURATION_LEAST, SATURATION_BRIGHTNESS, SATURATION_WEIGHT = 0.4, (0.05, 0.9), 0.1
EDGES_WEIGHT = 0.2
RIM, RIM_WEIGHT = 0.15, 0.5  # of the square at either end counts so much: a subject does not like to lie there
CENTRE = 0.5
WORTH = 1.03  # as much better than the centre a place has to be
STEPS = 100


def place(image: Image.Image) -> float:
    """Where the square lies along the longer side of an upright RGB or RGBA picture: 0 at its beginning, 1 at its end."""
    width, height = image.size
    if width == height:
        return CENTRE
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    small = image.resize(_within(width, height), Image.Resampling.BOX)
    small = small if width > height else small.transpose(Image.Transpose.TRANSPOSE)
    columns = _columns(small)
    side = min(small.size)
    scores = [(_score(columns, side, n / STEPS), -abs(n / STEPS - CENTRE), n / STEPS) for n in range(STEPS + 1)]
    best, _, where = max(scores)
    return where if best > WORTH * scores[STEPS // 2][0] else CENTRE


def _within(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    return max(1, width * SIDE // longest), max(1, height * SIDE // longest)


def _columns(image: Image.Image) -> list[float]:
    """How much there is to see in each column."""
    width = image.width
    edges = image.convert("L").filter(EDGES)
    ImageDraw.Draw(edges).rectangle(
        (0, 0, width - 1, image.height - 1), outline=0
    )  # where the filter leaves what was there
    colours = image.tobytes()
    found = [0.0] * width
    for n, edge in enumerate(edges.tobytes()):
        red, green, blue = colours[3 * n], colours[3 * n + 1], colours[3 * n + 2]
        found[n % width] += EDGES_WEIGHT * edge / 255 + _skin(red, green, blue) + _saturation(red, green, blue)
    return found


def _skin(red: int, green: int, blue: int) -> float:
    length = math.sqrt(red * red + green * green + blue * blue)
    brightness = (0.5126 * blue + 0.7152 * green + 0.0722 * red) / 255
    if length == 0 or not SKIN_BRIGHTNESS[0] <= brightness <= SKIN_BRIGHTNESS[1]:
        return 0.0
    like = 1 - math.dist((red / length, green / length, blue / length), SKIN)
    return SKIN_WEIGHT * (like - SKIN_LEAST) / (1 - SKIN_LEAST) if like > SKIN_LEAST else 0.0


def _saturation(red: int, green: int, blue: int) -> float:
    most, least = max(red, green, blue) / 255, min(red, green, blue) / 255
    lightness = (most + least) / 2
    if most == least or not SATURATION_BRIGHTNESS[0] <= lightness <= SATURATION_BRIGHTNESS[1]:
        return 0.0
    range_ = most - least
    saturation = range_ / (2 - most - least) if lightness > 0.5 else range_ / (most + least)
    over = (saturation - SATURATION_LEAST) / (1 - SATURATION_LEAST)
    return SATURATION_WEIGHT * over if saturation > SATURATION_LEAST else 0.0


def _score(columns: list[float], side: int, where: float) -> float:
    """What a square there shows, its rims counted less."""
    begin = where * (len(columns) - side)
    sums = [0.0, *accumulate(columns)]

    def seen(left: float, right: float) -> float:
        return _at(sums, right) - _at(sums, left)

    rim = RIM * side
    inner = seen(begin + rim, begin + side - rim)
    return inner + RIM_WEIGHT * (seen(begin, begin + side) - inner)


def _at(sums: list[float], where: float) -> float:
    """The sum of the columns before a place, which may lie within one."""
    whole = min(int(where), len(sums) - 2)
    return sums[whole] + (where - whole) * (sums[whole + 1] - sums[whole])
