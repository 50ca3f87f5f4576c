from __future__ import annotations

import random

import pytest
from PIL import Image

from chipmunk import reports
from compressor.palette import palette
from tests import pictures

SEA = 0x2050A0
PALETTE = [SEA, 0xE0E0D0, 0x604020, 0xD04030]


def scene(seed: int) -> Image.Image:
    """A few fields of colour of different sizes, with some grain: as much of a photograph as counts here."""
    draw = random.Random(seed)
    field = Image.frombytes("RGB", (4, 3), draw.randbytes(36)).resize((160, 120), Image.Resampling.BICUBIC)
    return Image.blend(field, pictures.noise(160, 120, seed), 0.06)


def browsers(image: Image.Image, method: Image.Quantize, count: int) -> list[int]:
    """A palette as somebody else's code finds it: other pixels, another algorithm, colours by how often they come."""
    cut = image.resize((90, 67)).quantize(count, method, kmeans=2)
    table = cut.getpalette("RGB") or []
    found = sorted(cut.getcolors() or [], reverse=True)
    return [int.from_bytes(table[3 * n : 3 * n + 3]) for _, n in found if isinstance(n, int)]


@pytest.mark.parametrize("method", [Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE, Image.Quantize.FASTOCTREE])
def test_other_ways_of_finding_colours_agree_and_made_up_ones_do_not(method: Image.Quantize) -> None:
    draw, honest, made_up = random.Random(3), 0, 0
    for seed in range(40):
        ours = palette(scene(seed))
        first, *rest = browsers(scene(seed), method, 6)
        honest += reports.agrees(ours, first, rest)
        made_up += reports.agrees(ours, draw.getrandbits(24), [draw.getrandbits(24) for _ in range(5)])
    assert honest >= 38
    assert made_up <= 12


def test_what_agrees_is_like_what_is_known() -> None:
    assert reports.agrees(PALETTE, SEA, [])
    assert reports.agrees(PALETTE, SEA + 0x030303, [0xE0E0D0, 0x604020, 0x00FF00])
    assert not reports.agrees(PALETTE, SEA, [0xE0E0D0, 0x00FF00, 0xFF00FF])
    assert not reports.agrees(PALETTE, 0x00FF00, [])
