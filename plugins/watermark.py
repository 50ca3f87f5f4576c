"""Lays a picture over rungs 4 to 6.

Options: `picture_file`, a PNG; `share` of the picture's width that it takes (0.25), `opacity` (0.5), `margin` as a share of
the shorter side (0.03), and `corner`: `bottom right` unless said otherwise, or `centre`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from chipmunk.hooks import Overlay, Plugin, Rendering

CORNERS = ("top left", "top right", "bottom left", "bottom right", "centre")
LEAST_PIXELS = 8  # in width, below which it would be dirt


class Watermark(Plugin):
    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._share, self._margin = float(options.get("share", 0.25)), float(options.get("margin", 0.03))
        self._corner = str(options.get("corner", "bottom right"))
        opacity = float(options.get("opacity", 0.5))
        if (
            self._corner not in CORNERS
            or not 0 < self._share <= 1
            or not 0 < opacity <= 1
            or not 0 <= self._margin < 0.5
        ):
            raise ValueError(f"share and opacity are above 0 and up to 1, margin below 0.5, corner one of {CORNERS}")
        with Image.open(options["picture_file"], formats=["PNG"]) as picture:
            self._mark = picture.convert("RGBA")
        self._mark.putalpha(self._mark.getchannel("A").point([round(alpha * opacity) for alpha in range(256)]))

    def render(self, rendering: Rendering) -> Overlay | None:
        width = round(rendering.width * self._share)
        height = round(width * self._mark.height / self._mark.width)
        if height > rendering.height:
            width, height = round(width * rendering.height / height), rendering.height
        if width < LEAST_PIXELS or height < 1:
            return None
        over = Image.new("RGBA", (rendering.width, rendering.height))
        over.paste(self._mark.resize((width, height), Image.Resampling.LANCZOS), self._place(rendering, width, height))
        over.save(rendering.out, "PNG")
        return Overlay()

    def _place(self, rendering: Rendering, width: int, height: int) -> tuple[int, int]:
        across, down = rendering.width - width, rendering.height - height
        if self._corner == "centre":
            return across // 2, down // 2
        margin = round(min(rendering.width, rendering.height) * self._margin)
        return (
            min(margin, across) if "left" in self._corner else max(0, across - margin),
            min(margin, down) if "top" in self._corner else max(0, down - margin),
        )
