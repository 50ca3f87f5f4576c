"""Every format that the service takes through real decoding processes, by its properties: size, frames, duration, orientation,
and the colour of each corner within a bound, which docs/reference/formats.md states beside what was measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, TALB, TIT2, TPE1
from mutagen.mp4 import MP4, MP4Cover
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE
from PIL import Image, ImageCms, ImageDraw

from chipmunk.colours import apart, oklab
from compressor import sniff, waveform
from tests import films, pictures
from tests.compressor.test_decoders import Studio
from tests.docs.pages import rows

Size = tuple[int, int]
Colour = tuple[int, int, int]
Places = dict[tuple[float, float], Colour]
LADDERS: dict[Size, list[Size]] = {
    (1600, 1200): [(10, 8), (40, 30), (160, 120), (320, 240), (640, 480), (1080, 810)],
    (400, 300): [(10, 8), (40, 30), (160, 120), (320, 240), (400, 300), (400, 300)],
    (320, 240): [(10, 8), (40, 30), (160, 120), (320, 240), (320, 240), (320, 240)],
    (256, 192): [(10, 8), (40, 30), (160, 120), (256, 192), (256, 192), (256, 192)],
    (200, 100): [(10, 5), (40, 20), (160, 80), (200, 100), (200, 100), (200, 100)],
    (1080, 540): [(10, 5), (40, 20), (160, 80), (320, 160), (640, 320), (1080, 540)],
}
STILL, MOVING, FILM, DRAWN = (400, 300), (200, 100), (320, 240), (1080, 540)
DURATIONS = [40 + 20 * (n % 3) for n in range(12)]
PREVIEWED = (0, 1, 2, 3, 4, 6, 7, 8, 9, 10)  # ten of twelve
TAGS = {"title": "Nuts", "artist": "The Cheeks", "album": "Winter"}
# How far off a colour is at most in rungs 3 to 6, as ΔE in Oklab, where two below 0.02 look the same
BOUNDS = {
    "JPEG": 0.01, "PNG": 0.01, "GIF": 0.01, "WebP": 0.01, "AVIF": 0.01, "HEIC, HEIF": 0.01, "TIFF": 0.01, "BMP": 0.01,
    "ICO": 0.01, "moving PNG": 0.015, "moving GIF": 0.015, "moving WebP": 0.02, "moving AVIF": 0.02, "MP4": 0.015,
    "QuickTime": 0.015, "WebM": 0.015, "Matroska": 0.015, "music, its cover": 0.01, "music, drawn": 0.02,
}  # fmt: skip
PLACEHOLDERS = 0.1  # the same in rungs 1 and 2, where bars of music run into each other


@dataclass(frozen=True, slots=True)
class Row:
    """A file, what it is told to be, and what it has to come to."""

    format: str
    mime: str
    make: Callable[[], bytes]
    size: Size = STILL
    motion: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    cover: bool | None = None

    def places(self, frame: int) -> Places:
        """Which colours are where in that frame, in parts of its width and height."""
        red, green, blue, white = pictures.CORNERS.values()
        if self.cover is False:
            margin = [(x, y) for x in (0.05, 0.95) for y in (0.05, 0.95)]
            return dict.fromkeys([*margin, (0.75, 0.25), (0.75, 0.75)], waveform.PAPER)
        left, right = (0.12, 0.88) if "frames" in self.motion else (0.25, 0.75)
        corners = {(left, 0.25): red, (right, 0.25): green, (left, 0.75): blue, (right, 0.75): white}
        return {**corners, (0.5, 0.5): marked(frame)} if "frames" in self.motion else corners


def still(kind: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    return lambda: pictures.saved(pictures.corners(mode=mode), kind, **options)


def heif() -> bytes:
    """A HEIC that says in its header no more than that it is some HEIF."""
    data = still("HEIF")()
    length = int.from_bytes(data[:4], "big")
    return data[:4] + data[4:length].replace(b"heic", b"mif1").replace(b"heix", b"mif1") + data[length:]


def profiled(kind: str) -> bytes:
    """Red and green are each other's, and so they are in its profile, which no longer calls itself sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)
    profile = profile.replace("sRGB".encode("utf-16-be"), "rSGB".encode("utf-16-be"))
    red, green, blue = pictures.corners().split()
    return pictures.saved(Image.merge("RGB", (green, red, blue)), kind, icc_profile=profile)


