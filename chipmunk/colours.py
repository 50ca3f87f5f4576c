"""Colours: red, green and blue of sRGB in one number, and how far two of them look apart. Pure."""

from __future__ import annotations

import math
import re

HEX = re.compile(r"#?([0-9a-f]{6})", re.ASCII | re.IGNORECASE)
Lab = tuple[float, float, float]
LINEAR = tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (n / 255 for n in range(256)))


def shown(colour: int) -> str:
    """As `#rrggbb`."""
    return f"#{colour:06x}"


def read(text: str) -> int | None:
    """The colour that `#rrggbb`, or `rrggbb`, is; None where it is none."""
    found = HEX.fullmatch(text)
    return None if found is None else int(found[1], 16)


def oklab(colour: int) -> Lab:
    """In Oklab, where distances are as people see them: B. Ottosson, "A perceptual color space for image processing", 2020
    (https://bottosson.github.io/posts/oklab/), with the matrices of January 2021."""
    red, green, blue = LINEAR[colour >> 16], LINEAR[colour >> 8 & 255], LINEAR[colour & 255]
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def apart(one: Lab, other: Lab) -> float:
    """ΔE in Oklab (CSS Color 4 calls it deltaEOK): black and white are 1 apart, and two below 0.02 look the same."""
    return math.dist(one, other)
