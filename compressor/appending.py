"""Bytes of a resumable upload on their way from a request to the disk: in batches, off the event loop, and recorded at
least every few megabytes, so that a cut costs no more than these."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from starlette.requests import ClientDisconnect

from chipmunk import metrics, quotas
from chipmunk.errors import BadRequest, ChecksumMismatch, EmptyFile, Unavailable
from compressor import tus_headers, tus_state
from compressor.leases import Lease
from compressor.part_files import PartFile
from compressor.parts import Parts
from compressor.tus_headers import Body
from compressor.tus_state import Do, Receiving

CUT = (ClientDisconnect, asyncio.CancelledError)


async def receive(parts: Parts, lease: Lease, body: Body, chunks: AsyncIterator[bytes]) -> None:
    """Appends a body to the upload. What has come of one that is cut is recorded, but for one with a checksum."""
    upload = lease.upload
    most = parts.settings.max_file_bytes if upload.length is None else upload.length
    appending = _Appending(parts, lease, body, most)
    try:
        await lease.surely(appending.file.open, upload.offset)
        try:
            async for chunk in chunks:
                await appending.add(chunk)
        except CUT:
            await asyncio.shield(appending.end(good=False))
            raise
        if not appending.good:
            raise ChecksumMismatch(upload=upload.id.hex)
        await appending.end(good=True)
        await _complete(lease, body)
    finally:
        await asyncio.shield(asyncio.to_thread(appending.file.close))
        metrics.UPLOAD_BYTES.labels("tus").inc(lease.upload.offset - upload.offset)


async def _complete(lease: Lease, body: Body) -> None:
    """Where the body was the last, what has come is all. BadRequest where more was announced: it can still come."""
    upload = lease.upload
    if not body.last or upload.whole:
        return
    if upload.length is not None:
        raise BadRequest("The upload was to end with this request, and has bytes missing.", offset=upload.offset)
    if upload.offset == 0:
        raise EmptyFile()
    await lease.declare(upload.offset)


class _Appending:
    def __init__(self, parts: Parts, lease: Lease, body: Body, most: int) -> None:
        self.file = PartFile(parts.part_files.folder(lease.upload.id), lease.fresh)
        self._parts = parts
        self._lease = lease
        self._most = most
        self._checksum = body.checksum
        self._hash = None if body.checksum is None else tus_headers.hashing(body.checksum)
        self._state = Receiving(lease.upload.offset, most, body.checksum is not None, monotonic())
        self._waiting = bytearray()

    @property
    def good(self) -> bool:
        """Whether what came is what the checksum says."""
        if self._hash is None or self._checksum is None:
            return True
        digest = self._hash.copy()
        digest.update(self._waiting)
        return digest.digest() == self._checksum.digest

    async def add(self, chunk: bytes) -> None:
        if not chunk:
            return
        try:
            do = self._state.arrives(len(chunk), monotonic())
        except ValueError:
            raise tus_state.too_long(self._lease.upload.length, self._most) from None
        self._waiting += chunk
        await self._do(do)

    async def end(self, good: bool) -> None:
        await self._do(self._state.ends(good))

    async def _do(self, do: Do) -> None:
        if do.write:
            await self._grow()
            await self._lease.surely(self._write, bytes(self._waiting), do.record)
            self._waiting.clear()
            self._state.wrote()
        elif do.record:
            await self._lease.surely(self.file.sync)
        if do.record:
            await self._lease.record(self._state.written)
            self._state.did_record(monotonic())
        elif do.renew:
            await self._lease.renew()
            self._state.renewed(monotonic())

    def _write(self, data: bytes, sync: bool) -> None:
        self.file.write(data, self._state.written)
        if self._hash is not None:
            self._hash.update(data)
        if sync:
            self.file.sync()

    async def _grow(self) -> None:
        """Of an upload whose length is not known the quota is reserved as it grows."""
        upload = self._lease.upload
        if upload.length is None:
            size = tus_state.reserved(self._state.arrived, upload.concat)
            if not await quotas.resize(self._parts.database, upload.id, size, shrink=False):
                raise Unavailable("The upload lost its place in the quota; begin it again.")
