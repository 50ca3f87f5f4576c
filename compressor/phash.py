"""A hash of what a picture looks like: of the same picture, encoded again, smaller or brighter, nearly the same bits.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, §3.2.1, as pHash has
it: of the brightness in 32 × 32 the waves 1 to 8 across and down, one bit each, whether it is above the median. In whole
numbers, so that every machine finds the same bits.
"""

from __future__ import annotations

import math
from operator import mul

from PIL import Image

SIDE, WAVES = 32, range(1, 9)
SCALE = 1 << 12
COSINES = [[round(SCALE * math.cos(math.pi * wave * (2 * n + 1) / (2 * SIDE))) for n in range(SIDE)] for wave in WAVES]
FLAT = 4 * SIDE * SIDE // 4 * SCALE * SCALE  # of all waves, as of one that is four steps of 255 high


def phash(image: Image.Image) -> int | None:
    """64 bits as a signed number; None of a picture that has nothing to tell it by, as one colour or plain stripes."""
    grey = _on_white(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    rows = [grey[n : n + SIDE] for n in range(0, SIDE * SIDE, SIDE)]
    across = [[sum(map(mul, row, cosines)) for row in rows] for cosines in COSINES]
    waves = [sum(map(mul, column, cosines)) for cosines in COSINES for column in across]
    if sum(map(abs, waves)) < FLAT:
        return None
    middle = sorted(waves)[len(waves) // 2]
    bits = 0
    for wave in waves:
        bits = bits << 1 | (wave >= middle)
    return bits - (1 << 64) if bits >> 63 else bits


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
