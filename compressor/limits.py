"""What decoding may cost; handed to each decoding process."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from chipmunk.config import Settings  # what a decoding process has no use for

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # how a disk says that it has no room
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Pixels and frames of one file, bytes of address space of one process, seconds for one task; how rungs are encoded
    and squares cut, whether they say what they were made from, and the certificates (PEM) whose signers are trusted."""

    max_pixels: int
    max_frames: int
    memory_bytes: int
    seconds: int
    qualities: tuple[int, ...]
    efforts: tuple[int, ...]
    rendition_xmp: bool = False
    anchors: str = ""
    crop: str = "centre"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            settings.max_pixels,
            settings.max_frames,
            settings.decode_memory_bytes,
            settings.decode_seconds,
            settings.rung_qualities,
            settings.rung_efforts,
            settings.rendition_xmp,
            Path(settings.c2pa_anchors).read_text() if settings.c2pa_anchors else "",
            settings.crop,
        )


def confine(memory_bytes: int) -> None:
    """Bounds this process: memory, no core files, no files past 100 MB, and an end together with its parent."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000_000, 100_000_000))
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
