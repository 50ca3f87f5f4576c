"""Edits of pictures: what each does, that they are the same everywhere, and that they are made behind the fence."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from chipmunk import edits
from chipmunk.edits import KINDS, parse, size_after, sized
from chipmunk.errors import BadEdits, CorruptImage, DecodeFailed, TooManyPixels
from compressor import editing
from compressor.editing import edited
from compressor.sniff import sniff
from tests import pictures
from tests.compressor.test_decoders import Studio
from tests.pictures import BLUE, CORNERS, GREEN, RED, WHITE

MARK = base64.urlsafe_b64encode("© Ann…".encode()).rstrip(b"=").decode()


def plain(width: int = 120, height: int = 90) -> Image.Image:
    """Every pixel by whole numbers alone, coarse and fine at once."""
    rows = [(x * 2, y * 2, (x * y + 17 * (x % 5)) % 256) for y in range(height) for x in range(width)]
    image = Image.new("RGB", (width, height))
    image.putdata(rows)
    return image


def clear(width: int = 120, height: int = 90) -> Image.Image:
    """The same, clearer and clearer to the right."""
    image = plain(width, height)
    image.putalpha(Image.frombytes("L", (width, height), bytes(x * 2 for x in range(width)) * height))
    return image


STAMP = "0123456789abcdef" * 2


def stamp(media: str) -> Image.Image:
    """Blue, twice as wide as high, and clear in its right half."""
    assert media == STAMP
    image = Image.new("RGBA", (80, 40), (0, 0, 255, 255))
    image.paste((255, 0, 0, 0), (40, 0, 80, 40))
    return image


def made(text: str, image: Image.Image | None = None) -> Image.Image:
    return edited(image or pictures.corners(), parse(text), stamp)


def corners_of(image: Image.Image) -> list[tuple[int, ...]]:
    far = (image.width - 4, image.height - 4)
    return [image.getpixel(at) for at in ((3, 3), (far[0], 3), (3, far[1]), far)]  # type: ignore[misc]


def mean(image: Image.Image) -> list[float]:
    return [round(value) for value in ImageStat.Stat(image).mean]


GOLDEN = {
    "crop.10.20.70.50": ["2d14d65227cd6ddd", "72305aee953545ef"],
    "rotate.90": ["3cac0dea7cdadc3a", "26e4a986c28929bd"],
    "straighten.-37": ["b383aab0117a8042", "50c79de82c0cc48d"],
    "flip.v": ["5926cf5dc0c2efc5", "91ab8eaaf5c7afc4"],
    "resize.50.0": ["be0faca29338687b", "fee06f8efea99a96"],
    "resize.300.100": ["648a7358c9c65ff9", "c1745e72b67dbefe"],
    "brightness.35": ["825f791e0b0e4e53", "81c859787f951ed7"],
    "contrast.-40": ["7d8b46819dda59a7", "80d9821e8815929f"],
    "saturation.80": ["680bdd83449857fe", "19d135b68bd9a06a"],
    "sharpen.60": ["beea4f9505912d5c", "b23717ebb199eb3e"],
    "sepia.75": ["f57bbf646657175c", "1722e9dc904a9fdc"],
    "hue.-100": ["e385d9eaf0ae1bcc", "f7c032c0ecab4061"],
    "blur.3": ["455272da1732260e", "5c9e0e9f5088232b"],
    "noise.25.4294967295": ["13793e6c8eaea6a4", "4a9cf8e4b0f33b6b"],
    "watermark.se.20.60.wqkgQW5u4oCm": ["c24b658c0088f7ad", "3a15bfc0f31576c5"],
    f"stamp.ne.40.70.{STAMP}": ["b125550229588649", "44d624ea233baba3"],
}


@pytest.mark.parametrize("text", GOLDEN)
def test_the_same_pixels_come_out_on_every_machine(text: str) -> None:
    found = [hashlib.sha256(made(text, image()).tobytes()).hexdigest()[:16] for image in (plain, clear)]
    assert found == GOLDEN[text]


def test_every_edit_has_its_pixels_told() -> None:
    assert {edit.name for text in GOLDEN for edit in parse(text)} == set(KINDS)


@pytest.mark.parametrize(
    ("text", "corners"),
    [
        ("rotate.90", [BLUE, RED, WHITE, GREEN]),
        ("rotate.180", [WHITE, BLUE, GREEN, RED]),
        ("rotate.270", [GREEN, WHITE, RED, BLUE]),
        ("flip.h", [GREEN, RED, WHITE, BLUE]),
        ("flip.v", [BLUE, WHITE, RED, GREEN]),
        ("crop.250.0.100.100", [GREEN] * 4),
        ("resize.100.75", [RED, GREEN, BLUE, WHITE]),
        ("crop.0.0.100.100~flip.h~resize.0.40", [RED] * 4),
    ],
)
def test_shapes_turn_clockwise_and_keep_their_colours(text: str, corners: list[tuple[int, ...]]) -> None:
    assert corners_of(made(text)) == corners
    assert made(text).size == sized(parse(text), 400, 300, 10**6)


def test_straightening_turns_clockwise_about_the_middle_and_leaves_no_empty_corner() -> None:
    white = Image.new("RGB", (400, 300), (255, 255, 255))
    for tenths in (-450, -123, -1, 1, 57, 300, 450):
        assert made(f"straighten.{tenths}", white).getextrema() == ((255, 255),) * 3, tenths
    line = Image.new("L", (401, 301)).convert("RGB")
    line.paste((255, 255, 255), (0, 149, 401, 152))
    turned = made("straighten.100", line)
    left, middle, right = (centre(turned, x) for x in (20, turned.width // 2, turned.width - 21))
    assert middle == pytest.approx(turned.height / 2 - 0.5, abs=0.3)
    assert right - left == pytest.approx((turned.width - 41) * 0.1763, abs=1)


def centre(image: Image.Image, x: int) -> float:
    """The height of what is bright in this column."""
    column = image.convert("L").crop((x, 0, x + 1, image.height)).tobytes()
    return sum(y * value for y, value in enumerate(column)) / sum(column)


def test_tones_and_colours_go_where_their_names_say() -> None:
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    assert mean(made("brightness.50", grey)) == [150] * 3
    assert mean(made("brightness.-100", grey)) == [0] * 3
    assert mean(made("contrast.50", grey)) == [86] * 3
    assert mean(made("contrast.-100", grey)) == [128] * 3
    assert mean(made("hue.77", grey)) == [100] * 3
    red = Image.new("RGB", (8, 8), (200, 40, 40))
    assert len(set(mean(made("saturation.-100", red)))) == 1
    assert mean(made("saturation.50", red))[0] > 200
    green = made("hue.120", red).getpixel((0, 0))
    assert isinstance(green, tuple)
    assert green[1] == max(green)
    sepia = made("sepia.100", grey).getpixel((0, 0))
    assert isinstance(sepia, tuple)
    assert sepia[0] > sepia[1] > sepia[2]
    assert made("hue.180~hue.180", grey).getpixel((0, 0)) == (100, 100, 100)


def test_sharpening_blurring_and_grain() -> None:
    edge = pictures.corners()
    assert ImageStat.Stat(made("sharpen.100", edge)).stddev > ImageStat.Stat(edge).stddev
    assert made("blur.20", edge).getpixel((200, 20)) != edge.getpixel((200, 20))
    assert made("blur.20", edge).getpixel((3, 3)) == RED
    grey = Image.new("RGB", (300, 300), (100, 100, 100))
    grain = made("noise.20.7", grey)
    assert grain.getextrema() == ((80, 120),) * 3
    assert mean(grain) == [100] * 3
    assert made("noise.20.7", grey).tobytes() == grain.tobytes()
    assert made("noise.20.8", grey).tobytes() != grain.tobytes()


@pytest.mark.parametrize("place", ["nw", "n", "ne", "w", "c", "e", "sw", "s", "se"])
def test_a_watermark_is_where_it_is_to_be_and_within_the_picture(place: str) -> None:
    grey = Image.new("RGB", (400, 300), (100, 100, 100))
    box = ImageChops.difference(made(f"watermark.{place}.10.80.{MARK}", grey), grey).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert 15 <= bottom - top <= 36
    across = {"w": left, "e": 400 - right}.get(place[-1], abs(left + right - 400) / 2)
    down = {"n": top, "s": 300 - bottom}.get(place[0], abs(top + bottom - 300) / 2)
    assert (across < 12, down < 12) == (True, True), box
    assert left > 2
    assert right < 398


@pytest.mark.parametrize(("place", "left", "top"), [("nw", 6, 6), ("n", 150, 6), ("e", 294, 125), ("se", 294, 244)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_stamp_is_where_it_is_to_be_as_wide_and_as_clear(place: str, left: int, top: int, mode: str) -> None:
    grey = Image.new(mode, (400, 300), (100, 100, 100, 255)[: len(mode)])
    found = made(f"stamp.{place}.25.50.{STAMP}", grey)
    box = ImageChops.difference(found.convert("RGB"), grey.convert("RGB")).getbbox()
    assert box == pytest.approx((left, top, left + 50, top + 50), abs=1), "the left half of 100 by 50"
    assert found.getpixel((left + 20, top + 25))[:3] == pytest.approx((50, 50, 178), abs=1)  # type: ignore[index]
    assert found.mode == mode


def test_a_stamp_is_made_to_fit_and_shows_where_the_picture_is_clear() -> None:
    wide, grey = made(f"stamp.c.100.100.{STAMP}", Image.new("RGB", (400, 60))), (100, 100, 100)
    assert ImageChops.difference(wide, Image.new("RGB", (400, 60))).getbbox() == pytest.approx((142, 1, 200, 59), abs=1)
    clear_there = made(f"stamp.w.50.100.{STAMP}", Image.new("RGBA", (100, 100), (*grey, 0)))
    assert clear_there.getpixel((12, 50)) == (0, 0, 255, 255)
    assert clear_there.getpixel((80, 50))[3] == 0  # type: ignore[index]


def test_the_font_has_each_letter_that_an_edit_may_have() -> None:
    font = editing._font(40)
    nothing = bytes(font.getmask(chr(0xFFFF)))
    letters = [chr(n) for n in range(0x10000) if edits.TEXT.fullmatch(chr(n)) and not chr(n).isspace()]
    assert len(letters) > 500
    assert [one for one in letters if bytes(font.getmask(one)) in (nothing, b"")] == []


def test_a_long_watermark_is_made_to_fit() -> None:
    grey = Image.new("RGB", (200, 300), (100, 100, 100))
    text = base64.urlsafe_b64encode(b"W" * 64).rstrip(b"=").decode()
    box = ImageChops.difference(made(f"watermark.c.50.100.{text}", grey), grey).getbbox()
    assert box is not None
    assert (box[0] > 0, box[2] < 200, box[2] - box[0] > 100) == (True, True, True), box


def test_what_is_clear_stays_clear_and_gives_no_colour_to_others() -> None:
    image = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (50, 0, 100, 100))
    for text in ("resize.50.50", "blur.5", "sepia.50", "straighten.50", "sharpen.100", "noise.5.1"):
        found = made(text, image)
        assert found.mode == "RGBA", text
        assert found.getpixel((2, found.height // 2))[3] == 0, text  # type: ignore[index]
    blurred = made("blur.5", image).getpixel((52, 50))
    assert isinstance(blurred, tuple)
    assert blurred[0] < 5
    assert blurred[2] > 250


SIMPLE = [
    *("rotate.90", "flip.v", "straighten.33", "resize.0.20", "brightness.30", "sepia.70", "hue.-50", "noise.9.9"),
    *("sharpen.40", "blur.2", f"watermark.s.20.50.{MARK}", f"stamp.sw.90.50.{STAMP}"),
]


@given(
    st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=6, unique=True),
    st.integers(1, 70),
    st.integers(1, 70),
    st.booleans(),
)
def test_any_edits_of_any_size_give_what_was_foretold(texts: list[str], width: int, height: int, opaque: bool) -> None:
    wanted = parse("~".join(texts))
    found = edited(Image.new("RGB" if opaque else "RGBA", (width, height), (90, 120, 30)), wanted, stamp)
    for edit in wanted:
        width, height = size_after(edit, width, height)
    assert (found.mode, found.size) == ("RGB" if opaque else "RGBA", (width, height))


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio(max_pixels=200_000)
    yield studio
    studio.close()


def behind_the_fence(studio: Studio, folder: Path, data: bytes, text: str, over: bytes = b"") -> Image.Image:
    path, out, stamp = folder / "0", folder / "edited", folder / "stamp"
    path.write_bytes(data)
    stamp.write_bytes(over)
    kind, other = sniff(data[:4096]), sniff(over[:4096])
    assert kind is not None
    stamps = {STAMP: (stamp, other)} if other else {}
    studio.loop.run_until_complete(studio.decoders.edit(path, kind, out, text, None, stamps))
    return Image.open(io.BytesIO(out.read_bytes()))


@pytest.mark.parametrize("orientation", pictures.TURNS)
def test_edits_begin_with_the_upright_picture_and_leave_no_place_in_it(
    orientation: int, studio: Studio, tmp_path: Path
) -> None:
    found = behind_the_fence(studio, tmp_path, pictures.turned(orientation), "crop.0.0.300.300")
    assert (found.format, found.size, dict(found.getexif())) == ("JPEG", (300, 300), {})
    for pixel, expected in zip(corners_of(found), CORNERS.values(), strict=True):
        assert pixel == pytest.approx(expected, abs=12)


def test_what_was_kept_without_loss_stays_so_and_profiles_are_applied(studio: Studio, tmp_path: Path) -> None:
    png = behind_the_fence(studio, tmp_path, pictures.saved(pictures.corners(), "PNG"), "flip.h")
    assert (png.format, corners_of(png.convert("RGB"))) == ("PNG", [GREEN, RED, WHITE, BLUE])
    clear_webp = pictures.saved(clear(), "WEBP", lossless=True)
    assert behind_the_fence(studio, tmp_path, clear_webp, "flip.v").mode == "RGBA"
    swapped = pictures.saved(pictures.corners(mode="CMYK"), "TIFF")
    assert corners_of(behind_the_fence(studio, tmp_path, swapped, "rotate.180"))[3] == pytest.approx(RED, abs=3)


@pytest.mark.parametrize("kind", ["turned", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
def test_a_stamp_of_any_format_is_laid_over_upright(kind: str, studio: Studio, tmp_path: Path) -> None:
    over = pictures.turned(6) if kind == "turned" else pictures.saved(pictures.corners(), kind)
    grey = pictures.saved(Image.new("RGB", (400, 300), (100, 100, 100)), "PNG")
    found = behind_the_fence(studio, tmp_path, grey, f"stamp.c.50.100.{STAMP}", over)
    assert found.getpixel((20, 20)) == (100, 100, 100)
    for pixel, expected in zip(corners_of(found.crop((100, 75, 300, 225))), CORNERS.values(), strict=True):
        assert pixel == pytest.approx(expected, abs=12)


def test_a_stamp_that_moves_is_broken_or_too_large_is_refused(studio: Studio, tmp_path: Path) -> None:
    png, large = pictures.saved(pictures.corners(), "PNG"), pictures.saved(Image.new("RGB", (600, 400)), "PNG")
    for over, problem in (
        (pictures.animation("GIF"), BadEdits), (png[:300], CorruptImage), (large, TooManyPixels),
    ):  # fmt: skip
        with pytest.raises(problem):
            behind_the_fence(studio, tmp_path, png, f"stamp.c.50.100.{STAMP}", over)
        assert not (tmp_path / "edited").exists()


def test_what_cannot_be_edited_is_refused_and_the_next_is_edited(studio: Studio, tmp_path: Path) -> None:
    png = pictures.saved(pictures.corners(), "PNG")
    refused = (
        (png, "crop.0.0.401.1", BadEdits),
        (png, "resize.2000.2000", TooManyPixels),
        (pictures.animation("GIF"), "flip.h", BadEdits),
        (png[:300], "flip.h", CorruptImage),
        (pictures.saved(Image.new("RGB", (600, 400)), "PNG"), "resize.5.0", TooManyPixels),
    )
    for data, text, problem in refused:
        with pytest.raises(problem):
            behind_the_fence(studio, tmp_path, data, text)
        assert not (tmp_path / "edited").exists()
    assert behind_the_fence(studio, tmp_path, png, "flip.h").size == (400, 300)


def test_edits_that_take_too_long_end(tmp_path: Path) -> None:
    slow = Studio(decode_seconds=1)
    try:
        data = pictures.saved(Image.new("RGB", (3000, 2000)), "PNG")
        with pytest.raises(DecodeFailed):
            behind_the_fence(slow, tmp_path, data, "~".join(["blur.9"] * 16))
    finally:
        slow.close()