def icon() -> bytes:
    return pictures.saved(pictures.corners(256, 192), "ICO", sizes=[(32, 24), (256, 192)])


def pages() -> bytes:
    other = Image.new("RGB", (50, 50))
    return pictures.saved(pictures.corners(), "TIFF", compression="tiff_lzw", save_all=True, append_images=[other])


def marked(number: int) -> Colour:
    """The grey in the middle of that frame."""
    return (20 * number + 10,) * 3


def moving(kind: str, loop: int = 0, **options: Any) -> bytes:
    frames = [pictures.corners(*MOVING) for _ in DURATIONS]
    for number, frame in enumerate(frames):
        ImageDraw.Draw(frame).rectangle((75, 25, 125, 75), marked(number))
    first, *rest = frames
    return pictures.saved(first, kind, save_all=True, append_images=rest, duration=DURATIONS, loop=loop, **options)


def film(kind: str, codec: str, turn: int = 0, sound: bool = False) -> bytes:
    scene = films.scene(*FILM)
    if turn:
        scene = scene.transpose(TURNED[turn])
    return films.video([scene] * 10, kind, codec, -turn, sound)


OGG = {"libopus": OggOpus, "vorbis": OggVorbis}
TURNED = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def half(kind: str, codec: str) -> bytes:
    """Loud in its first half, silent in the other."""
    return films.sound(kind, codec, (30000, 0), 2)


def covered(kind: str, codec: str) -> bytes:
    """The same with tags and a cover, which lies on its side but for its EXIF."""
    file, picture = io.BytesIO(half(kind, codec)), Picture()
    picture.type, picture.mime, picture.data = 3, "image/jpeg", pictures.turned(6)
    if kind == "mp3":
        tagged: Any = ID3()
    else:
        tagged = {"wav": WAVE, "flac": FLAC, "ogg": OGG.get(codec), "ipod": MP4}[kind](file)
    match kind:
        case "mp3" | "wav":
            if kind == "wav":
                tagged.add_tags()
            frames = (TIT2(text=TAGS["title"]), TPE1(text=TAGS["artist"]), TALB(text=TAGS["album"]))
            for frame in (*frames, APIC(mime="image/jpeg", type=3, data=picture.data)):
                tagged[frame.HashKey] = frame
        case "flac" | "ogg":
            tagged.update(TAGS)
            tagged["metadata_block_picture"] = base64.b64encode(picture.write()).decode()
        case _:
            tagged.update({"\xa9nam": TAGS["title"], "\xa9ART": TAGS["artist"], "\xa9alb": TAGS["album"]})
            tagged["covr"] = [MP4Cover(picture.data, MP4Cover.FORMAT_JPEG)]
    file.seek(0)
    tagged.save(file)
    return file.getvalue()


def animated(format: str, mime: str, make: Callable[[], bytes], loop: int = 0) -> Row:
    return Row(format, mime, make, MOVING, {"frames": 12, "duration_seconds": 0.72, "loop": loop})


def filmed(format: str, mime: str, kind: str, codec: str, name: str, turn: int = 0, sound: str | None = None) -> Row:
    motion = {"duration_seconds": 1.0, "frame_rate": 10.0, "rotation": turn, "video_codec": name, "audio_codec": sound}
    return Row(format, mime, partial(film, kind, codec, turn, sound is not None), FILM, motion)


def heard(format: str, mime: str, make: Callable[..., bytes], kind: str, codec: str) -> Row:
    cover = make is covered
    return Row(format, mime, partial(make, kind, codec), STILL if cover else DRAWN, seconds=2.0, cover=cover)


