"""Bytes, time and loss of each rung at several qualities and efforts: `python benchmarks/rungs.py PICTURE…`.

Loss is the peak signal-to-noise ratio in dB against the rung before encoding, the mean over the pictures.
"""

from __future__ import annotations

import io
import math
import sys
import time
from statistics import mean

from PIL import Image, ImageChops, ImageStat

from compressor.encode import webp
from compressor.ladder import plan
from compressor.pictures import resized

QUALITIES = (20, 30, 50, 70, 74, 78, 82, 86)
EFFORTS = (0, 2, 4, 6)
REPEATS = 3


def psnr(one: Image.Image, other: Image.Image) -> float:
    squares = ImageStat.Stat(ImageChops.difference(one, other.convert("RGB"))).sum2
    error = sum(squares) / (3 * one.width * one.height)
    return 10 * math.log10(255**2 / error) if error else 99.0


def measured(image: Image.Image, quality: int, effort: int) -> tuple[int, float, float]:
    """Bytes, best time in ms, and loss in dB."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        data = webp(image, quality, effort)
        seconds.append(time.perf_counter() - began)
    return len(data), min(seconds) * 1000, psnr(image, Image.open(io.BytesIO(data)))


def main(paths: list[str]) -> None:
    pictures = [Image.open(path).convert("RGB") for path in paths]
    print("| rung | quality | effort | bytes | ms | dB |\n| --- | --- | --- | --- | --- | --- |")
    for number in range(1, 7):
        rungs = []
        for picture in pictures:
            [rung] = [r for r in plan(*picture.size, square=False) if r.quality == number]
            rungs.append(resized(picture, (rung.width, rung.height)))
        for quality in QUALITIES:
            for effort in EFFORTS:
                rows = [measured(image, quality, effort) for image in rungs]
                size, ms, loss = (mean(column) for column in zip(*rows, strict=True))
                print(f"| {number} | {quality} | {effort} | {size:.0f} | {ms:.1f} | {loss:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
