"""Pictures through real decoding processes, with the limits that a service has."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mutagen.id3 import APIC, ID3, TALB, TIT2, TPE1
from PIL import Image, ImageChops, ImageStat, PngImagePlugin

from chipmunk import config
from chipmunk.errors import CorruptImage, DecodeFailed, TooManyPixels
from chipmunk.renditions import REEL
from compressor.begun import Begun
from compressor.decoders import Decoders
from compressor.ladder import RUNGS, RungFile, animated_cap, plan, still_cap
from compressor.sniff import sniff
from tests import films, pictures

MIB = 1024 * 1024


class Studio:
    """Decoders on an event loop of their own."""

    def __init__(self, **settings: object) -> None:
        self.loop = asyncio.new_event_loop()
        self.decoders = Decoders(config.load({}, decoders=1, **settings))
        self.loop.run_until_complete(self.decoders.__aenter__())

    def close(self) -> None:
        self.loop.run_until_complete(self.decoders.__aexit__(None, None, None))
        self.loop.close()

    def climb(self, data: bytes, folder: Path, square: bool = False) -> tuple[Begun, list[Image.Image]]:
        """All rungs of the file, as pictures, lowest first."""
        path = folder / "0"
        path.write_bytes(data)
        kind = sniff(data[:4096])
        assert kind is not None
        cap = still_cap(len(data))
        begun = self.loop.run_until_complete(self.decoders.begin(path, kind, folder, square, cap))
        assert sum(r.bytes for r in begun.rungs) <= cap
        if not begun.has_picture:
            return begun, []
        cap = animated_cap(len(data)) if begun.frames > 1 else cap
        left = cap - sum(r.bytes for r in begun.rungs)
        upper = self.loop.run_until_complete(self.decoders.finish(path, kind, folder, begun.crop, left))
        assert sum(r.bytes for r in upper) <= left
        return begun, [self.read(folder, r) for r in [*begun.rungs, *upper] if r.quality != REEL]

    @staticmethod
    def read(folder: Path, rung: RungFile) -> Image.Image:
        path = folder / f"{rung.quality}.webp"
        assert path.stat().st_size == rung.bytes
        image = Image.open(io.BytesIO(path.read_bytes()))
        assert (image.format, image.size) == ("WEBP", (rung.width, rung.height))
        return image


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio()
    yield studio
    studio.close()


def close(image: Image.Image, wanted: dict[str, tuple[int, int, int]], off: int = 40) -> None:
    """The corners have these colours."""
    image = image.convert("RGB")
    w, h = image.size
    points = {"top left": (w // 8, h // 8), "top right": (w - 1 - w // 8, h // 8)}
    points |= {"bottom left": (w // 8, h - 1 - h // 8), "bottom right": (w - 1 - w // 8, h - 1 - h // 8)}
    for corner, colour in wanted.items():
        seen = image.getpixel(points[corner])
        assert all(abs(a - b) <= off for a, b in zip(seen, colour, strict=True)), (corner, seen, colour)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_ends_upright_and_without_metadata(
    studio: Studio, tmp_path: Path, orientation: int
) -> None:
    begun, rungs = studio.climb(pictures.turned(orientation), tmp_path)
    assert (begun.width, begun.height) == (400, 300)
    for image in rungs[2:]:
        close(image, pictures.CORNERS)
        assert not image.getexif()
        assert not {"icc_profile", "exif", "xmp"} & set(image.info)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK"])
def test_every_format_and_mode_gives_the_right_colours(studio: Studio, tmp_path: Path, kind: str, mode: str) -> None:
    image = pictures.corners(mode=mode)
    try:
        data = pictures.saved(image, kind)
    except (OSError, ValueError):
        data = pictures.saved(image.convert("RGB"), kind)
    _, rungs = studio.climb(data, tmp_path)
    grey = mode in ("L", "1")
    wanted = {c: v for c, v in pictures.CORNERS.items() if not grey or c == "bottom right"}
    close(rungs[3], wanted, 60)
    assert [r.size for r in rungs] == [(r.width, r.height) for r in plan(400, 300, False)]


def test_alpha_is_kept(studio: Studio, tmp_path: Path) -> None:
    image = pictures.corners(mode="RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 200, 150))
    for kind in ("PNG", "WEBP"):
        _, rungs = studio.climb(pictures.saved(image, kind), tmp_path)
        for rung in rungs[2:]:
            alpha = rung.convert("RGBA").getchannel("A")
            assert alpha.getpixel((5, 5)) < 10
            assert alpha.getpixel((rung.width - 5, rung.height - 5)) > 245


def test_sixteen_bits_are_scaled_and_not_clipped(studio: Studio, tmp_path: Path) -> None:
    for kind in ("PNG", "TIFF"):
        _, rungs = studio.climb(pictures.saved(pictures.sixteen_bit(), kind), tmp_path)
        ramp = [rungs[3].convert("L").getpixel((x, 8)) for x in range(0, 256, 32)]
        assert all(abs(seen - x) < 12 for seen, x in zip(ramp, range(0, 256, 32), strict=True)), ramp


def test_a_broken_profile_is_ignored(studio: Studio, tmp_path: Path) -> None:
    data = pictures.saved(pictures.corners(), "PNG", icc_profile=b"nonsense" * 40)
    close(studio.climb(data, tmp_path)[1][3], pictures.CORNERS)


def test_a_square_is_cut_from_the_middle(studio: Studio, tmp_path: Path) -> None:
    image = Image.new("RGB", (900, 300), pictures.BLUE)
    image.paste(pictures.RED, (300, 0, 600, 300))
    _, rungs = studio.climb(pictures.saved(image, "PNG"), tmp_path, square=True)
    assert [r.size for r in rungs] == [(s, s) for s in (10, 40, 160, 300, 300, 300)]
    close(rungs[5], dict.fromkeys(pictures.CORNERS, pictures.RED))


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (3, 2)])
def test_extremes_have_a_ladder_too(studio: Studio, tmp_path: Path, size: tuple[int, int]) -> None:
    _, rungs = studio.climb(pictures.saved(Image.new("RGB", size, "red"), "PNG"), tmp_path)
    assert [r.size for r in rungs] == [(r.width, r.height) for r in plan(*size, False)]


def test_renditions_look_like_a_careful_resize(studio: Studio, tmp_path: Path) -> None:
    image = pictures.noise(60, 45).resize((1500, 1125), Image.Resampling.BICUBIC)
    _, rungs = studio.climb(pictures.saved(image, "JPEG", quality=95), tmp_path)
    for rung, most in zip(rungs, (40, 25, 12, 7, 5, 4), strict=True):
        reference = image.resize(rung.size, Image.Resampling.LANCZOS)
        difference = ImageStat.Stat(ImageChops.difference(rung.convert("L"), reference.convert("L"))).rms[0]
        assert difference < most, (rung.size, difference)


def test_noise_keeps_the_cap(studio: Studio, tmp_path: Path) -> None:
    data = pictures.saved(pictures.noise(1080, 1080), "JPEG", quality=10)
    studio.climb(data, tmp_path)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_moves_in_time_from_rung_three_on(studio: Studio, tmp_path: Path, kind: str) -> None:
    begun, rungs = studio.climb(pictures.animation(kind), tmp_path)
    assert begun.frames == 12
    assert begun.motion == {"frames": 12, "duration_seconds": 0.72, "loop": 0}
    assert [getattr(r, "n_frames", 1) for r in rungs[:6]] == [1, 1, 12, 12, 12, 12]
    durations = []
    for n in range(12):
        rungs[4].seek(n)
        rungs[4].load()
        durations.append(rungs[4].info["duration"])
    assert durations == [40 + 20 * (n % 3) for n in range(12)]
    previews = rungs[6:]
    assert (tmp_path / "21.webm").is_file() is (kind == "GIF")
    assert {f.name for f in tmp_path.glob("[12]?.webp")} == {f"{n}.webp" for n in range(11, 21)}
    assert {(p.size, getattr(p, "n_frames", 1)) for p in previews} == {((200, 100), 1)}
    for shown, number in zip(previews, (0, 1, 2, 3, 4, 6, 7, 8, 9, 10), strict=True):
        red, green, _ = shown.convert("RGB").getpixel((190, 90))
        assert (red, green) == pytest.approx((20 * number, 255 - 20 * number), abs=9)


def test_an_animation_of_few_frames_shows_them_all_and_a_still_picture_none(studio: Studio, tmp_path: Path) -> None:
    begun, rungs = studio.climb(pictures.animation("GIF", frames=3, size=(900, 300)), tmp_path, square=True)
    assert begun.motion["frames"] == 3
    assert [r.size for r in rungs[6:]] == [(300, 300)] * 3
    begun, rungs = studio.climb(pictures.turned(1), tmp_path)
    assert (begun.motion, len(rungs)) == ({}, 6)


def test_a_long_animation_is_thinned_and_takes_as_long(tmp_path: Path) -> None:
    studio = Studio(max_frames=10)
    try:
        _, rungs = studio.climb(pictures.animation("GIF", frames=40), tmp_path)
    finally:
        studio.close()
    assert rungs[3].n_frames == 10
    total = 0
    for n in range(10):
        rungs[3].seek(n)
        rungs[3].load()
        total += rungs[3].info["duration"]
    assert total == sum(40 + 20 * (n % 3) for n in range(40))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_is_corrupt(studio: Studio, tmp_path: Path, share: float, progressive: bool) -> None:
    data = pictures.saved(pictures.noise(300, 200), "JPEG", quality=90, progressive=progressive)
    with pytest.raises(CorruptImage):
        studio.climb(data[: int(len(data) * share)], tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_a_cut_file_of_any_format_is_corrupt(studio: Studio, tmp_path: Path, kind: str) -> None:
    data = pictures.saved(pictures.noise(300, 200), kind)
    with pytest.raises(CorruptImage):
        studio.climb(data[: len(data) // 2], tmp_path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_pixel_bomb_is_refused_by_its_header(studio: Studio, tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6), 9))
        + chunk(b"IEND", b"")
    )
    began = time.monotonic()
    with pytest.raises(TooManyPixels) as caught:
        studio.climb(bomb, tmp_path)
    assert caught.value.ids["width"] == 60_000
    assert time.monotonic() - began < 5


def test_memory_past_the_limit_ends_the_task_and_not_the_pool(tmp_path: Path) -> None:
    studio = Studio(max_pixels=400_000_000, decode_memory_bytes=400 * MIB)
    try:
        with pytest.raises((DecodeFailed, CorruptImage)):
            studio.climb(pictures.saved(Image.new("RGB", (14000, 12000)), "PNG"), tmp_path)
        close(studio.climb(pictures.turned(1), tmp_path)[1][3], pictures.CORNERS)
    finally:
        studio.close()


def test_time_past_the_limit_ends_the_task_and_not_the_pool(tmp_path: Path) -> None:
    studio = Studio(decode_seconds=1)
    try:
        with pytest.raises(DecodeFailed, match="longer"):
            studio.climb(pictures.animation("GIF", frames=250, size=(900, 800)), tmp_path)
        close(studio.climb(pictures.turned(1), tmp_path)[1][3], pictures.CORNERS)
    finally:
        studio.close()


def test_a_killed_process_fails_its_task_and_another_takes_its_place(tmp_path: Path) -> None:
    studio = Studio()
    path = tmp_path / "0"
    path.write_bytes(pictures.animation("GIF", frames=250, size=(900, 800)))
    kind = sniff(path.read_bytes()[:64])
    assert kind is not None

    def at_work() -> list[psutil.Process]:
        return [c for c in psutil.Process().children(recursive=True) if c.ppid() != os.getpid()]

    def spent(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before = {c: spent(c) for c in at_work()}

    async def kill() -> None:
        task = asyncio.ensure_future(studio.decoders.begin(path, kind, tmp_path, False, MIB))
        await asyncio.sleep(0.4)
        os.kill(max(at_work(), key=lambda c: spent(c) - before.get(c, 0)).pid, signal.SIGKILL)
        with pytest.raises(DecodeFailed, match="crashed"):
            await task

    try:
        studio.loop.run_until_complete(kill())
        close(studio.climb(pictures.turned(1), tmp_path)[1][3], pictures.CORNERS)
    finally:
        studio.close()


def marked(kind: str, image: Image.Image) -> bytes:
    """A picture that says it is PQ of BT.2020."""
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add(b"cICP", bytes([9, 16, 0, 1]))
        return pictures.saved(image, kind, pnginfo=chunks)
    data = pictures.saved(image, kind, quality=95)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "AVIF", "HEIF"])
def test_pictures_in_the_light_of_hdr_are_in_that_of_screens(
    studio: Studio, tmp_path: Path, kind: str, mode: str
) -> None:
    """Of a card of 18 % and of the reference white of BT.2408, table 1: 38 and 58 % of PQ."""
    image = Image.new(mode, (400, 200), (round(255 * 0.38),) * 3)
    image.paste((round(255 * 0.58),) * 3, (200, 0, 400, 200))
    if mode == "RGBA":
        image.paste((0, 0, 0, 0), (0, 0, 400, 40))
    _, rungs = studio.climb(marked(kind, image), tmp_path)
    card, paper = (rungs[5].convert("RGB").getpixel((x, 100)) for x in (100, 300))
    assert max(abs(c - 100) for c in card) <= 6, card
    assert min(paper) > 210, paper
    assert rungs[5].mode == mode
    assert mode == "RGB" or rungs[5].getpixel((200, 10))[3] == 0


def test_an_animation_in_the_light_of_hdr_is_mapped_however_often_it_is_gone_through(
    studio: Studio, tmp_path: Path
) -> None:
    """Its preview frames are made in a pass of their own."""
    paper = Image.new("RGB", (200, 100), (round(255 * 0.58),) * 3)
    moves = [paper.copy() for _ in range(12)]
    for n, frame in enumerate(moves):
        frame.paste((0, 0, 0), (8 * n, 0, 8 * n + 8, 20))
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"cICP", bytes([9, 16, 0, 1]))
    data = pictures.saved(moves[0], "PNG", save_all=True, append_images=moves[1:], duration=80, pnginfo=chunks)
    studio.climb(data, tmp_path)
    for file in ("4.webp", "11.webp", "15.webp", "20.webp"):
        with Image.open(tmp_path / file) as shown:
            white = shown.convert("RGB").getpixel((150, 80))
        assert min(white) > 210, (file, white)


def test_music_has_tags_and_rungs_of_its_cover(studio: Studio, tmp_path: Path) -> None:
    tags = ID3()
    for frame in (TIT2(text="Nuts"), TPE1(text="The Cheeks"), TALB(text="Winter")):
        tags.add(frame)
    tags.add(APIC(mime="image/jpeg", type=3, data=pictures.turned(6)))
    out = io.BytesIO()
    tags.save(out)
    begun, rungs = studio.climb(out.getvalue() + pictures.mp3(), tmp_path)
    assert (begun.kind, begun.mime, begun.has_picture, begun.width) == ("audio", "audio/mpeg", True, 400)
    assert {k: begun.music[k] for k in ("title", "artist", "album")} == {
        "title": "Nuts",
        "artist": "The Cheeks",
        "album": "Winter",
    }
    assert 1.9 < begun.music["duration_seconds"] < 2.1
    assert begun.music["cover"] is True
    close(rungs[3], pictures.CORNERS)
    assert [max(r.size) for r in rungs] == [min(400, side) for side in RUNGS]


@pytest.mark.parametrize("kind", ["wav", "webm"])
def test_tags_of_a_container_are_read_where_there_are_no_others(studio: Studio, tmp_path: Path, kind: str) -> None:
    said = {"title": "Nüsse", "artist": "The Cheeks", "album": "Winter"}
    codec = {"wav": "pcm_s16le", "webm": "libopus"}[kind]
    begun, _ = studio.climb(films.sound(kind, codec, tags=said), tmp_path)
    assert {k: begun.music[k] for k in said} == said
    assert begun.music["duration_seconds"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("make", [pictures.wav, pictures.mp3, pictures.flac])
def test_music_without_a_cover_has_rungs_too(studio: Studio, tmp_path: Path, make: object) -> None:
    """Also where nothing in it can be decoded."""
    begun, rungs = studio.climb(make(), tmp_path)  # type: ignore[operator]
    assert (begun.kind, begun.has_picture, begun.width, begun.music["cover"]) == ("audio", True, None, False)
    assert [max(r.size) for r in rungs] == [*RUNGS]
    assert begun.music["duration_seconds"] > 0


def test_a_broken_cover_does_not_cost_the_music(studio: Studio, tmp_path: Path) -> None:
    tags, out = ID3(), io.BytesIO()
    tags.add(APIC(mime="image/jpeg", type=3, data=pictures.turned(1)[:300]))
    tags.save(out)
    begun, rungs = studio.climb(out.getvalue() + pictures.mp3(), tmp_path)
    assert (begun.music["cover"], len(rungs), rungs[5].size) == (False, 6, (1080, 540))
