"""The watermark, from the plug-in to the rungs that nginx serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from chipmunk.config import Settings
from compressor import worker
from tests.compressor.conftest import House, gif, house_of, photo, settings_of, working
from tests.compressor.plugs import processes

RED = (255, 0, 0)


def mark() -> Image.Image:
    """A red disc on nothing."""
    picture = Image.new("RGBA", (100, 100))
    ImageDraw.Draw(picture).ellipse((0, 0, 99, 99), fill=(*RED, 255))
    return picture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mark.png"


@pytest.fixture
def given(tmp_path: Path, path: Path, database: str, redis_url: str) -> Settings:
    options = {"picture_file": str(path), "flows": ["marked"], "opacity": 1, "share": 0.2, "margin": 0}
    return settings_of(
        tmp_path / "data", database, redis_url, decoders=1, plugins=("watermark",),
        plugin_options=json.dumps({"watermark": options}),
    )  # fmt: skip


@asynccontextmanager
async def marking(given: Settings) -> AsyncIterator[House]:
    async with house_of(given) as house:
        await house.user()
        await house.flow("marked")
        yield house


def rung(house: House, media: str, quality: int, frame: int = 0) -> Image.Image:
    picture = Image.open(house.folder(media) / f"{quality}.webp")
    picture.seek(frame)
    return picture.convert("RGB")


def apart(one: Image.Image, other: Image.Image) -> float:
    """On average over pixels, of 255, in the channel where it is most."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


async def test_rungs_4_to_6_of_the_flow_have_it_in_the_corner_and_all_else_is_as_without(
    given: Settings, path: Path
) -> None:
    mark().save(path)
    async with marking(given) as house:
        await compared(house)


async def compared(house: House) -> None:
    data = photo(1400, 1000)
    marked, plain, again = [(await house.stored(data, flow=f))["id"] for f in ("marked", "general", "marked")]
    moving = (await house.stored(gif(), flow="marked"))["id"]
    async with working(house.parts):
        for media in (marked, plain, again, moving):
            await house.until("ready", media)
    for quality in (1, 2, 3):
        assert apart(rung(house, marked, quality), rung(house, plain, quality)) == 0
    for quality in (4, 5, 6):
        with_it, without = rung(house, marked, quality), rung(house, plain, quality)
        width, height = with_it.size
        middle: Any = with_it.getpixel((round(width * 0.9), height - round(width * 0.1)))
        assert all(abs(seen - meant) < 12 for seen, meant in zip(middle, RED, strict=True)), (quality, middle)
        upper = (0, 0, width, height - round(width * 0.2) - 24)
        assert apart(with_it.crop(upper), without.crop(upper)) < 6, quality  # as much as WebP costs each
        assert (house.folder(marked) / f"{quality}.webp").read_bytes() == (
            house.folder(again) / f"{quality}.webp"
        ).read_bytes()
    for frame in (0, 5):
        seen: Any = rung(house, moving, 6, frame).getpixel((180, 130))
        assert all(abs(s - m) < 40 for s, m in zip(seen, RED, strict=True)), seen


async def test_no_rung_is_made_without_it_until_it_can_be_had(
    given: Settings, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LONGEST_DELAY", timedelta(seconds=0.2))
    mark().save(path)
    async with marking(given) as house, working(house.parts):
        path.unlink()
        for pid in processes():
            os.kill(pid, signal.SIGKILL)
        media = (await house.stored(photo(), flow="marked"))["id"]
        await house.until("ready", (await house.stored(photo()))["id"])
        await asyncio.sleep(0.5)
        assert not (house.folder(media) / "4.webp").exists()
        assert (await house.until("processing", media)).reason is None
        mark().save(path)
        await house.until("ready", media)
        assert rung(house, media, 6).getpixel((288, 208))[0] > 230  # type: ignore[index, operator]
