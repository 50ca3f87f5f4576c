"""The placeholder: a thumbhash (https://evanw.github.io/thumbhash/), some 25 bytes that blur into the picture."""

from __future__ import annotations

from PIL import Image
from thumbhash import rgba_to_thumb_hash

SIDE = 16  # twice the finest wave that it keeps; the library takes its time for each pixel


def placeholder(image: Image.Image) -> bytes:
    """Transparent parts as on white: the library fails on a hash with alpha (thumbhash 0.1.2)."""
    small = image.convert("RGBA")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return bytes(rgba_to_thumb_hash(small.width, small.height, list(small.tobytes())))
