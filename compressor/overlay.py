"""What plug-ins have laid over renditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from chipmunk.errors import Problem
from chipmunk.hooks import PluginUnavailable
from compressor.pictures import opened, plain, telling_what_broke
from compressor.scaling import resized

Layer = Callable[[Image.Image], Image.Image]


def bare(image: Image.Image) -> Image.Image:
    return image


def read(path: Path, max_pixels: int) -> Image.Image:
    """An overlay, or PluginUnavailable where it is no PNG: then the plug-in failed, and not the picture."""
    try:
        with telling_what_broke(), opened(path, "image/png", max_pixels) as image:
            return plain(image).convert("RGBA")
    except Problem:
        raise PluginUnavailable("The overlay of a plug-in is no PNG.") from None


def layer(overlays: Sequence[Image.Image]) -> Layer:
    """What lays them over a picture, the first lowest, each as large as that is."""
    if not overlays:
        return bare

    def laid(image: Image.Image) -> Image.Image:
        whole = image.convert("RGBA")
        for overlay in overlays:
            whole = Image.alpha_composite(whole, resized(overlay, image.size))
        return whole if image.mode == "RGBA" else whole.convert(image.mode)

    return laid