SOUNDS = {
    "MP3": ("audio/mpeg", "mp3", "libmp3lame"),
    "FLAC": ("audio/flac", "flac", "flac"),
    "Opus": ("audio/ogg", "ogg", "libopus"),
    "Vorbis": ("audio/ogg", "ogg", "vorbis"),
    "M4A": ("audio/mp4", "ipod", "aac"),
    "WAV": ("audio/wav", "wav", "pcm_s16le"),
}
ROWS = {
    "JPEG": Row("JPEG", "image/jpeg", still("JPEG", quality=92)),
    "JPEG, large": Row("JPEG", "image/jpeg", lambda: pictures.saved(pictures.corners(1600, 1200), "JPEG"), (1600, 1200)),
    "JPEG, progressive": Row("JPEG", "image/jpeg", still("JPEG", quality=92, progressive=True)),
    "JPEG, CMYK": Row("JPEG", "image/jpeg", still("JPEG", "CMYK", quality=92)),
    "JPEG, profile": Row("JPEG", "image/jpeg", partial(profiled, "JPEG")),
    **{f"JPEG, turn {n}": Row("JPEG", "image/jpeg", partial(pictures.turned, n)) for n in pictures.TURNS},
    "PNG": Row("PNG", "image/png", still("PNG")),
    "PNG, palette": Row("PNG", "image/png", lambda: pictures.saved(pictures.corners().quantize(4), "PNG")),
    "PNG, alpha": Row("PNG", "image/png", still("PNG", "RGBA")),
    "PNG, profile": Row("PNG", "image/png", partial(profiled, "PNG")),
    "APNG": animated("moving PNG", "image/png", partial(moving, "PNG", 3), 3),
    "GIF": Row("GIF", "image/gif", still("GIF")),
    "GIF, moving": animated("moving GIF", "image/gif", partial(moving, "GIF", 2), 2),
    "WebP": Row("WebP", "image/webp", still("WEBP", quality=80)),
    "WebP, lossless": Row("WebP", "image/webp", still("WEBP", lossless=True)),
    "WebP, moving": animated("moving WebP", "image/webp", partial(moving, "WEBP", 5), 5),
    "AVIF": Row("AVIF", "image/avif", still("AVIF")),
    "AVIF, moving": animated("moving AVIF", "image/avif", partial(moving, "AVIF")),
    "HEIC": Row("HEIC, HEIF", "image/heic", still("HEIF")),
    "HEIF": Row("HEIC, HEIF", "image/heif", heif),
    "TIFF": Row("TIFF", "image/tiff", pages),
    "TIFF, CMYK": Row("TIFF", "image/tiff", still("TIFF", "CMYK")),
    "BMP": Row("BMP", "image/bmp", still("BMP")),
    "ICO": Row("ICO", "image/x-icon", icon, (256, 192)),
    "MP4": filmed("MP4", "video/mp4", "mp4", "libx264", "h264", sound="aac"),
    **{f"MP4, turned {turn}": filmed("MP4", "video/mp4", "mp4", "libx264", "h264", turn) for turn in TURNED},
    "QuickTime": filmed("QuickTime", "video/quicktime", "mov", "mpeg4", "mpeg4"),
    "QuickTime, turned": filmed("QuickTime", "video/quicktime", "mov", "libx264", "h264", 90),
    "WebM": filmed("WebM", "video/webm", "webm", "libvpx-vp9", "vp9", sound="opus"),
    "WebM, VP8": filmed("WebM", "video/webm", "webm", "libvpx", "vp8"),
    "Matroska": filmed("Matroska", "video/x-matroska", "matroska", "libx264", "h264"),
    **{f"{name}, drawn": heard("music, drawn", told[0], half, *told[1:]) for name, told in SOUNDS.items()},
    **{f"{name}, cover": heard("music, its cover", told[0], covered, *told[1:]) for name, told in SOUNDS.items()},
}  # fmt: skip


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio()
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    """Of each format, how far off the worst colour in each of its files was."""
    return {name: {} for name in BOUNDS}


