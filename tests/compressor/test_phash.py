"""The same photograph is known again however it was sent; another is not taken for it."""

from __future__ import annotations

import io
from itertools import combinations

import pytest
from PIL import Image, ImageEnhance

from compressor.phash import phash
from compressor.pictures import base
from tests import pictures
from tests.client import photo

SAME, OTHER = 7, 16  # bits: what is found unless more is asked for, and what no two of these pictures come close to


def hashed(data: bytes | Image.Image) -> int:
    encoded = data if isinstance(data, bytes) else pictures.saved(data, "PNG")
    found = phash(base(Image.open(io.BytesIO(encoded)), 3, None))
    assert found is not None
    return found


def apart(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_a_photograph_is_known_again(seed: int) -> None:
    image = Image.open(io.BytesIO(photo(seed=seed, quality=92))).convert("RGB")
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    bright = ImageEnhance.Brightness(image).enhance(1.15)
    again = {
        "encoded at quality 50": pictures.saved(image, "JPEG", quality=50),
        "half as large": half,
        "brighter": bright,
        "all of it": pictures.saved(ImageEnhance.Brightness(half).enhance(1.15), "WEBP", quality=50),
        "in grey": image.convert("L"),
    }
    assert {how: n for how, data in again.items() if (n := apart(hashed(image), hashed(data))) > SAME} == {}


def test_other_photographs_are_not_taken_for_it() -> None:
    found = [hashed(photo(seed=seed)) for seed in range(40)]
    assert min(apart(one, other) for one, other in combinations(found, 2)) >= OTHER


def test_a_turned_one_is_another_and_one_that_says_it_lies_on_its_side_is_the_same() -> None:
    image = Image.open(io.BytesIO(photo(400, 300))).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = pictures.saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)
    assert apart(hashed(image), hashed(on_its_side)) <= SAME
    assert apart(hashed(image), hashed(image.transpose(Image.Transpose.ROTATE_90))) >= OTHER


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (200, 100), "white"),
        Image.new("RGB", (1, 1)),
        Image.new("RGBA", (90, 90), (10, 200, 30, 0)),
        Image.linear_gradient("L").convert("RGB"),
    ],
    ids=["one colour", "one pixel", "all transparent", "a gradient"],
)
def test_a_picture_with_nothing_to_tell_it_by_has_none(image: Image.Image) -> None:
    assert phash(image) is None


def test_a_hash_is_these_bits_on_every_machine() -> None:
    image = Image.radial_gradient("L").resize((160, 90)).convert("RGB")
    image.paste((255, 0, 0), (20, 10, 70, 60))
    assert hashed(image) == 9201348598841970375
