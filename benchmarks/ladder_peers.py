"""Who makes ladders: the product and its peers, each a warm process of its own on one core, and how like the pictures are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from benchmarks.peers import node_peer, python_peer
from benchmarks.pictures import Input
from benchmarks.session import Session
from chipmunk import config
from compressor.limits import Limits
from solo.packages import PROJECT, plain_environment

ENGINES = PROJECT / "benchmarks" / "engines"
Floats = npt.NDArray[np.float64]


@dataclass
class Engine:
    """One process that makes ladders of the files it is told of."""

    name: str
    process: subprocess.Popen[str]
    folder: Path

    def ladders(self, given: Input, way: str = "", times: int = 1) -> dict[str, Any]:
        """The answer to one order; the rungs of the last ladder are left in `folder`."""
        limits = Limits.of(config.load({}))
        efforts = [min(2, e) if given.animated and n >= 2 else e for n, e in enumerate(limits.efforts)]
        original = self.folder / "original" / "0"
        order = {
            "path": str(self._linked(given.path, original)),
            "out": str(self.folder),
            "times": times,
            "way": way,
            "animated": given.animated,
            "qualities": limits.qualities,
            "efforts": efforts,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended over {given.name}")
        return dict(json.loads(line))

    @staticmethod
    def _linked(path: Path, original: Path) -> Path:
        original.parent.mkdir(parents=True, exist_ok=True)
        original.unlink(missing_ok=True)
        original.symlink_to(path)
        return original

    def rungs(self) -> list[Path]:
        return [self.folder / f"{number}.webp" for number in range(1, 7)]

    def bytes(self) -> list[int]:
        return [path.stat().st_size for path in self.rungs()]


@contextmanager
def engine(name: str, session: Session, core: int, label: str = "") -> Iterator[Engine]:
    """chipmunk, libvips, sharp or sharp at its defaults, on one core."""
    folder = session.folder / (label or name).replace(" ", "-")
    folder.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    if name != "chipmunk":
        environment = plain_environment()
    if name == "libvips":
        environment["VIPS_CONCURRENCY"] = "1"
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *_command(name, session)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Engine(label or name, process, folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(name: str, session: Session) -> list[str]:
    match name:
        case "chipmunk":
            return [sys.executable, "-m", "benchmarks.engines.chipmunk"]
        case "libvips":
            return [str(python_peer("vips", ["pyvips[binary]"], session.say) / "python"), str(ENGINES / "vips.py")]
        case "sharp" | "sharp at its defaults":
            threads = "one" if name == "sharp" else "default"
            return ["node", str(ENGINES / "sharp.mjs"), str(node_peer("sharp", ["sharp"], session.say)), threads]
    raise ValueError(name)


class Reference:
    """What each rung should look like: the whole picture, reduced with a Lanczos filter and nothing else."""

    def __init__(self, path: Path) -> None:
        if path.suffix == ".heic":
            import pillow_heif

            pillow_heif.register_heif_opener()
        with Image.open(path) as image:
            self._whole = flat(ImageOps.exif_transpose(image))

    def ssim(self, rungs: Sequence[Path]) -> list[float]:
        """Of the luma of each rung (of its first frame, where it moves)."""
        found = []
        for path in rungs:
            with Image.open(path) as image:
                rung = flat(image)
            found.append(ssim(luma(self._whole.resize(rung.size, Image.Resampling.LANCZOS)), luma(rung)))
        return found


def flat(image: Image.Image) -> Image.Image:
    """In RGB, transparent parts as on grey."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "grey")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def luma(image: Image.Image) -> Floats:
    return np.asarray(image.convert("L"), np.float64)


def ssim(one: Floats, other: Floats) -> float:
    """Wang, Bovik, Sheikh and Simoncelli, Image quality assessment, 2004: a Gaussian window, σ = 1.5, 11 pixels."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean1, mean2 = blurred(one), blurred(other)
    var1, var2 = blurred(one * one) - mean1**2, blurred(other * other) - mean2**2
    both = blurred(one * other) - mean1 * mean2
    likeness = (2 * mean1 * mean2 + c1) * (2 * both + c2) / ((mean1**2 + mean2**2 + c1) * (var1 + var2 + c2))
    return float(likeness.mean())


def blurred(values: Floats) -> Floats:
    """By the window of SSIM; edges are mirrored."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in (0, 1):
        around = [(5, 5) if axis == at else (0, 0) for at in (0, 1)]
        wide = np.pad(values, around, mode="symmetric")
        length = values.shape[axis]
        values = sum(w * wide.take(range(at, at + length), axis) for at, w in enumerate(window))
    return values
