"""Files of video and music as FFmpeg reads them, fenced in: one format, known codecs, one thread, no other file, no network.

PyAV is loaded with the first such file that a process meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from chipmunk.errors import CorruptImage, DecodeFailed

FORMATS = {
    "video/mp4": "mov", "video/quicktime": "mov", "audio/mp4": "mov", "video/webm": "matroska",
    "video/x-matroska": "matroska", "audio/webm": "matroska", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg",
    "audio/wav": "wav",
}  # fmt: skip
PICTURES = ("h264", "hevc", "vp8", "vp9", "libdav1d", "mpeg4", "mjpeg", "prores", "h263", "mpeg2video", "mpeg1video")
SOUNDS = (
    "aac", "mp3", "mp3float", "opus", "libopus", "vorbis", "flac", "alac", "ac3", "eac3", "pcm_u8", "pcm_s16le",
    "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw", "adpcm_ms",
    "adpcm_ima_wav",
)  # fmt: skip
PROBE_BYTES, PROBE_MICROSECONDS = 5_000_000, 5_000_000
BROKEN_PACKETS = 50
SEGMENT = b"\x18\x53\x80\x67"  # RFC 9559, 5.1


@dataclass
class Allowance:
    """What may still be decoded: samples or pixels, packets, and until when (of `monotonic`)."""

    units: int
    packets: int
    seconds: float
    until: float = field(init=False)

    def __post_init__(self) -> None:
        self.until = monotonic() + self.seconds

    @property
    def spent(self) -> bool:
        return self.units <= 0 or self.packets <= 0 or monotonic() > self.until


class Timed:
    """A file that ends once its time is over: a demuxer that looks for anything in it looks no longer."""

    def __init__(self, file: BinaryIO, seconds: float) -> None:
        self._file, self._until = file, monotonic() + seconds
        self.over = False
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self.over = self.over or monotonic() > self._until
        return b"" if self.over else self._file.read(size)


@contextmanager
def opened(path: Path, mime: str, seconds: float) -> Iterator[Any]:
    """The container, to be read from for so long. Whatever FFmpeg raises becomes CorruptImage, but for memory.

    DecodeFailed in place of CorruptImage where the time was over.
    """
    import av
    import av.logging

    av.logging.set_level(None)
    options = {
        "codec_whitelist": ",".join(PICTURES + SOUNDS), "protocol_whitelist": "none",
        "probesize": str(PROBE_BYTES), "analyzeduration": str(PROBE_MICROSECONDS),
    }  # fmt: skip
    with path.open("rb") as file:
        timed = Timed(file, seconds)
        try:
            with av.open(
                timed, format=FORMATS[mime], metadata_errors="replace", io_open=_deny, container_options=options
            ) as container:
                yield container
        except MemoryError:
            raise
        except (av.FFmpegError, CorruptImage):
            if timed.over:
                raise DecodeFailed("Decoding the file takes longer than the service allows.") from None
            raise CorruptImage() from None


def _deny(*_: object) -> None:
    raise PermissionError("a file names another")


def confine(stream: Any, max_pixels: int = 0) -> bool:
    """Readies a stream for decoding; False where its codec is none that is decoded."""
    context = stream.codec_context
    if context is None or context.codec.name not in PICTURES + SOUNDS:
        return False
    context.thread_count, context.thread_type = 1, "NONE"
    if max_pixels:
        context.options = {"max_pixels": str(max_pixels)}
    return True


def frames(container: Any, stream: Any, allowance: Allowance) -> Iterator[Any]:
    """Frames from where the container is, as far as allowed. Broken packets are passed over, up to a number of them."""
    import av

    broken = 0
    for packet in container.demux(stream):
        allowance.packets -= 1
        try:
            yield from packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError:
            broken += 1
        if allowance.spent or broken > BROKEN_PACKETS:
            return


def seconds(container: Any, stream: Any) -> float | None:
    """How long it takes, as the container or the stream says."""
    if container.duration:
        return round(float(container.duration) / 1_000_000, 3)
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base), 3)
    return None


def is_whole(path: Path, stream: Any) -> bool:
    """Whether the file is as long as it says itself, which players and FFmpeg do not mind."""
    length, entries = path.stat().st_size, stream.index_entries
    if len(entries) and entries[-1].pos + entries[-1].size > length:
        return False
    with path.open("rb") as file:
        return _segment_end(file.read(4096)) <= length


def _segment_end(head: bytes) -> int:
    """Where Matroska's Segment is to end; 0 where it does not say, or in another format."""
    at = head.find(SEGMENT) + len(SEGMENT)
    if not head.startswith(b"\x1aE\xdf\xa3") or not len(SEGMENT) < at < len(head) - 8:
        return 0
    width = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + width], "big") & (1 << 7 * width) - 1
    return 0 if width > 8 or size == (1 << 7 * width) - 1 else at + width + size
