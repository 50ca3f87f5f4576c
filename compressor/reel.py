"""An animation as a video, WebM with VP9, which is a fraction of what a GIF takes."""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

from PIL import Image, ImageSequence

from chipmunk.renditions import REEL
from compressor.animation import milliseconds
from compressor.encode import write
from compressor.ladder import Rung, RungFile
from compressor.overlay import Layer, bare
from compressor.pictures import Source, base

LARGEST = 6  # the rung that it is as large as
SECONDS = 10.0  # that making it may take; what takes longer is not worth it
SPEED = {"deadline": "realtime", "cpu-used": "7", "crf": "34", "b": "0"}
BT709 = 1  # H.273, table 4


def of(
    source: Source, image: Image.Image, crop: float | None, most: int, out: Path, until: float, lay: Layer = bare
) -> list[RungFile]:
    """That of a GIF, where it is smaller than the file and than `most` bytes. It goes without, rather than fail or be made late
    (after `until`, of `monotonic`)."""
    if image.format != "GIF" or not isinstance(source, Path) or monotonic() > until:
        return []
    with suppress(Exception):
        found = made(image, crop, min(most, source.stat().st_size), out, lay)
        return [] if found is None else [found]
    return []


def made(image: Image.Image, crop: float | None, most: int, out: Path, lay: Layer) -> RungFile | None:
    """The video, where all of it is opaque and it is shorter than `most` bytes; how often it repeats is for its player."""
    import av

    file, began, moments = io.BytesIO(), monotonic(), [0]
    stream: Any = None
    packets: list[Any] = []
    image.seek(0)
    with av.open(file, "w", format="webm") as container:
        for frame in ImageSequence.Iterator(image):
            frame.load()
            picture = _opaque(lay(base(frame, LARGEST, crop)))
            if picture is None or sum(p.size for p in packets) >= most or monotonic() - began > SECONDS:
                return None
            stream = stream or _stream(container, picture)
            packets += stream.encode(_moment(picture, moments[-1]))
            moments.append(moments[-1] + milliseconds(frame))
        packets += stream.encode()
        for packet, start, end in zip(packets, moments[:-1], moments[1:], strict=True):
            packet.duration = end - start
            container.mux(packet)
    data = file.getvalue()
    rung = Rung(REEL, stream.width, stream.height)
    return write(data, rung, out, monotonic() - began) if len(data) < most else None


def _opaque(picture: Image.Image) -> Image.Image | None:
    if picture.mode == "RGBA":
        least, _ = picture.getchannel("A").getextrema()
        return picture.convert("RGB") if least == 255 else None
    return picture


def _stream(container: Any, picture: Image.Image) -> Any:
    stream = container.add_stream("libvpx-vp9", rate=1000, options=SPEED)
    stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
    context = stream.codec_context
    context.thread_count, context.time_base, context.colorspace = 1, Fraction(1, 1000), BT709
    return stream


def _moment(picture: Image.Image, at: int) -> Any:
    """A frame that is there from so many milliseconds on."""
    import av

    whole: Any = av.VideoFrame
    frame = whole.from_image(picture).reformat(format="yuv420p", dst_colorspace=BT709, threads=1)
    frame.pts = at
    return frame
