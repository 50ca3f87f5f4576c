"""Pictures with the statistics of photographs, for no large free one comes in a package that could be installed.

Occluding shapes of all sizes ("dead leaves": Lee, Mumford and Huang, Occlusion models for natural images, 2001) under
noise of many octaves whose strength differs from place to place, a little blur, and the grain of a sensor. Tuned so
that the bytes of a JPEG and of each rung's WebP are those of a photograph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Floats = npt.NDArray[np.float32]
STRIP = 256
TEXTURE, GRAIN = 60.0, 3.5  # of 255: what the octaves add where they are strongest; a standard deviation
LEAST_SHAPE, LARGEST_SHAPE, SHAPES = 0.004, 0.5, 2600  # of the picture's longer side
FRAMES, FRAME_MILLISECONDS = 100, 50


@dataclass(frozen=True, slots=True)
class Input:
    """`family` says which target it falls under; `readers` which of the peers have a decoder for it.

    Not `same_colours`: the peers turn inks into colours by a profile of their own, so likeness compares nothing.
    """

    name: str
    path: Path
    mime: str
    family: str = "other"
    animated: bool = False
    same_colours: bool = True
    readers: tuple[str, ...] = ("libvips", "sharp")


def scene(width: int, height: int, seed: int = 1) -> Image.Image:
    """A picture of this size; the same shapes at any size, and finer detail in a larger one."""
    chosen = np.random.default_rng(seed)
    field = _colours(chosen, width, height)
    picture = _leaves(chosen, field).filter(ImageFilter.GaussianBlur(0.6))
    texture = _octaves(chosen, width, height)
    where = _smooth(chosen, 5, width, height) ** 2
    pixels = np.asarray(picture)
    out = np.empty_like(pixels)
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP)
        shade = texture[rows] * where[rows] * TEXTURE
        grain = chosen.standard_normal((*shade.shape, 3), np.float32) * GRAIN
        out[rows] = np.clip(pixels[rows] + shade[..., None] + grain, 0, 255)
    return Image.fromarray(out)


def _smooth(chosen: np.random.Generator, cells: int, width: int, height: int) -> Floats:
    """Values from 0 to 1 that change slowly: `cells` across the longer side."""
    across = max(2, round(cells * width / max(width, height)))
    down = max(2, round(cells * height / max(width, height)))
    grid = Image.fromarray(chosen.random((down, across), np.float32))
    values: Floats = np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
    return values.clip(0, 1)


def _octaves(chosen: np.random.Generator, width: int, height: int) -> Floats:
    """Noise about zero whose amplitude falls with the frequency, down to single pixels."""
    total, cells = np.zeros((height, width), np.float32), 16
    while cells <= max(width, height):
        total += (_smooth(chosen, cells, width, height) - 0.5) * (cells / 16) ** -0.35
        cells *= 2
    return total


def _colours(chosen: np.random.Generator, width: int, height: int) -> Image.Image:
    """Where a shape's colour comes from: a sky, a ground, and what is between."""
    small = chosen.normal(0, 46, (9, 12, 3)) + np.linspace(165, 80, 9)[:, None, None]
    small[..., 2] += np.linspace(25, -25, 9)[:, None]
    grid = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))
    return grid.resize((width, height), Image.Resampling.BICUBIC)


def _leaves(chosen: np.random.Generator, field: Image.Image) -> Image.Image:
    """Shapes over one another, larger ones first; how many there are of a size falls with its cube."""
    side, picture = max(field.size), field.copy()
    draw = ImageDraw.Draw(picture)
    shares = chosen.random(SHAPES)
    least, largest = LEAST_SHAPE**-2, LARGEST_SHAPE**-2
    for radius in np.sort((least + shares * (largest - least)) ** -0.5)[::-1] * side / 2:
        x, y = chosen.uniform(0, field.width), chosen.uniform(0, field.height)
        near = field.getpixel((int(min(x, field.width - 1)), int(min(y, field.height - 1))))
        shade = chosen.normal(0, 16)
        colour = tuple(int(min(max(c + shade + chosen.normal(0, 5), 0), 255)) for c in near)  # type: ignore[union-attr]
        if chosen.random() < 0.6:
            draw.ellipse((x - radius, y - radius * 0.7, x + radius, y + radius * 0.7), fill=colour)
        else:
            turned = [chosen.uniform(0, 2 * math.pi) + step * math.pi / 2 for step in range(4)]
            draw.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in turned], fill=colour)
    return picture


def sized(megapixels: float) -> tuple[int, int]:
    """Three by two, and no pixel more."""
    height = int(math.sqrt(megapixels * 1e6 / 1.5))
    return int(height * 1.5), height


def inputs(folder: Path, shrink: float, say: Callable[[str], None]) -> list[Input]:
    """All inputs, made where they are missing; `shrink` divides their pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, (megapixels, suffix, mime, family, save) in MAKERS.items():
        path = folder / f"{name.replace(' ', '-')}-{shrink:g}.{suffix}"
        if not path.exists():
            say(f"drawing {path.name}")
            part = path.with_name(f".{path.name}")
            save(part, *sized(megapixels / shrink))
            part.rename(path)
        readers = () if suffix == "heic" else ("libvips", "sharp")
        made.append(Input(name, path, mime, family, suffix == "gif", "CMYK" not in name, readers))
    return made


def _jpeg(mode: str = "RGB", progressive: bool = False) -> Callable[[Path, int, int], None]:
    def save(path: Path, width: int, height: int) -> None:
        scene(width, height).convert(mode).save(path, "JPEG", quality=88, progressive=progressive)

    return save


def _webp(path: Path, width: int, height: int) -> None:
    scene(width, height).save(path, "WEBP", quality=85, method=2)


def _heic(path: Path, width: int, height: int) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    scene(width, height).save(path, "HEIF", quality=70)


def _alpha(path: Path, width: int, height: int) -> None:
    """A picture with a soft hole in each corner."""
    picture = scene(width, height)
    mask = Image.radial_gradient("L").resize(picture.size).point(lambda value: min(255, max(0, (230 - value) * 4)))
    picture.putalpha(mask)
    picture.save(path, "PNG", compress_level=4)


def _sixteen(path: Path, width: int, height: int) -> None:
    """Pillow writes sixteen bits of grey alone."""
    grey = np.asarray(scene(width, height).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(path, "PNG", compress_level=4)


def _gif(path: Path, width: int, height: int) -> None:
    """A camera that pans over a still scene."""
    whole = scene(width + FRAMES * 2, height + FRAMES).quantize(128)
    frames = [whole.crop((2 * n, n, 2 * n + width, n + height)) for n in range(FRAMES)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0)


Maker = tuple[float, str, str, str, Callable[[Path, int, int], None]]
MAKERS: dict[str, Maker] = {
    **{f"{mp} MP JPEG": (mp, "jpg", "image/jpeg", "jpeg", _jpeg()) for mp in (2, 6, 12, 24, 50)},
    "12 MP JPEG progressive": (12, "jpg", "image/jpeg", "jpeg", _jpeg(progressive=True)),
    "12 MP JPEG CMYK": (12, "jpg", "image/jpeg", "jpeg", _jpeg("CMYK")),
    "6 MP PNG with alpha": (6, "png", "image/png", "other", _alpha),
    "6 MP PNG of 16 bit": (6, "png", "image/png", "other", _sixteen),
    "12 MP WebP": (12, "webp", "image/webp", "other", _webp),
    "12 MP HEIC": (12, "heic", "image/heic", "other", _heic),
    "GIF of 100 frames": (0.13, "gif", "image/gif", "other", _gif),
}
