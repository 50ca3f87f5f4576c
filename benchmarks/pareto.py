"""Time, bytes and likeness of each rung at every effort, at the qualities that are set: `python -m benchmarks.pareto PICTURE…`.

The mean over the pictures. Likeness is the SSIM of the luma to the whole picture reduced with a Lanczos filter.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import mean

from PIL import Image

from benchmarks.ladder_peers import Reference
from chipmunk import config
from compressor.encode import webp
from compressor.ladder import plan
from compressor.limits import Limits
from compressor.pictures import base, opened
from compressor.scaling import resized

REPEATS = 3


def measured(image: Image.Image, quality: int, effort: int, scratch: Path, like: Reference) -> tuple[float, int, float]:
    """Best time in ms, bytes, SSIM."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        data = webp(image, quality, effort)
        seconds.append(time.perf_counter() - began)
    scratch.write_bytes(data)
    return min(seconds) * 1000, len(data), like.ssim([scratch])[0]


def main(paths: list[Path]) -> None:
    limits = Limits.of(config.load({}))
    pictures = [(base(opened(path, "image/jpeg", limits.max_pixels), 6, None), Reference(path)) for path in paths]
    scratch = Path(f"{paths[0].name}.webp")
    print("| rung | quality | effort | ms | bytes | SSIM |\n| --- | --- | --- | --- | --- | --- |")
    for rung in range(6):
        sizes = [[(r.width, r.height) for r in plan(*top.size, square=False)][rung] for top, _ in pictures]
        quality = limits.qualities[rung]
        for effort in range(7):
            rows = [
                measured(resized(top, size), quality, effort, scratch, like)
                for (top, like), size in zip(pictures, sizes, strict=True)
            ]
            ms, size, ssim = (mean(column) for column in zip(*rows, strict=True))
            chosen = " *" if effort == limits.efforts[rung] else ""
            print(f"| {rung + 1} | {quality} | {effort}{chosen} | {ms:.1f} | {size:.0f} | {ssim:.4f} |")
    scratch.unlink()


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:]])
