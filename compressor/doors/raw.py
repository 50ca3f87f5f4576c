"""The raw body: `PUT /v1/media?user=&flow=&filename=`, as `curl -T` sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from chipmunk.config import Settings
from compressor import filenames
from compressor.asking import Asking, Fields
from compressor.doors import Arrived, arrive
from compressor.inbox import ORIGINAL, Inbox


async def take(settings: Settings, inbox: Inbox, asking: Asking, body: AsyncIterator[bytes], folder: Path) -> Arrived:
    length = await arrive(inbox, asking, body, folder / ORIGINAL, settings.max_file_bytes)
    _, filename = filenames.disposition(asking.disposition)
    return Arrived(length, Fields(filename=filename))
