"""Videos and music for tests, made with PyAV itself."""

from __future__ import annotations

import io
import math
import random
from array import array
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import av
from PIL import Image, ImageFilter

from tests import pictures

FPS = 10
PERIOD = 96  # samples of a tone
CODECS = {"mp4": "libx264", "mov": "mpeg4", "webm": "libvpx-vp9", "matroska": "libx264"}
FORMATS = ("mp4", "mov", "webm", "matroska")
BLACK, GREY = (0, 0, 0), (120, 120, 120)


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """The four corners, with some detail in the middle of them, so that it is neither dull nor blurred."""
    image = pictures.corners(width, height)
    noise = Image.frombytes("L", (16, 16), random.Random(1).randbytes(256)).resize((64, 64), Image.Resampling.NEAREST)
    image.paste(noise.convert("RGB"), (width // 2 - 32, height // 2 - 32))
    return image


def plain(colour: tuple[int, int, int], width: int = 320, height: int = 240) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def blurred(width: int = 320, height: int = 240) -> Image.Image:
    return scene(width, height).filter(ImageFilter.GaussianBlur(12))


def video(
    images: Sequence[Image.Image], kind: str = "mp4", codec: str = "", turn: int = 0, sound: bool = False,
    options: dict[str, str] | None = None, live: bool = False, pixel: Fraction | None = None, space: int | None = None,
    transfer: int | None = None,
    **container: Any,
) -> bytes:  # fmt: skip
    """Frames at ten a second. `turn`: degrees counterclockwise that a player has to apply; `live`: it does not say how long."""
    out: Any = Unseekable() if live else io.BytesIO()
    with av.open(out, "w", format=kind, io_open=lambda *_: io.BytesIO(out.getvalue()), options=container) as file:
        stream: Any = file.add_stream(codec or CODECS[kind], rate=FPS, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *images[0].size, "yuv420p"
        stream.codec_context.thread_count = 1
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        if space is not None:
            stream.codec_context.colorspace = space
        if transfer is not None:
            stream.codec_context.color_trc = transfer
        if turn:
            stream.set_display_rotation(turn)
        track: Any = (
            file.add_stream("libopus" if kind == "webm" else "aac", rate=48000, layout="mono") if sound else None
        )
        for image in images:
            frame = av.VideoFrame.from_image(image)
            if space is not None:
                frame = frame.reformat(format="yuv420p", dst_colorspace=space)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if track is not None:
            file.mux(track.encode(_hum(len(images) / FPS, 48000)))
            file.mux(track.encode())
    return bytes(out.getvalue())


class Unseekable(io.RawIOBase):
    """What a browser that records writes to: nothing can be written later into what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        self.written += data
        return len(data)

    def getvalue(self) -> bytes:
        return bytes(self.written)


def _hum(seconds: float, rate: int) -> Any:
    return tone([8000], seconds, rate)


def tone(levels: Sequence[int], seconds: float = 1.0, rate: int = 48000) -> Any:
    """A frame of sound: a tone of each of these levels (0 to 32767), for equally long."""
    samples = array("h")
    for level in levels:
        period = array("h", (round(level * math.sin(2 * math.pi * n / PERIOD)) for n in range(PERIOD)))
        samples += period * round(seconds * rate / len(levels) / PERIOD)
    count = len(samples)
    frame = av.AudioFrame(format="s16", layout="mono", samples=count)
    frame.sample_rate, frame.pts = rate, 0
    frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
    return frame


def stretch(*parts: tuple[Image.Image, float]) -> list[Image.Image]:
    """Each picture for so many seconds."""
    return [image for image, seconds in parts for _ in range(round(seconds * FPS))]


def turned(images: Iterable[Image.Image], how: Image.Transpose) -> list[Image.Image]:
    return [image.transpose(how) for image in images]


def sound(
    kind: str = "mp4", codec: str = "", levels: Sequence[int] = (8000,), seconds: float = 1.0,
    tags: dict[str, str] | None = None, **container: Any,
) -> bytes:  # fmt: skip
    """A file of sound alone."""
    out: Any = io.BytesIO()
    with av.open(out, "w", format=kind, options=container) as file:
        file.metadata.update(tags or {})
        layout, options = ("stereo", {"strict": "experimental"}) if codec == "vorbis" else ("mono", {})
        track: Any = file.add_stream(codec or ("libopus" if kind == "webm" else "aac"), rate=48000, layout=layout)
        track.codec_context.options = options
        file.mux(track.encode(tone(levels, seconds)))
        file.mux(track.encode())
    return bytes(out.getvalue())
