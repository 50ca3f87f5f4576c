"""A square keeps the subject where the operator wants it, the same part of the picture at every rung, however that was stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from compressor.attention import CENTRE, place
from tests import pictures
from tests.compressor.conftest import House, working
from tests.compressor.test_decoders import Studio

SKIN, COAT = (236, 188, 160), (180, 30, 40)


def scene(at: float, size: tuple[int, int] = (480, 240)) -> Image.Image:
    """Somebody, so far along the longer side, before a pale sky and a plain."""
    width, height = max(size), min(size)
    image = Image.new("RGB", (width, height), (200, 208, 214))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 2 // 3, width, height), (150, 152, 140))
    middle, head = int(at * width), height // 10
    draw.ellipse((middle - head, height // 4, middle + head, height // 4 + 2 * head), SKIN)
    draw.rectangle((middle - head, height // 4 + 2 * head, middle + head, height * 5 // 6), COAT)
    for n in range(-head, head, 6):
        draw.line((middle + n, height // 2, middle + n, height * 5 // 6), (30, 20, 25), 2)
    return image if size[0] >= size[1] else image.transpose(Image.Transpose.TRANSPOSE)


def kept(crop: float, at: float, size: tuple[int, int] = (480, 240)) -> bool:
    """Whether all of the subject lies in the square."""
    longer, side = max(size), min(size)
    begin, head = crop * (longer - side), side // 10
    return begin <= at * longer - head and at * longer + head <= begin + side


@pytest.mark.parametrize("size", [(480, 240), (240, 480), (400, 300), (900, 200)])
def test_the_subject_stays_wherever_it_is(size: tuple[int, int]) -> None:
    places = [n / 20 for n in range(3, 18)]
    assert [at for at in places if not kept(place(scene(at, size)), at, size)] == []
    assert [at for at in (0.15, 0.85) if kept(CENTRE, at, size)] == [], "or this would show nothing"


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (300, 100), "white"),
        Image.new("RGBA", (100, 300), (10, 200, 30, 0)),
        Image.new("RGB", (200, 200), COAT),
        Image.new("RGB", (1, 160)),
        Image.new("RGB", (160, 1)),
        Image.new("RGB", (2, 1), COAT),
        scene(0.5),
    ],
    ids=["plain", "clear", "square", "a line", "a row", "tiny", "in the middle"],
)
def test_where_nothing_draws_the_eye_elsewhere_it_is_the_centre(image: Image.Image) -> None:
    assert place(image) == CENTRE


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio(crop="attention")
    yield studio
    studio.close()


def unlike(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures, of 255, as small as the smaller is."""
    small, large = sorted((one.convert("RGB"), other.convert("RGB")), key=lambda image: image.width)
    difference = ImageChops.difference(small, large.resize(small.size, Image.Resampling.BOX))
    return max(ImageStat.Stat(difference).mean)


@pytest.mark.parametrize("orientation", pictures.TURNS)
@pytest.mark.parametrize("size", [(480, 240), (240, 480)])
def test_every_rung_has_the_same_part_of_it_however_it_is_stored(
    studio: Studio, tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    upright, exif, turn = scene(0.85, size), Image.Exif(), pictures.TURNS[orientation]
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    begun, rungs = studio.climb(pictures.saved(stored, "JPEG", quality=92, exif=exif), tmp_path, square=True)
    assert begun.crop is not None
    assert kept(begun.crop, 0.85, size)
    at = int(begun.crop * 240)
    box = (at, 0, at + 240, 240) if size[0] > size[1] else (0, at, 240, at + 240)
    assert [rung.size for rung in rungs[3:]] == [(240, 240)] * 3
    assert max(unlike(rung, upright.crop(box)) for rung in rungs[2:]) < 8
    assert min(unlike(rung, upright.crop(tuple(n // 2 for n in box))) for rung in rungs[2:]) > 16, (
        "another part is not like it"
    )


def test_what_moves_is_cut_where_its_first_frame_is(studio: Studio, tmp_path: Path) -> None:
    frames = [scene(at) for at in (0.85, 0.5, 0.15)]
    data = pictures.saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
    begun, rungs = studio.climb(data, tmp_path, square=True)
    assert begun.crop is not None
    at = int(begun.crop * 240)
    for rung in rungs[2:6]:
        for n, frame in enumerate(frames):
            rung.seek(n)
            assert unlike(rung, frame.crop((at, 0, at + 240, 240))) < 12


def test_without_the_setting_it_is_the_centre_and_what_is_not_square_is_whole(studio: Studio, tmp_path: Path) -> None:
    plain = Studio()
    try:
        begun, _ = plain.climb(pictures.saved(scene(0.85), "PNG"), tmp_path, square=True)
    finally:
        plain.close()
    assert begun.crop == CENTRE
    begun, rungs = studio.climb(pictures.saved(scene(0.85), "PNG"), tmp_path)
    assert (begun.crop, rungs[-1].size) == (None, (480, 240))


async def test_later_rungs_are_cut_where_the_first_were_whatever_is_set_by_then(house: House) -> None:
    await house.flow("faces", square=True)
    data = pictures.saved(scene(0.85), "PNG")
    stored, old = await house.stored(data, flow="faces"), await house.stored(data, flow="faces", filename="old.png")
    row = await house.one("select crop from media where id = $1", UUID(hex=stored["id"]))
    assert row[0] == CENTRE
    await house.run("update media set crop = 1 where id = $1", UUID(hex=stored["id"]))  # as if by attention
    await house.run("update media set crop = null where id = $1", UUID(hex=old["id"]))  # as if from before it was kept
    async with working(house.parts):
        for one, box in ((stored, (240, 0, 480, 240)), (old, (120, 0, 360, 240))):
            await house.until("ready", one["id"])
            with Image.open(house.folder(one["id"]) / "6.webp") as rung:
                assert unlike(rung, scene(0.85).crop(box)) < 8


def gallery() -> Image.Image:
    """What docs/crop.png shows: whole pictures, then their squares at the centre and by attention."""
    sheet = Image.new("RGB", (740, 380), "white")
    for row, (at, size) in enumerate([(0.82, (320, 160)), (0.2, (240, 160))]):
        whole, side = scene(at, size), min(size)
        for column, crop in ((360, CENTRE), (550, place(whole))):
            begin = int(crop * (whole.width - side))
            sheet.paste(whole.crop((begin, 0, begin + side, side)), (column, 20 + 180 * row))
        sheet.paste(whole, (20, 20 + 180 * row))
    return sheet


def test_the_picture_in_the_docs_is_what_is_made() -> None:
    with Image.open(Path(__file__).parents[2] / "docs" / "crop.png") as shown:
        assert unlike(shown, gallery()) < 0.1
