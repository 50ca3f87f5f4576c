from __future__ import annotations

import io

from PIL import Image, ImageDraw

from chipmunk import colours
from compressor.palette import ALIKE, palette
from tests import pictures
from tests.compressor.conftest import House


def near(one: int, other: tuple[int, int, int], most: float = 0.03) -> bool:
    return colours.apart(colours.oklab(one), colours.oklab(int.from_bytes(bytes(other)))) < most


def test_a_palette_has_each_colour_and_the_one_that_most_has_first() -> None:
    image = Image.new("RGB", (160, 120), pictures.BLUE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 60, 119), pictures.RED)
    draw.rectangle((0, 0, 40, 40), pictures.WHITE)
    found = palette(image)
    assert len(found) >= 3
    assert all(near(one, colour) for one, colour in zip(found, (pictures.BLUE, pictures.RED, pictures.WHITE)))  # noqa: B905


def test_shades_are_one_colour_though_another_has_more_than_any_of_them() -> None:
    """A green sky in many shades over blue land: more of it is green, though no shade of that has as much as the blue."""
    image = Image.new("RGB", (160, 120), pictures.BLUE)
    for row in range(72):
        ImageDraw.Draw(image).line((0, row, 159, row), (20, 180 + row // 3, 40))
    first, second = palette(image)[:2]
    assert near(first, (20, 192, 40), ALIKE)
    assert near(second, pictures.BLUE)


def test_a_palette_is_small_distinct_and_the_same_again() -> None:
    image = pictures.noise(24, 18).resize((160, 120), Image.Resampling.BICUBIC)
    found = palette(image)
    assert 1 < len(found) <= 6
    assert len(set(found)) == len(found)
    assert palette(image.copy()) == found


def test_what_is_transparent_has_no_colour() -> None:
    image = Image.new("RGBA", (100, 100), (*pictures.GREEN, 0))
    ImageDraw.Draw(image).rectangle((30, 30, 50, 50), (*pictures.RED, 255))
    assert len(found := palette(image)) == 1
    assert near(found[0], pictures.RED)
    assert palette(Image.new("RGBA", (100, 100), (*pictures.GREEN, 0))) == []


def test_the_smallest_picture_has_its_colour() -> None:
    assert palette(Image.new("RGB", (1, 1), (1, 2, 3))) == [0x010203]


async def test_an_upload_answers_its_colours_and_a_file_without_picture_none(house: House) -> None:
    image = Image.new("RGB", (300, 200), pictures.GREEN)
    ImageDraw.Draw(image).rectangle((0, 0, 99, 199), pictures.RED)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    answer = await house.stored(out.getvalue())
    found = [colours.read(text) for text in answer["palette"]]
    assert answer["dominant_colour"] == answer["palette"][0]
    assert found[0] is not None
    assert near(found[0], pictures.GREEN)
    assert any(one is not None and near(one, pictures.RED) for one in found[1:])
    music = await house.stored(pictures.wav())
    assert (music["dominant_colour"], music["palette"]) == (None, [])
