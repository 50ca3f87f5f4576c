from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageStat

from compressor import scaling
from compressor.scaling import boxed, resized
from tests import pictures


def difference(one: Image.Image, other: Image.Image) -> int:
    """The largest of any sample."""
    return max(int(high) for _, high in ImageStat.Stat(ImageChops.difference(one, other)).extrema)


def smooth(mode: str, width: int = 500, height: int = 380) -> Image.Image:
    image = pictures.noise(25, 19).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    if mode == "RGBA":
        image.putalpha(pictures.noise(5, 5).convert("L").resize(image.size))
    return image


@pytest.mark.skipif(scaling.simd is None, reason="no wheel of it for this machine")
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("box", [None, (60.5, 0.0, 440.5, 380.0)])
@pytest.mark.parametrize("width", [301, 120, 33])
def test_both_ways_give_the_same_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch, mode: str, box: scaling.Box | None, width: int
) -> None:
    image = smooth(mode)
    fast = resized(image, (width, width // 2), box)
    monkeypatch.setattr(scaling, "simd", None)
    slow = resized(image, (width, width // 2), box)
    assert (fast.mode, fast.size) == (slow.mode, slow.size)
    if mode == "RGBA":
        fast, slow = (Image.alpha_composite(Image.new("RGBA", i.size, "grey"), i).convert("RGB") for i in (fast, slow))
    assert difference(fast, slow) <= 8  # one goes across first, the other down: overshoots are cut in between
    assert max(ImageStat.Stat(ImageChops.difference(fast, slow)).mean) < 0.5


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("width", [150, 30])
def test_the_result_is_a_careful_resize(mode: str, width: int) -> None:
    image = smooth(mode)
    wanted = image.resize((width, width), Image.Resampling.LANCZOS).convert("RGBA")
    seen = resized(image, (width, width)).convert("RGBA")
    ground = Image.new("RGBA", seen.size, "grey")
    flat = [Image.alpha_composite(ground, one).convert("RGB") for one in (wanted, seen)]
    assert difference(*flat) <= 10
    assert max(ImageStat.Stat(ImageChops.difference(*flat)).rms) < 3


@pytest.mark.parametrize("simd", [True, False])
def test_what_cannot_be_seen_gives_no_colour_to_what_can(monkeypatch: pytest.MonkeyPatch, simd: bool) -> None:
    if not simd:
        monkeypatch.setattr(scaling, "simd", None)
    image = Image.new("RGBA", (900, 900), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 450, 900))
    red, _, blue, alpha = resized(image, (101, 101)).split()
    visible = alpha.point(lambda value: 255 if value > 8 else 0)
    assert ImageStat.Stat(red, visible).extrema[0][1] <= 4
    assert ImageStat.Stat(blue, visible).extrema[0][0] >= 250


def test_a_picture_reduced_in_strips_is_the_one_reduced_at_once() -> None:
    image = smooth("RGBA", 777, 1999)
    assert boxed(image, 3, 7).tobytes() == image.reduce((3, 7)).tobytes()


def test_a_picture_of_that_size_is_left_as_it_is() -> None:
    image = smooth("RGB")
    assert resized(image, image.size) is image
