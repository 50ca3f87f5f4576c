"""Finds faces in pictures, and whose they are never: a media with one is tagged `face`.

By OpenCV's cascade of Viola and Jones for faces seen from the front, which is part of its package. Option: `least_share`, the
least side of a face as a share of the picture's shorter one (0.08).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import cv2
import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from chipmunk.hooks import Ingested, Plugin, Tagged

SIDE = 800  # pixels, of the longer side of what is looked at
STEP, AGREEING = 1.1, 6  # how much larger faces are looked for each time; how many finds make one
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP"]
TAG = "face"


class Faces(Plugin):
    kinds: ClassVar[frozenset[str]] = frozenset({"image"})

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._least = float(options.get("least_share", 0.08))
        cv2.setNumThreads(1)
        Image.init()
        pillow_heif.register_heif_opener(thumbnails=False)
        self._cascade = cv2.CascadeClassifier(
            str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml")
        )

    def after_ingest(self, ingested: Ingested) -> Tagged | None:
        with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return Tagged((TAG,)) if self.found(ingested.file) else None
        return None

    def found(self, file: BinaryIO) -> list[tuple[int, int, int, int]]:
        """Left, top, width and height of each face, of a picture made small enough to fit 800 pixels."""
        with Image.open(file, formats=FORMATS) as image:
            image.draft("L", (SIDE, SIDE))
            small = ImageOps.exif_transpose(image).convert("L")
        small.thumbnail((SIDE, SIDE))
        least = max(24, round(min(small.size) * self._least))
        boxes = self._cascade.detectMultiScale(np.asarray(small), STEP, AGREEING, minSize=(least, least))
        return [(int(x), int(y), int(w), int(h)) for x, y, w, h in boxes]
