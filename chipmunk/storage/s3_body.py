"""What is sent: a file, or a stretch of one, read from disk as it goes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1024 * 1024


class Stretch(io.RawIOBase):
    """The bytes of a file from `start` on, `length` of them, as a file."""

    def __init__(self, path: Path, start: int, length: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start, self._length, self._at = start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._length - self._at, 0)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left)) or b""
        self._at += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(slots=True)
class Body:
    """A stretch of a file, opened anew for each try."""

    path: Path
    start: int
    length: int
    _digest: str = ""

    async def digest(self) -> str:
        """The MD5, which the server compares with what arrived, as Content-MD5 has it. Read once."""
        if not self._digest:
            self._digest = await asyncio.to_thread(self._compute)
        return self._digest

    def _compute(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        with self.stream() as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        return b64encode(digest.digest()).decode()

    def stream(self) -> Stretch:
        return Stretch(self.path, self.start, self.length)
