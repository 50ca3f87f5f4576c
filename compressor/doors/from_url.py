"""A file that is fetched: the `url` of a JSON body, and that of a job.

Its place and its key are held before anything is fetched, and the place grows with what comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic

from chipmunk import quotas
from chipmunk.errors import Unavailable
from compressor import filenames, ladder, sniff
from compressor.admission import room
from compressor.holding import Hold, Place, holding
from compressor.ingest import Stored, Upload, ingest
from compressor.parts import Parts

TELL_SECONDS = 1.0
LEAST = 1 + ladder.still_cap(1)  # what the smallest file takes of a quota

# How many bytes are here, and of how many where that is known, once a second; what it raises ends the fetch.
Tell = Callable[[int, int | None], Awaitable[None]]


async def take(parts: Parts, upload: Upload, url: str, tell: Tell | None = None) -> tuple[Upload, Stored]:
    """Fetches the file into the upload's folder and stores it. Under its key it is the same by its URL: what has its
    answer is not fetched again."""
    parts.fetcher.check(url)
    fingerprint = _fingerprint(upload, url)
    place = Place(upload.user, 1, LEAST, upload.ticket, upload.held)
    async with holding(parts, place, upload.key, fingerprint) as hold:
        if hold.answer is not None:
            return upload, Stored(hold.answer, replayed=True)
        fetched = await parts.fetcher.fetch(url, upload.original, Intake(parts, upload, hold, tell))
        if tell is not None:
            await tell(fetched.length, fetched.length)
        whole = replace(
            upload,
            length=fetched.length,
            filename=upload.filename or filenames.clean(fetched.filename),
            ticket=hold.media,
            held=None,
            fingerprint=fingerprint,
            origin=upload.origin or {"url": url, "page": None},
        )
        return whole, await ingest(parts, whole)


def _fingerprint(upload: Upload, url: str) -> bytes:
    """What makes it the same under an Idempotency-Key: its URL, its name and its flows."""
    return hashlib.sha256(
        "\0".join(["url", url, upload.filename or "", *(f.id for f in upload.flows)]).encode()
    ).digest()


class Intake:
    """What is fetched passes by here: its type, its room on the disk and in the quota, and how far it has come."""

    def __init__(self, parts: Parts, upload: Upload, hold: Hold, tell: Tell | None) -> None:
        self.most = parts.settings.max_file_bytes
        self._parts = parts
        self._upload = upload
        self._hold = hold
        self._tell = tell
        self._told = monotonic()

    def look(self, head: bytes, filename: str | None) -> None:
        sniff.recognised(head, self._upload.filename or filename, self._parts.settings.allowed_types)

    async def room(self, length: int) -> None:
        """Reserves for so many bytes; Unavailable where the place was lost, as when nginx says that nobody waits."""
        room(self._parts, length)
        async with self._parts.database.connection() as connection:
            held = await quotas.renew(connection, self._upload.user, self._hold.media)
        if held is None:
            raise Unavailable("The upload lost its place; send it again.")
        size = length + ladder.still_cap(length)
        if held < size:
            await quotas.resize(self._parts.database, self._hold.media, size)

    async def came(self, done: int, total: int | None) -> None:
        if self._tell is not None and monotonic() - self._told >= TELL_SECONDS:
            self._told = monotonic()
            await self._tell(done, total)
