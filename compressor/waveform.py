"""The picture of music that has no cover: how loud it is, drawn as bars from left to right."""

from __future__ import annotations

from array import array
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from chipmunk.errors import CorruptImage, DecodeFailed
from compressor.containers import Allowance, confine, frames, opened

BARS = 72
RATE = 8000  # samples a second that are looked at: it is loudness that counts
WHOLE_SECONDS = 120  # up to so long it is listened to whole, beyond it one second for each bar
PACKETS, SECONDS, READING_SECONDS = 50_000, 10.0, 15.0
PITCH, BAR = 15, 9  # pixels from bar to bar, and of one's width
HEIGHT, TALLEST = 540, 0.8  # of the height
FINER = 2  # it is drawn so many times larger, for smooth ends
PAPER, INK = (243, 244, 247), (64, 84, 128)


def drawn(path: Path, mime: str, duration: float, square: bool) -> Image.Image:
    """The picture, 1080 pixels wide; of what cannot be decoded a line, as of silence."""
    found: list[float] = []
    with suppress(CorruptImage, DecodeFailed):
        found = _loudness(path, mime, duration)
    loudest = max(found, default=0) or 1
    return _bars([one / loudest for one in found] or [0.0] * BARS, square)


def _loudness(path: Path, mime: str, duration: float) -> list[float]:
    """The mean level of each bar's stretch."""
    import av

    levels: list[float] = []
    with opened(path, mime, READING_SECONDS) as container:
        stream = container.streams.best("audio")
        if stream is None or not confine(stream):
            return []
        allowance = Allowance(WHOLE_SECONDS * RATE, PACKETS, SECONDS)
        if duration <= WHOLE_SECONDS:
            samples = _samples(container, stream, allowance, WHOLE_SECONDS * RATE)
            cuts = [len(samples) * bar // BARS for bar in range(BARS + 1)]
            return [_level(samples[start:end]) for start, end in pairwise(cuts)]
        for bar in range(BARS):
            with suppress(av.FFmpegError):  # as where it is shorter than it says
                container.seek(int(duration * (bar + 0.5) / BARS * av.time_base))
                levels.append(_level(_samples(container, stream, allowance, RATE)))
    return levels + [0.0] * (BARS - len(levels))


def _samples(container: Any, stream: Any, allowance: Allowance, most: int) -> array[int]:
    """The next ones, of all channels together."""
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    found = array("h")
    for frame in frames(container, stream, allowance):
        for part in resampler.resample(frame):
            found.frombytes(bytes(part.planes[0])[: 2 * part.samples])
        if len(found) >= most:
            break
    allowance.units -= len(found)
    return found[:most]


def _level(samples: array[int]) -> float:
    return sum(map(abs, samples)) / len(samples) if samples else 0.0


def _bars(levels: list[float], square: bool) -> Image.Image:
    width, height = PITCH * BARS, PITCH * BARS if square else HEIGHT
    image = Image.new("RGB", (width * FINER, height * FINER), PAPER)
    draw = ImageDraw.Draw(image)
    for bar, level in enumerate(levels):
        left = (bar * PITCH + (PITCH - BAR) // 2) * FINER
        half = max(BAR, round(level * HEIGHT * TALLEST)) * FINER // 2
        middle = height * FINER // 2
        box = (left, middle - half, left + BAR * FINER - 1, middle + half - 1)
        draw.rounded_rectangle(box, radius=BAR * FINER // 2, fill=INK)
    return image.reduce(FINER)
