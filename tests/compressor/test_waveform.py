"""Music without a cover: what is drawn is what is heard, in every format and however long."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from compressor import waveform
from tests import films

LEVELS = (3000, 30000, 12000, 0, 20000, 9000)
FORMATS = {
    "mp3": ("libmp3lame", "audio/mpeg"),
    "flac": ("flac", "audio/flac"),
    "ogg": ("libopus", "audio/ogg"),
    "wav": ("pcm_s16le", "audio/wav"),
    "ipod": ("aac", "audio/mp4"),
    "webm": ("libopus", "audio/webm"),
}


def tall(image: Image.Image, bar: int) -> int:
    """Pixels of ink in the middle of a bar."""
    x = waveform.PITCH * bar + waveform.PITCH // 2
    return sum(image.getpixel((x, y)) == waveform.INK for y in range(image.height))


@pytest.mark.parametrize(
    ("kind", "seconds"), [*((kind, 3) for kind in FORMATS), ("mp3", 130), ("ogg", 130), ("ipod", 130)]
)
def test_the_bars_are_as_tall_as_it_is_loud(tmp_path: Path, kind: str, seconds: int) -> None:
    """A short one is listened to whole, a long one at each bar's place."""
    codec, mime = FORMATS[kind]
    path = tmp_path / "0"
    path.write_bytes(films.sound(kind, codec, LEVELS, seconds))
    image = waveform.drawn(path, mime, seconds, square=False)
    assert image.size == (1080, 540)
    tallest = waveform.HEIGHT * waveform.TALLEST
    for part, level in enumerate(LEVELS):
        assert tall(image, part * 12 + 6) == pytest.approx(max(9, tallest * level / max(LEVELS)), abs=tallest * 0.1)
    again = waveform.drawn(path, mime, seconds, square=False)
    assert again.tobytes() == image.tobytes()


def test_a_lie_about_its_length_and_nothing_to_hear_still_give_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "0"
    path.write_bytes(films.sound("ogg", "libopus", LEVELS, 3))
    assert waveform.drawn(path, "audio/ogg", 1e9, square=True).size == (1080, 1080)
    path.write_bytes(b"OggS" + bytes(2000))
    line = waveform.drawn(path, "audio/ogg", 3, square=False)
    assert {tall(line, bar) for bar in range(waveform.BARS)} <= {8, 9}
