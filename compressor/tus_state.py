"""The state machine of a resumable upload. Pure: rows, requests and the time come in, decisions come out.

    open ──bytes──► open ──the last byte──► ingesting ──► stored
                     │                          ├───────► failed (refused for good: its bytes go)
                     └──quota, too long──► failed└──► ingesting (not now: it is tried again)

A partial upload stays open until a final one is made of it. The offset that is recorded only grows, and never passes what
is on disk for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chipmunk.errors import (
    BadRequest,
    EmptyFile,
    Forbidden,
    OtherOffset,
    Problem,
    TooLarge,
    every_problem,
)
from chipmunk.uploads import LEASE, Concat, Upload
from compressor import ladder
from compressor.tus_headers import Creation, Patch

MIB = 1024 * 1024
WRITE_BYTES = MIB
RECORD_BYTES = 4 * MIB  # a cut costs this much and what waits to be written, at most
RECORD_SECONDS = 5.0
RENEW_SECONDS = LEASE.total_seconds() / 3
STANDARD = ("type", "title", "status", "code", "detail")


def reserved(length: int, concat: Concat | None) -> int:
    """What an upload of `length` bytes takes of the quota: a part of a file has no renditions of its own."""
    return length if concat == "partial" else length + ladder.still_cap(length)


def check_creation(creation: Creation, most_bytes: int) -> None:
    """Refuses at once what would be refused at the end."""
    if creation.length == 0 and creation.concat != "partial":
        raise EmptyFile()
    arriving = 0 if creation.body is None else creation.body.length or 0
    if max(creation.length or 0, arriving) > most_bytes:
        raise TooLarge(limit_bytes=most_bytes)
    if creation.length is not None and arriving > creation.length:
        raise BadRequest("There are more bytes than the Upload-Length says.")


def check_open(upload: Upload) -> None:
    """Refuses bytes for what takes none."""
    if upload.state == "failed":
        raise failure(upload)
    if upload.concat == "final":
        raise Forbidden("A final upload takes no bytes: it has those of its parts.", upload=upload.id.hex)


def failure(upload: Upload) -> Problem:
    """What an upload was refused with, once more."""
    told = upload.problem or {}
    kind = every_problem().get(str(told.get("code")), Problem)
    return kind(str(told.get("detail", "")), **{k: v for k, v in told.items() if k not in STANDARD})


def length_after(upload: Upload, patch: Patch, most_bytes: int) -> int | None:
    """The upload's length once this PATCH has declared what it declares. The upload is held, so its offset stands."""
    check_open(upload)
    if patch.offset != upload.offset:
        raise OtherOffset(upload=upload.id.hex, offset=upload.offset)
    if patch.length is not None:
        if upload.length not in (None, patch.length):
            raise BadRequest("The Upload-Length was said before, and is another.")
        if patch.length < upload.offset:
            raise BadRequest("The Upload-Length is less than what has arrived.")
        if patch.length > most_bytes:
            raise TooLarge(limit_bytes=most_bytes)
        if patch.length == 0 and upload.concat != "partial":
            raise EmptyFile()
    length = upload.length if patch.length is None else patch.length
    if patch.body.length is not None and patch.offset + patch.body.length > (most_bytes if length is None else length):
        raise too_long(length, most_bytes)
    return length


def too_long(length: int | None, most_bytes: int) -> Problem:
    if length is None:
        return TooLarge(limit_bytes=most_bytes)
    return BadRequest("There are more bytes than the Upload-Length says.")


def total(parts: Sequence[Upload], most_bytes: int) -> int:
    """The length of the final upload of these parts."""
    for part in parts:
        if part.concat != "partial":
            raise BadRequest("Only partial uploads make up a final one.", upload=part.id.hex)
        if not part.whole or part.state != "open":
            raise BadRequest("A part is not finished, or was used before.", upload=part.id.hex)
    length = sum(part.offset for part in parts)
    if length == 0:
        raise EmptyFile()
    if length > most_bytes:
        raise TooLarge(limit_bytes=most_bytes)
    return length


@dataclass(frozen=True, slots=True)
class Do:
    """What is to be done now, in this order."""

    write: bool = False
    record: bool = False
    renew: bool = False


@dataclass(slots=True)
class Receiving:
    """A body that arrives: what of it has come, is in the file, and is recorded. All are offsets in the upload.

    Nothing passes `most`. A body with a checksum is `whole_only`: it is recorded whole or not at all. `now` is any clock
    that never goes back, in seconds.
    """

    recorded: int
    most: int
    whole_only: bool
    now: float
    arrived: int = field(init=False)
    written: int = field(init=False)
    _recorded_at: float = field(init=False)
    _renewed_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.arrived = self.written = self.recorded
        self._recorded_at = self._renewed_at = self.now

    def arrives(self, size: int, now: float) -> Do:
        """Some bytes have come. ValueError where they are too many: then nothing more is written of the body."""
        if self.arrived + size > self.most:
            raise ValueError("longer than announced")
        self.arrived += size
        late = now - self._recorded_at >= RECORD_SECONDS and not self.whole_only
        write = self.arrived - self.written >= WRITE_BYTES or late
        due = self.arrived - self.recorded >= RECORD_BYTES and write
        record = (due or late) and not self.whole_only
        return Do(write, record, renew=not record and now - self._renewed_at >= RENEW_SECONDS)

    def ends(self, good: bool) -> Do:
        """No more will come. `good`: all of it came, and the checksum, where there is one, is right."""
        if self.whole_only and not good:
            return Do()
        return Do(write=self.arrived > self.written, record=self.arrived > self.recorded)

    def wrote(self) -> None:
        self.written = self.arrived

    def did_record(self, now: float) -> None:
        self.recorded = self.written
        self._recorded_at = self._renewed_at = now

    def renewed(self, now: float) -> None:
        self._renewed_at = now
