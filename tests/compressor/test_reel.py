"""A GIF as a video: when there is one, and that it shows the same at the same moments."""

from __future__ import annotations

import io
import time
from pathlib import Path

import av
import pytest
from PIL import Image

from compressor import reel
from tests import pictures


def of(data: bytes, out: Path, most: int = 10**9, until: float = 1e12) -> list[int]:
    path = out / "0"
    path.write_bytes(data)
    with Image.open(path) as image:
        return [one.bytes for one in reel.of(path, image, None, most, out, until)]


def test_it_shows_the_same_at_the_same_moments_and_is_smaller(tmp_path: Path) -> None:
    data = pictures.animation("GIF", frames=24)
    [size] = of(data, tmp_path)
    assert size == (tmp_path / "21.webm").stat().st_size < len(data)
    with av.open(str(tmp_path / "21.webm")) as film:
        assert film.duration == 1_440_000
        shown = list(film.decode(video=0))
        assert film.streams.video[0].codec_context.codec.canonical_name == "vp9"
    starts = [sum(40 + 20 * (n % 3) for n in range(number)) / 1000 for number in range(24)]
    assert [frame.time for frame in shown] == starts
    for number, frame in enumerate(shown):
        wanted = (20 * number % 256, (255 - 20 * number) % 256, 60)
        assert frame.to_image().getpixel((190, 90)) == pytest.approx(wanted, abs=14)


def test_it_is_cut_and_drawn_over_as_rungs_are(tmp_path: Path) -> None:
    path = tmp_path / "0"
    path.write_bytes(pictures.animation("GIF"))

    def marked(image: Image.Image) -> Image.Image:
        return Image.new("RGB", image.size, (200, 10, 200))

    with Image.open(path) as image:
        [made] = reel.of(path, image, 0.5, 10**9, tmp_path, 1e12, marked)
    assert (made.width, made.height) == (100, 100)
    with av.open(str(tmp_path / "21.webm")) as film:
        assert {frame.to_image().size for frame in film.decode(video=0)} == {(100, 100)}
        film.seek(0)
        assert next(film.decode(video=0)).to_image().getpixel((50, 50)) == pytest.approx((200, 10, 200), abs=9)


def test_there_is_none_of_what_would_be_no_gain(tmp_path: Path) -> None:
    data = pictures.animation("GIF")
    assert of(pictures.animation("WEBP"), tmp_path) == []
    assert of(data, tmp_path, most=500) == []
    assert of(data, tmp_path, until=time.monotonic() - 1) == []
    clear = [Image.new("RGBA", (100, 50), (200, 20, n * 40, 255)) for n in range(4)]
    for image in clear:
        image.paste((0, 0, 0, 0), (0, 0, 40, 40))
    out = io.BytesIO()
    clear[0].save(out, "GIF", save_all=True, append_images=clear[1:], duration=50, disposal=2)
    assert of(out.getvalue(), tmp_path) == []
    assert not (tmp_path / "21.webm").exists()
