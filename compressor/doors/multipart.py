"""A form: `POST /v1/media` with `file`, `user` and `flow` (repeatable). The file is copied out inside the kernel."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from chipmunk.config import Settings
from chipmunk.errors import BadRequest
from compressor import filenames
from compressor.admission import MULTIPART_OVERHEAD
from compressor.asking import Asking, Fields, of_pairs
from compressor.doors import Arrived, arrive
from compressor.inbox import ORIGINAL, Inbox, disk

CHUNK = 4 * 1024 * 1024
MOST_PARTS = 100
LONGEST_FIELD = 4096
LONGEST_BOUNDARY = 200
UNABLE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


@dataclass
class Part:
    """A part, of `length` bytes from `start` in the body on. Only a field's value is kept."""

    name: str | None = None
    filename: str | None = None
    start: int = 0
    length: int = 0
    value: bytes = b""

    @property
    def is_file(self) -> bool:
        return self.name == "file"


async def take(settings: Settings, inbox: Inbox, asking: Asking, body: AsyncIterator[bytes], folder: Path) -> Arrived:
    whole = folder / "body"
    await arrive(inbox, asking, body, whole, settings.max_file_bytes + MULTIPART_OVERHEAD)
    return await asyncio.to_thread(_unpack, whole, boundary(asking.content_type), folder / ORIGINAL)


def _unpack(whole: Path, mark: bytes, target: Path) -> Arrived:
    with disk():
        parts = find_parts(whole, mark)
        files = [p for p in parts if p.is_file]
        if len(files) != 1:
            raise BadRequest("The form has one part that is called file, no more and no less.")
        copy(whole, target, files[0].start, files[0].length)
        whole.unlink()
    fields = of_pairs([(p.name or "", _text(p)) for p in parts if not p.is_file])
    return Arrived(files[0].length, Fields(fields.user, fields.flows, fields.filename or files[0].filename))


def _text(part: Part) -> str:
    try:
        return part.value.decode()
    except UnicodeDecodeError:
        raise BadRequest("A field of the form is not UTF-8.") from None


def boundary(content_type: str) -> bytes:
    """What stands between the parts, or BadRequest."""
    _, options = parse_options_header(content_type)
    mark = options.get(b"boundary", b"")
    if not 0 < len(mark) <= LONGEST_BOUNDARY:
        raise BadRequest("The form has no boundary.")
    return mark


def find_parts(path: Path, mark: bytes, chunk_bytes: int = CHUNK) -> list[Part]:
    """The parts of a form in a file: where each lies, and the values of those that are no file."""
    reading = _Reading(mark)
    try:
        with path.open("rb") as file:
            while chunk := file.read(chunk_bytes):
                reading.feed(chunk)
    except MultipartParseError:
        raise BadRequest("The form is malformed.") from None
    if not reading.ended:
        raise BadRequest("The form ends early.")
    return reading.parts


class _Reading:
    """Follows the parser and notes positions. Bytes that it held back come from a buffer of its own: those lie just
    before the chunk that is being read."""

    def __init__(self, mark: bytes) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._base, self._chunk = 0, b""
        self._header, self._value = b"", b""
        self._parser = MultipartParser(
            mark,
            {
                "on_part_begin": self._begin,
                "on_header_begin": self._header_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        self._chunk = chunk
        self._parser.write(chunk)
        self._base += len(chunk)

    def _begin(self) -> None:
        if len(self.parts) == MOST_PARTS:
            raise BadRequest("The form has too many parts.")
        self.parts.append(Part())

    def _header_begin(self) -> None:
        self._header = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self.parts[-1].name, self.parts[-1].filename = filenames.disposition(self._value)

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if part.length == 0:
            part.start = self._base + start if data is self._chunk else self._base - (end - start)
        part.length += end - start
        if part.is_file:
            return
        if part.length > LONGEST_FIELD:
            raise BadRequest("A field of the form is too long.")
        part.value += data[start:end]

    def _end(self) -> None:
        self.ended = True


def copy(source: Path, target: Path, start: int, length: int) -> None:
    """Copies a stretch of a file to a new one, inside the kernel; sendfile where copy_file_range is not to be had."""
    with source.open("rb", 0) as reading, target.open("xb", 0) as writing:
        source_number, target_number = reading.fileno(), writing.fileno()
        in_kernel = True
        while length > 0:
            try:
                if in_kernel:
                    done = os.copy_file_range(source_number, target_number, length, start)
                else:
                    done = os.sendfile(target_number, source_number, start, length)
            except OSError as e:
                if not in_kernel or e.errno not in UNABLE:
                    raise
                in_kernel = False
                continue
            if done == 0:
                raise OSError(errno.EIO, "the body became shorter")
            start, length = start + done, length - done