def off(image: Image.Image, places: Places, reach: float = 1 / 32) -> float:
    """How far the worst pixel near these places is from the colour that belongs there."""
    image, (w, h), worst = image.convert("RGB"), image.size, 0.0
    for (x, y), colour in places.items():
        box = (int(w * (x - reach)), int(h * (y - reach)), int(w * (x + reach)) + 1, int(h * (y + reach)) + 1)
        seen = image.crop(box).getcolors(w * h) or []
        worst = max(worst, *(apart(lab(pixel), lab(colour)) for _, pixel in seen))
    return worst


def lab(colour: Any) -> tuple[float, float, float]:
    red, green, blue = colour
    return oklab(red << 16 | green << 8 | blue)


def worst_of(rung: Image.Image, row: Row) -> float:
    """Of all its frames, each of which has to be shown as long as it was."""
    if "frames" not in row.motion or getattr(rung, "n_frames", 1) == 1:
        return off(rung, row.places(0))
    found, durations = 0.0, []
    for number in range(rung.n_frames):  # type: ignore[attr-defined]
        rung.seek(number)
        found = max(found, off(rung, row.places(number)))
        durations.append(rung.info["duration"])
    assert (durations, rung.info["loop"]) == (DURATIONS, row.motion["loop"])
    return found


@pytest.mark.parametrize("name", ROWS)
def test_it_is_as_large_as_long_as_upright_and_as_coloured_as_it_was(
    studio: Studio, tmp_path: Path, measured: dict[str, dict[str, float]], name: str
) -> None:
    row = ROWS[name]
    begun, made = studio.climb(row.make(), tmp_path)
    rungs, previews = made[:6], made[6:]
    assert (begun.kind, begun.mime) == (row.mime.partition("/")[0], row.mime)
    assert (begun.width, begun.height) == ((None, None) if row.cover is False else row.size)
    assert [rung.size for rung in rungs] == LADDERS[row.size]
    frames = row.motion.get("frames", 1)
    assert [getattr(rung, "n_frames", 1) for rung in rungs] == [1, 1, *[frames] * 4]
    assert begun.motion == pytest.approx(row.motion, abs=0.05)
    tags = TAGS if row.cover else {}
    heard = {} if row.cover is None else {"duration_seconds": row.seconds, "cover": row.cover, **tags}
    assert begun.music == pytest.approx(heard, abs=0.05)
    found = [worst_of(rung, row) for rung in rungs]
    assert max(found[:2]) <= PLACEHOLDERS or row.cover is False, found
    assert max(found[2:]) <= BOUNDS[row.format], found
    measured[row.format][name] = max(found[2:])
    if row.cover is False:
        assert off(rungs[5], {(18.5 / waveform.BARS, y): waveform.INK for y in (0.25, 0.75)}, 1 / 540) <= 0.01
    assert [preview.size for preview in previews] == [LADDERS[row.size][3]] * (10 if frames > 1 else 0)
    for number, preview in zip(PREVIEWED, previews, strict=False):
        assert off(preview, row.places(number)) <= BOUNDS[row.format]


def test_every_format_is_in_it() -> None:
    assert {row.mime for row in ROWS.values()} == {kind.mime for kind in sniff.KINDS}
    assert {row.format for row in ROWS.values()} == set(BOUNDS)


def test_the_reference_has_the_bounds_and_what_was_measured(measured: dict[str, dict[str, float]]) -> None:
    told = {cells[0]: cells[1:] for cells in rows("formats", "|".join(BOUNDS), cells=3)}
    assert {name: float(bound) for name, (bound, _) in told.items()} == BOUNDS
    for name, worst in measured.items():
        if set(worst) == {one for one, row in ROWS.items() if row.format == name}:
            assert float(told[name][1]) == pytest.approx(max(worst.values()), abs=0.002), name
