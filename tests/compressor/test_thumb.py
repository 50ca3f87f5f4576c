from __future__ import annotations

import pytest
import thumbhash
from PIL import Image, ImageChops

from compressor import thumb
from tests import pictures

LARGEST = 32  # the side of the picture that a hash is made of where nobody waits for it
MOST_APART = 12  # of 255: three steps of the coarsest number in a hash


def gradient() -> Image.Image:
    ramp = Image.linear_gradient("L").resize((160, 90))
    return Image.merge("RGB", (ramp, ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT), ramp.rotate(180)))


PICTURES = {
    "gradient": gradient(),
    "patches": pictures.noise(8, 6).resize((160, 120), Image.Resampling.BICUBIC),
    "upright": pictures.noise(6, 8).resize((120, 160), Image.Resampling.BICUBIC),
    "noise": pictures.noise(160, 107),
}


def shown(placeholder: bytes) -> Image.Image:
    width, height, data = thumbhash.thumb_hash_to_rgba(list(placeholder))
    return Image.frombytes("RGBA", (width, height), bytes(data)).convert("RGB")


@pytest.mark.parametrize("name", PICTURES)
def test_a_placeholder_looks_like_one_made_of_a_larger_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = thumb.placeholder(PICTURES[name])
    monkeypatch.setattr(thumb, "SIDE", LARGEST)
    slow = thumb.placeholder(PICTURES[name])
    assert len(quick) == len(slow) <= 33
    difference = ImageChops.difference(shown(quick), shown(slow))
    assert max(difference.tobytes()) <= MOST_APART


def test_a_placeholder_has_the_colour_of_its_picture() -> None:
    colour = (200, 40, 90)
    seen = shown(thumb.placeholder(Image.new("RGB", (160, 120), colour)))
    assert max(ImageChops.difference(seen, Image.new("RGB", seen.size, colour)).tobytes()) < 8
