from __future__ import annotations

import io

import pytest
from PIL import Image, ImageChops, ImageStat

from compressor import webp
from compressor.pictures import base, opened
from tests import pictures

SIZE = (900, 700)


def picture() -> Image.Image:
    return pictures.noise(45, 35).resize(SIZE, Image.Resampling.BICUBIC)


def rms(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, other)).rms)


@pytest.mark.skipif(webp.library() is None, reason="Pillow has a libwebp that cannot be reached")
@pytest.mark.parametrize(("factor", "size"), [(2.7, (450, 350)), (4.0, (300, 234)), (30.0, (40, 31))])
def test_it_is_the_picture_only_smaller(factor: float, size: tuple[int, int]) -> None:
    data = pictures.saved(picture(), "WEBP", quality=90)
    found = webp.shrunk(data, SIZE, factor)
    assert found is not None
    assert (found.mode, found.size) == ("RGB", size)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    assert rms(found, whole.resize(size, Image.Resampling.BOX)) < 4


def test_what_would_lose_something_is_left_to_pillow() -> None:
    plain = pictures.saved(picture(), "WEBP", quality=90)
    assert webp.shrunk(plain, SIZE, 1.9) is None, "too little to gain"
    assert webp.shrunk(pictures.saved(picture(), "WEBP", lossless=True), SIZE, 4) is None
    clear = picture()
    clear.putalpha(100)
    assert webp.shrunk(pictures.saved(clear, "WEBP"), SIZE, 4) is None
    assert webp.shrunk(pictures.animation("WEBP"), (300, 200), 4) is None


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_what_is_cut_is_left_to_pillow_to_refuse(share: float) -> None:
    data = pictures.saved(picture(), "WEBP", quality=90)
    assert webp.shrunk(data[: int(len(data) * share)], SIZE, 4) is None


def test_a_file_that_says_another_size_than_was_checked_is_not_decoded() -> None:
    assert webp.shrunk(pictures.saved(picture(), "WEBP"), (90, 70), 4) is None


@pytest.mark.parametrize("without", [False, True])
def test_a_square_of_a_webp_is_cut_from_the_middle(monkeypatch: pytest.MonkeyPatch, without: bool) -> None:
    if without:
        monkeypatch.setattr(webp, "library", lambda: None)
    image = Image.new("RGB", (1800, 600), pictures.BLUE)
    image.paste(pictures.RED, (600, 0, 1200, 600))
    made = base(opened(io.BytesIO(pictures.saved(image, "WEBP", quality=95)), "image/webp", 10**7), 3, 0.5)
    assert made.size == (160, 160)
    assert rms(made, Image.new("RGB", made.size, pictures.RED)) < 12
