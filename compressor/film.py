"""Video: what the file says of itself, and the frame that stands for it, found without trusting either."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter, ImageStat

from chipmunk.errors import CorruptImage, Problem, TooManyPixels, Unsupported
from compressor import hdr
from compressor.containers import Allowance, confine, frames, is_whole, opened, seconds
from compressor.limits import Limits

FIRST_SECONDS, APART_SECONDS = 10.0, 0.25  # what is looked at from the beginning on, frame by frame
PLACES = 12  # and then, evenly spread, the key frames before so many moments
DECODED_PIXELS, PACKETS, SECONDS = 1_500_000_000, 20_000, 15.0  # what looking for it may cost
READING_SECONDS = 20.0  # after which the file counts as ended
COUNTED_PACKETS, COUNTING_SECONDS = 2_000_000, 5.0  # to find a duration that the file does not say
LOOKED_AT = 320  # pixels, the longer side of a frame that is judged
DULL, BLURRED = 12.0, 25.0  # deviation of its grey; variance of its Laplacian
LAPLACE = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)
UNSPECIFIED, BT709, BT601, HD_LINES = 2, 1, 5, 720  # H.273, table 4; untagged video is BT.709 from this height on
STRANGEST_PIXEL = 8  # as wide as high, or the other way round
# The signs of a display matrix (ISO/IEC 14496-12, 6.2.2): what makes frames upright, and degrees clockwise of the turn
UPRIGHT = {
    (0, 1, -1, 0): (Image.Transpose.ROTATE_270, 90),
    (-1, 0, 0, -1): (Image.Transpose.ROTATE_180, 180),
    (0, -1, 1, 0): (Image.Transpose.ROTATE_90, 270),
    (-1, 0, 0, 1): (Image.Transpose.FLIP_LEFT_RIGHT, 0),
    (1, 0, 0, -1): (Image.Transpose.FLIP_TOP_BOTTOM, 0),
    (0, 1, 1, 0): (Image.Transpose.TRANSPOSE, 0),
    (0, -1, -1, 0): (Image.Transpose.TRANSVERSE, 0),
}


def read(path: Path, mime: str, limits: Limits) -> tuple[dict[str, Any], Image.Image | None]:
    """What moves in it and how, and its poster, upright; no poster where there is sound alone.

    Raises CorruptImage, TooManyPixels; Unsupported where its pictures are in a codec that is not decoded.
    """
    with opened(path, mime, READING_SECONDS) as container:
        video, audio = container.streams.best("video"), container.streams.best("audio")
        if video is None and audio is None:
            raise CorruptImage()
        if not is_whole(path, video or audio):
            raise CorruptImage()
        motion: dict[str, Any] = {"duration_seconds": seconds(container, video or audio), "audio_codec": _codec(audio)}
        poster = None
        if video is not None:
            if not confine(video, limits.max_pixels):
                raise Unsupported("The video's codec is none that the service decodes.")
            _check(video.codec_context.width, video.codec_context.height, limits)
            frame = _poster(container, video, motion["duration_seconds"], limits)
            poster = _upright(frame, video, limits)
            rate = video.average_rate
            motion |= {
                "video_codec": _codec(video),
                "frame_rate": rate and round(float(rate), 3),
                "rotation": _turn(frame)[1],
            }
    if motion["duration_seconds"] is None:
        motion["duration_seconds"] = _counted(path, mime)
    return motion, poster


def _codec(stream: Any) -> str | None:
    """Its common name, whatever decodes it."""
    return None if stream is None or stream.codec_context is None else str(stream.codec_context.codec.canonical_name)


def _poster(container: Any, stream: Any, duration: float | None, limits: Limits) -> Any:
    """The first frame that is neither dull nor blurred, or the best of those looked at."""
    best, found = -1.0, None
    for frame in _candidates(container, stream, duration, limits):
        score = _score(frame)
        if score > best:
            best, found = score, frame
        if score >= 1:
            break
    if found is None:
        raise CorruptImage()
    return found


def _candidates(container: Any, stream: Any, duration: float | None, limits: Limits) -> Iterator[Any]:
    allowance = Allowance(DECODED_PIXELS // 2, PACKETS, SECONDS / 2)
    first = last = None
    for frame in _decoded(container, stream, allowance, limits):
        at = frame.time
        if last is None or at is None or at - last >= APART_SECONDS:
            yield frame
            last = at
        first = at if first is None else first
        if at is not None and first is not None and at - first > FIRST_SECONDS:
            break
    allowance = Allowance(DECODED_PIXELS // 2, PACKETS, SECONDS / 2)
    for place in range(1, PLACES if duration and duration > FIRST_SECONDS else 0):
        if allowance.spent:
            return
        container.seek(int(((first or 0) + (duration or 0) * place / PLACES) / stream.time_base), stream=stream)
        frame = next(_decoded(container, stream, allowance, limits), None)
        if frame is not None and frame.time is not None and (last is None or frame.time > last):
            yield frame
            last = frame.time


def _decoded(container: Any, stream: Any, allowance: Allowance, limits: Limits) -> Iterator[Any]:
    """Whole frames; a stream may change their size at any of them."""
    for frame in frames(container, stream, allowance):
        _check(frame.width, frame.height, limits)
        allowance.units -= frame.width * frame.height
        if not frame.is_corrupt:
            yield frame


def _check(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise TooManyPixels(width=width, height=height, most_pixels=limits.max_pixels)


def _score(frame: Any) -> float:
    """1 where it is neither dull nor blurred; the less the more it is either."""
    scale = min(1.0, LOOKED_AT / max(frame.width, frame.height))
    size = max(3, round(frame.width * scale)), max(3, round(frame.height * scale))
    small = frame.reformat(width=size[0], height=size[1], format="gray", interpolation="AREA", threads=1)
    grey = _image(small, "L")
    contrast = ImageStat.Stat(grey).stddev[0]
    edges = grey.filter(LAPLACE).crop(
        (1, 1, size[0] - 1, size[1] - 1)
    )  # which a filter leaves as they were at the border
    sharpness = ImageStat.Stat(edges).var[0]
    return float(min(1.0, contrast / DULL) * min(1.0, sharpness / BLURRED))


def _image(frame: Any, mode: str) -> Image.Image:
    plane = frame.planes[0]
    return Image.frombytes(mode, (frame.width, frame.height), bytes(plane), "raw", mode, plane.line_size, 1)


def _upright(frame: Any, stream: Any, limits: Limits) -> Image.Image:
    """In RGB, with square pixels, in the light that it was filmed in."""
    space, transfer = frame.colorspace, int(frame.color_trc)
    if space == UNSPECIFIED:
        space = BT709 if frame.height >= HD_LINES else BT601
        space = hdr.BT2020 if hdr.is_hdr(transfer) else space
    ratio = float(stream.sample_aspect_ratio or 1)
    width, height = frame.width, frame.height
    if 1 < ratio <= STRANGEST_PIXEL:
        width = round(width * ratio)
    elif 1 / STRANGEST_PIXEL <= ratio < 1:
        height = round(height / ratio)
    _check(width, height, limits)
    rgb = frame.reformat(
        width=width, height=height, format="rgb24", src_colorspace=space, interpolation="BICUBIC", threads=1
    )
    image, turn = _image(rgb, "RGB"), _turn(frame)[0]
    image = image if turn is None else image.transpose(turn)
    hdr.mark(image, transfer)
    return image


def _turn(frame: Any) -> tuple[Image.Transpose | None, int]:
    """What makes the frame upright, and the degrees clockwise that its file says."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None or len(bytes(matrix)) < 36:
        return None, 0
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return UPRIGHT.get(tuple((n > 0) - (n < 0) for n in (a, b, c, d)), (None, 0))


def _counted(path: Path, mime: str) -> float | None:
    """The duration of a file that does not say it, as of what a browser has recorded; None where counting takes long."""
    allowance, end = Allowance(1, COUNTED_PACKETS, COUNTING_SECONDS), 0.0
    with suppress(Problem), opened(path, mime, COUNTING_SECONDS) as container:
        for packet in container.demux():
            allowance.packets -= 1
            if allowance.spent:
                break
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return None if allowance.spent or not end else round(end, 3)
