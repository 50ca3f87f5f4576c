"""The detection of faces: a drawn one is found, upright by its EXIF, and a picture without one has no tag."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFilter

from chipmunk.config import Settings
from chipmunk.hooks import Ingested
from compressor.plugged.switched import Plugged
from tests.compressor.conftest import photo

SKIN, HAIR, WHITE, DARK, MOUTH = (225, 180, 150), (70, 45, 30), (240, 235, 230), (40, 25, 20), (150, 60, 60)


def face() -> Image.Image:
    picture = Image.new("RGB", (400, 400), (90, 120, 150))
    draw = ImageDraw.Draw(picture)
    for box, colour in (
        ((85, 40, 315, 380), HAIR), ((105, 80, 295, 370), SKIN), ((105, 60, 295, 150), HAIR),
        ((184, 254, 198, 266), (120, 70, 60)), ((202, 254, 216, 266), (120, 70, 60)), ((160, 295, 240, 325), MOUTH),
    ):  # fmt: skip
        draw.ellipse(box, fill=colour)
    draw.rectangle((120, 150, 280, 165), fill=SKIN)
    draw.polygon([(200, 195), (182, 262), (218, 262)], fill=(235, 195, 165))
    for x in (155, 245):
        for width, top, bottom, colour in ((32, 162, 176, HAIR), (22, 186, 210, WHITE), (11, 186, 210, DARK)):
            draw.ellipse((x - width, top, x + width, bottom), fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(3))


def encoded(picture: Image.Image, kind: str, orientation: int = 1) -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    picture.save(out, kind, exif=exif)
    return out.getvalue()


@pytest.fixture
async def plugged() -> AsyncIterator[Plugged]:
    async with Plugged(Settings(plugins=("faces",), decoders=1)) as plugged:
        yield plugged


async def test_a_face_is_found_whichever_way_it_is_stored_and_nothing_else_is_taken_for_one(
    plugged: Plugged, tmp_path: Path
) -> None:
    path = tmp_path / "0"
    turned = face().transpose(Image.Transpose.ROTATE_90)
    for data, tags in (
        (encoded(face(), "JPEG"), ("face",)),
        (encoded(face(), "WEBP"), ("face",)),
        (encoded(face().resize((1600, 1600)), "PNG"), ("face",)),
        (encoded(turned, "JPEG", orientation=6), ("face",)),
        (photo(800, 600), ()),
        (b"no picture at all", ()),
    ):
        path.write_bytes(data)
        ingested = Ingested("0" * 32, "image", "image/jpeg", len(data), "0" * 64, "a", ())
        assert await plugged.after_ingest("faces", ingested, path) == tags
