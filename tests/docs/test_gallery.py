"""The gallery: one picture for each tool, made of photographs by the code that people use. `CHIPMUNK_TESTS_GALLERY=1`
draws it anew, to be looked at; else it has to be what the code makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageStat

from chipmunk import colours, config, edits
from compressor import attention, editing, film, tasks, waveform
from compressor.animation import preview
from compressor.limits import Limits
from compressor.palette import palette
from compressor.pictures import base
from solo.packages import PROJECT
from tests import films, pictures
from tests.photographs import CAT, CUP, photograph

SHEET = PROJECT / "docs" / "gallery.jpg"
WIDTH, HEIGHT, LABEL, ACROSS = 240, 160, 18, 5
PAPER, INK = (250, 250, 248), (40, 44, 52)
OFF = 6.0  # of 255, the mean difference that JPEG and another build of FFmpeg may make
EDITS = (
    "crop.100.40.240.160", "rotate.90", "straighten.80", "flip.h", "resize.120.80", "brightness.30", "contrast.40",
    "saturation.-100", "sharpen.80", "sepia.90", "hue.120", "blur.6", "noise.40.1", "watermark.se.10.70.wqkgQW5u",
    f"stamp.ne.25.80.{'0' * 32}",
)  # fmt: skip


@cache
def scene() -> Image.Image:
    """A photograph of a cat."""
    return photograph(CAT).crop((0, 0, 450, 300))


def stamp(_: str) -> Image.Image:
    """A seal, clear around it."""
    image = Image.new("RGBA", (120, 120))
    draw = ImageDraw.Draw(image)
    draw.ellipse((0, 0, 119, 119), fill=(150, 30, 40, 255))
    draw.ellipse((12, 12, 107, 107), outline=(255, 240, 220, 255), width=6)
    draw.polygon([(60, 26), (88, 84), (32, 84)], fill=(255, 240, 220, 255))
    return image


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LIMITS", Limits.of(config.load({})), raising=False)


def shown(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    yield "the original", scene()
    for text in EDITS:
        yield text.partition(".")[0], editing.edited(scene(), edits.parse(text), stamp)
    path = folder / "0"
    path.write_bytes(films.video(films.stretch((films.plain((0, 0, 0), 450, 300), 1), (scene(), 2))))
    poster = film.read(path, "video/mp4", Limits.of(config.load({})))[1]
    assert poster is not None
    yield "poster, after a black second", poster
    path.write_bytes(films.sound("flac", "flac", (2000, 9000, 24000, 15000, 30000, 7000, 18000, 3000), 4))
    yield "music without a cover", waveform.drawn(path, "audio/flac", 4, False)
    for how, at in (("centre", 0.5), ("attention", attention.place(photograph(CUP)))):
        yield f"square, by {how}", base(photograph(CUP), 5, at)
    yield "colours of the cup", _colours()
    yield "frames of an animation", _frames(folder)


def _colours() -> Image.Image:
    found = palette(base(photograph(CUP), 3, None))
    image = Image.new("RGB", (len(found) * 40, 100))
    for n, colour in enumerate(found):
        image.paste(colours.shown(colour), (n * 40, 0, n * 40 + 40, 100))
    return image


def _frames(folder: Path) -> Image.Image:
    moves = [scene().crop((n * 6, n * 4, n * 6 + 240, n * 4 + 160)) for n in range(20)]
    path = folder / "a.gif"
    path.write_bytes(pictures.saved(moves[0], "GIF", save_all=True, append_images=moves[1:], duration=80, loop=0))
    with Image.open(path) as image:
        made = preview(image, None, 400_000, folder, Limits.of(config.load({})))
    strip = Image.new("RGB", (5 * 96, 2 * 64), PAPER)
    for n, one in enumerate(made):
        with Image.open(folder / f"{one.quality}.webp") as frame:
            strip.paste(frame.convert("RGB").resize((94, 62)), (n % 5 * 96, n // 5 * 64))
    return strip


def sheet(folder: Path) -> Image.Image:
    tools = list(shown(folder))
    down = -(-len(tools) // ACROSS)
    whole = Image.new("RGB", (ACROSS * WIDTH, down * HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(13)
    for n, (name, image) in enumerate(tools):
        left, top = n % ACROSS * WIDTH, n // ACROSS * HEIGHT
        small = image.convert("RGB")
        small.thumbnail((WIDTH - 12, HEIGHT - LABEL - 10), Image.Resampling.BOX)
        whole.paste(small, (left + (WIDTH - small.width) // 2, top + 6))
        draw.text((left + WIDTH // 2, top + HEIGHT - 6), name, INK, font, anchor="ms")
    return whole


def test_the_gallery_is_what_the_tools_make(tmp_path: Path) -> None:
    made = sheet(tmp_path)
    if os.environ.get("CHIPMUNK_TESTS_GALLERY"):
        made.save(SHEET, quality=88, optimize=True)
    with Image.open(SHEET) as kept:
        assert kept.size == made.size
        for n in range(ACROSS * (made.height // HEIGHT)):
            left, top = n % ACROSS * WIDTH, n // ACROSS * HEIGHT
            box = (left, top, left + WIDTH, top + HEIGHT)
            apart = ImageStat.Stat(ImageChops.difference(made.crop(box), kept.convert("RGB").crop(box))).mean
            assert max(apart) < OFF, (n, apart)


def test_the_gallery_has_each_edit() -> None:
    assert {text.partition(".")[0] for text in EDITS} == set(edits.KINDS)
