"""Pictures and music for tests, all made here: four coloured corners, so that a turn, a crop or a wrong colour shows."""

from __future__ import annotations

import io
import math
import struct
import wave
from typing import Any

import pillow_heif
from PIL import Image, ImageCms, ImageDraw

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, WHITE = (230, 20, 30), (20, 200, 40), (30, 40, 220), (250, 250, 250)
CORNERS = {"top left": RED, "top right": GREEN, "bottom left": BLUE, "bottom right": WHITE}
TURNS = {  # the EXIF orientation of a picture that was stored so
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def corners(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    middle, half = width // 2, height // 2
    draw.rectangle((0, 0, middle, half), RED)
    draw.rectangle((middle, 0, width, half), GREEN)
    draw.rectangle((0, half, middle, height), BLUE)
    draw.rectangle((middle, half, width, height), WHITE)
    return image if mode == "RGB" else image.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(orientation: int) -> bytes:
    """A JPEG whose pixels are upright only once its EXIF orientation is applied; it names a place, too."""
    turn = TURNS[orientation]
    image = corners() if turn is None else corners().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)
    return saved(image, "JPEG", exif=exif, quality=92)


def swapped_profile() -> bytes:
    """An ICC profile of a display with other primaries: its values mean other colours than sRGB's do."""
    lab = ImageCms.createProfile("LAB")
    return ImageCms.ImageCmsProfile(lab).tobytes()


def sixteen_bit(width: int = 256, height: int = 16) -> Image.Image:
    """A grey ramp from black to white in 16 bits."""
    rows = struct.pack(f"<{width}H", *(x * 65535 // (width - 1) for x in range(width))) * height
    return Image.frombytes("I;16", (width, height), rows)


def animation(kind: str, frames: int = 12, size: tuple[int, int] = (200, 100)) -> bytes:
    pictures = [Image.new("RGB", size, (20 * n % 256, 255 - 20 * n % 256, 60)) for n in range(frames)]
    for n, picture in enumerate(pictures):
        ImageDraw.Draw(picture).ellipse((n * 10, 20, n * 10 + 40, 60), WHITE)
    durations = [40 + 20 * (n % 3) for n in range(frames)]
    first, *rest = pictures
    return saved(first, kind, save_all=True, append_images=rest, duration=durations, loop=0)


def noise(width: int, height: int, seed: int = 1) -> Image.Image:
    import random

    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(width * height * 3))


def wav(seconds: float = 0.5) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        samples = (int(9000 * math.sin(n / 5)) for n in range(int(8000 * seconds)))
        sound.writeframes(b"".join(struct.pack("<h", s) for s in samples))
    return out.getvalue()


def mp3(seconds: float = 2.0) -> bytes:
    """Silent MPEG-1 layer III frames: 128 kbit/s, 44.1 kHz, 417 bytes and 26.1 ms each."""
    frame = b"\xff\xfb\x90\xc4" + bytes(413)
    return frame * round(seconds / (1152 / 44100))


def flac(seconds: int = 3) -> bytes:
    """A FLAC header of so many seconds at 8 kHz, 16 bit, one channel, and one frame's worth of bytes."""
    samples = 8000 * seconds
    info = struct.pack(">HH", 4096, 4096) + bytes(6)
    info += ((8000 << 44) | (0 << 41) | (15 << 36) | samples).to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes([0x80]) + len(info).to_bytes(3, "big") + info + b"\xff\xf8" + bytes(60)
