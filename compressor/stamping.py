"""The originals of stamps, brought to where a picture is edited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chipmunk.media import Media
from compressor import originals, sniff
from compressor.inbox import disk
from compressor.parts import Parts
from compressor.sniff import Kind

if TYPE_CHECKING:
    from compressor.tasks import Stamps


async def bring(parts: Parts, wanted: Sequence[Media], folder: Path) -> Stamps:
    """Into the folder; raises as `originals.bring` does."""
    found: dict[str, tuple[Path, Kind]] = {}
    for stamp in wanted:
        path = folder / f"stamp-{stamp.id.hex}"
        await originals.bring(parts, stamp, path)
        with disk():
            found[stamp.id.hex] = path, await asyncio.to_thread(sniff.picture, path)
    return found
