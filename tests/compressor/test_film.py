"""Videos through real decoding processes: the poster, what the file says of itself, and files that mean harm."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageFilter, ImageStat

from chipmunk.errors import CorruptImage, DecodeFailed, TooManyPixels, Unsupported
from compressor.ladder import RUNGS
from compressor.sniff import Kind, sniff
from tests import films, pictures
from tests.compressor.test_decoders import Studio, close

BLACK, SCENE = films.plain(films.BLACK), films.scene()
AFTER_A_SECOND = films.stretch((BLACK, 1), (SCENE, 1))
WANTED = {
    "mp4": ("video/mp4", "h264", "aac"),
    "mov": ("video/quicktime", "mpeg4", None),
    "webm": ("video/webm", "vp9", "opus"),
    "matroska": ("video/x-matroska", "h264", "aac"),
}


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio()
    yield studio
    studio.close()


def small(image: Image.Image) -> Image.Image:
    return image.resize((160, 120))


@pytest.mark.parametrize("kind", films.FORMATS)
def test_the_poster_is_the_first_frame_that_shows_anything(studio: Studio, tmp_path: Path, kind: str) -> None:
    mime, codec, sound = WANTED[kind]
    begun, rungs = studio.climb(films.video(AFTER_A_SECOND, kind, sound=sound is not None), tmp_path)
    assert (begun.kind, begun.mime, begun.width, begun.height) == ("video", mime, 320, 240)
    said = begun.motion
    assert (said["video_codec"], said["audio_codec"], said["rotation"], said["frame_rate"]) == (codec, sound, 0, 10.0)
    assert said["duration_seconds"] == pytest.approx(2, abs=0.05)
    assert [max(r.size) for r in rungs] == [min(320, side) for side in RUNGS]
    for rung in rungs[2:]:
        close(rung, pictures.CORNERS)
    assert begun.placeholder
    assert {f.name for f in tmp_path.iterdir()} == {"0", *(f"{q}.webp" for q in range(1, 7))}


@pytest.mark.parametrize(
    ("turn", "how"),
    [(-90, Image.Transpose.ROTATE_90), (90, Image.Transpose.ROTATE_270), (180, Image.Transpose.ROTATE_180)],
)
def test_a_turned_video_ends_upright(studio: Studio, tmp_path: Path, turn: int, how: Image.Transpose) -> None:
    begun, rungs = studio.climb(films.video(films.turned([SCENE] * 3, how), turn=turn), tmp_path)
    assert (begun.width, begun.height, begun.motion["rotation"]) == (320, 240, -turn % 360)
    close(rungs[5], pictures.CORNERS)


def test_a_blurred_frame_is_passed_over_and_is_better_than_nothing(studio: Studio, tmp_path: Path) -> None:
    blurred = films.blurred()
    _, rungs = studio.climb(films.video(films.stretch((blurred, 1), (SCENE, 1))), tmp_path)
    assert sharpness(rungs[5]) > 100
    _, rungs = studio.climb(films.video(films.stretch((BLACK, 1), (blurred, 1))), tmp_path)
    assert sharpness(rungs[5]) < 25
    close(rungs[5], pictures.CORNERS)
    _, rungs = studio.climb(films.video([BLACK] * 12), tmp_path)
    assert len(rungs) == 6


def sharpness(image: Image.Image) -> float:
    """Of the middle, where the detail is."""
    middle = image.convert("L").crop((128, 88, 192, 152))
    laplace = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)
    return float(ImageStat.Stat(middle.filter(laplace).crop((1, 1, 63, 63))).var[0])


@pytest.mark.parametrize("options", [{"g": "10000"}, {"g": "50"}])
def test_a_picture_is_found_behind_a_long_darkness(studio: Studio, tmp_path: Path, options: dict[str, str]) -> None:
    """In the first ten seconds without a key frame there, and by key frames after them."""
    dark = 9 if options["g"] == "10000" else 40
    images = films.stretch((small(BLACK), dark), (small(SCENE), 10))
    _, rungs = studio.climb(films.video(images, options={**options, "preset": "ultrafast"}), tmp_path)
    close(rungs[3], pictures.CORNERS)


def test_a_recording_that_does_not_say_how_long_it_is_is_counted(studio: Studio, tmp_path: Path) -> None:
    begun, _ = studio.climb(films.video(AFTER_A_SECOND, "webm", live=True), tmp_path)
    assert begun.motion["duration_seconds"] == 2.0


def test_pixels_become_square_and_colours_are_those_meant(studio: Studio, tmp_path: Path) -> None:
    begun, rungs = studio.climb(films.video([SCENE] * 3, pixel=Fraction(2)), tmp_path)
    assert (begun.width, begun.height, rungs[5].size) == (640, 240, (640, 240))
    for space in (1, 5):
        _, rungs = studio.climb(films.video([SCENE] * 3, space=space), tmp_path)
        close(rungs[5], pictures.CORNERS, off=8)


@pytest.mark.parametrize(("transfer", "card", "paper"), [(18, 0.38, 0.75), (16, 0.38, 0.58)], ids=["HLG", "PQ"])
def test_what_hdr_means_by_grey_and_by_paper_is_that_on_a_screen(
    studio: Studio, tmp_path: Path, transfer: int, card: float, paper: float
) -> None:
    """The card of 18 % and the reference white of BT.2408, table 1: 26 and 203 cd/m²."""
    image = films.scene(320, 240)
    for level, left in ((card, 0), (paper, 80), (0.0, 160)):
        image.paste((round(255 * level),) * 3, (left, 0, left + 80, 240))
    image.paste((round(255 * paper), 0, 0), (240, 0, 320, 240))
    _, rungs = studio.climb(films.video([image] * 3, space=9, transfer=transfer), tmp_path)
    grey, white, black, red = (rungs[5].getpixel((x, 120)) for x in (40, 120, 200, 280))
    assert max(abs(c - 100) for c in grey) <= 6, grey  # sRGB of 26 / 203
    assert min(white) > 210, white
    assert max(white) - min(white) <= 6, white
    assert max(black) <= 6, black
    assert red[0] > 240, red
    assert max(red[1:]) < 30, red
    _, rungs = studio.climb(films.video([image] * 3, space=9), tmp_path)
    plain = rungs[5].getpixel((120, 120))
    assert max(abs(c - 255 * paper) for c in plain) <= 6, plain


def test_a_square_is_cut_from_the_middle_and_made_again_alike(studio: Studio, tmp_path: Path) -> None:
    data = films.video([films.scene(480, 240)] * 3)
    _, rungs = studio.climb(data, tmp_path, square=True)
    assert {r.size for r in rungs[4:]} == {(240, 240)}
    path, again = tmp_path / "0", tmp_path / "again"
    again.mkdir()
    kind = kind_of(data)
    studio.loop.run_until_complete(studio.decoders.finish(path, kind, again, 0.5, 1_000_000))
    assert all((again / f"{q}.webp").read_bytes() == (tmp_path / f"{q}.webp").read_bytes() for q in (4, 5, 6))


def kind_of(data: bytes) -> Kind:
    kind = sniff(data[:4096])
    assert kind is not None
    return kind


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_container_with_sound_alone_is_music(studio: Studio, tmp_path: Path, kind: str) -> None:
    for options in ({}, {"movflags": "frag_keyframe+empty_moov"}) if kind == "mp4" else ({},):
        begun, rungs = studio.climb(films.sound(kind, **options), tmp_path)
        assert (begun.kind, begun.mime, len(rungs)) == ("audio", f"audio/{kind}", 6)
        assert begun.music["duration_seconds"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", films.FORMATS)
def test_a_cut_video_is_corrupt(studio: Studio, tmp_path: Path, kind: str) -> None:
    data = films.video(AFTER_A_SECOND, kind)
    for share in (0.05, 0.5, 0.95):
        with pytest.raises(CorruptImage):
            studio.climb(data[: int(len(data) * share)], tmp_path)
    if kind == "mp4":
        data = films.video(AFTER_A_SECOND, kind, movflags="faststart")
        with pytest.raises(CorruptImage):
            studio.climb(data[:-400], tmp_path)


def test_what_is_too_large_or_of_a_strange_codec_is_refused(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        studio.climb(films.video([SCENE] * 3, "matroska", codec="ffv1"), tmp_path)
    few = Studio(max_pixels=70_000)
    try:
        with pytest.raises(TooManyPixels):
            few.climb(films.video([SCENE] * 3), tmp_path)
        with pytest.raises(TooManyPixels):
            few.climb(films.video([SCENE.resize((240, 240))] * 3, pixel=Fraction(2)), tmp_path)
    finally:
        few.close()


def test_a_file_without_an_end_and_one_full_of_nothing_end_in_time(studio: Studio, tmp_path: Path) -> None:
    data = films.video([small(BLACK)] * 5, "matroska", live=True)
    path = tmp_path / "0"
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(200_000_000)
    began = time.monotonic()
    with suppress(CorruptImage, DecodeFailed):
        studio.loop.run_until_complete(studio.decoders.begin(path, kind_of(data), tmp_path, False, 100_000))
    assert time.monotonic() - began < 25


def test_files_with_errors_end_with_a_reason_and_cost_no_process(studio: Studio, tmp_path: Path) -> None:
    """Eighty of each, errors where the structure is and all over."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    draw, refused = random.Random(7), 0
    for kind in ("mp4", "webm"):
        data = films.video([small(SCENE)] * 8, kind, sound=True)
        for number in range(80):
            broken = bytearray(data)
            for _ in range(draw.choice((1, 4, 30))):
                at = draw.randrange(40, len(data) if number % 2 else 600)
                broken[at] = draw.randrange(256)
            try:
                studio.climb(bytes(broken), tmp_path)
            except (CorruptImage, DecodeFailed, TooManyPixels, Unsupported):
                refused += 1
    assert 10 < refused < 160
    assert {p.pid for p in psutil.Process().children(recursive=True)} == before
