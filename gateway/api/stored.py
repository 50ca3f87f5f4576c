"""Views of media that lie elsewhere: what nginx, which has asked the authorizer already, sends on to the viewer.

A rung comes whole, for nginx to keep; an original with the ranges and conditions that the viewer asked for, a stretch at a
time. What lies on the local volume is nginx's to send; what it does not find there it asks for `again`, to be given from
wherever it is. nginx alone gets here: it has no way in for `/-/`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import structlog

from chipmunk import ids, reading, renditions
from chipmunk.asgi import Receive, Scope, Send, headers
from chipmunk.copies import Stored
from chipmunk.errors import NotFound, Problem, Unavailable
from chipmunk.reading import ORIGINAL, Readable
from gateway.api.call import Parts
from gateway.api.conditions import File, Unsatisfiable, refusal, wanted
from gateway.api.fetching import STRETCH, OnLocalVolume, Reader
from gateway.questions import MIME

ROUTE = "/-/stored/{media:path}"
PATH = re.compile(rb"/-/stored/([0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f]{32}))/([0-6]|1[1-9]|2[01])(/again)?")
KEPT_SECONDS = 7 * 24 * 60 * 60
MOST_AT_ONCE = 200  # originals under way, each with a stretch in memory
log = structlog.get_logger()
Fields = dict[str, str]
RANGES, EMPTY = {"accept-ranges": "bytes"}, {"content-length": "0"}


class StoredViews:
    """An ASGI app."""

    def __init__(self) -> None:
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: Parts = scope["app"].state.parts
        asked = PATH.fullmatch(scope["raw_path"])
        if asked is None or scope["method"] not in ("GET", "HEAD"):
            raise NotFound()
        media, quality = UUID(hex=asked[2].decode()), int(asked[3])
        async with parts.database.connection() as connection:
            found = await reading.find(connection, media)
        file = None if found is None else found.file(quality)
        if found is None or file is None or ids.folder(media).encode() != asked[1]:
            raise NotFound()
        view = View(parts, found, file, quality, again=asked[4] is not None)
        try:
            if quality:
                await view.rung(scope, send)
                return
            if self._under_way >= MOST_AT_ONCE:
                raise Unavailable()
            self._under_way += 1
            try:
                await view.original(scope, receive, send)
            finally:
                self._under_way -= 1
        except OnLocalVolume:
            await view.from_disk(send)


class View:
    """The answer to one view."""

    def __init__(self, parts: Parts, found: Readable, file: str, quality: int, *, again: bool) -> None:
        self._database = parts.database
        self._found, self._file, self._again = found, file, again
        self._reader = Reader(parts.stores, found, file)
        self._stands_in = file not in (ORIGINAL, renditions.file(quality))
        mime = found.mime if MIME.fullmatch(found.mime) else "application/octet-stream"
        self._type = {"content-type": renditions.mime(quality) if quality else mime}

    @property
    def _fresh(self) -> Fields:
        return {"cache-control": "no-store"} if self._stands_in else {}

    def _stored(self) -> Stored:
        stored = self._found.stored(self._file)
        if stored is None:
            raise Unavailable() if self._again else OnLocalVolume
        return stored

    async def from_disk(self, send: Send) -> None:
        path = f"/-/local/{ids.folder(self._found.id)}/{self._file}"
        await _begin(send, 200, {**self._type, **self._fresh, **EMPTY, "x-accel-redirect": path})
        await _end(send)

    async def rung(self, scope: Scope, send: Send) -> None:
        """All of it: conditions and ranges are nginx's to see to."""
        stored = self._stored()
        data = await self._reader.read(0, stored.bytes, begun=self._again)
        async with self._database.connection() as connection:
            if not await reading.is_live(connection, self._found.id):
                raise NotFound()  # nothing may come to be kept by nginx after it has been told to forget
        kept = {"x-accel-expires": "0"} if self._stands_in else {"x-accel-expires": str(KEPT_SECONDS), **RANGES}
        length = {"content-length": str(len(data))}
        await _begin(
            send, 200, {**self._type, **self._fresh, **_validators(_file(self._found, stored)), **length, **kept}
        )
        await _end(send, b"" if scope["method"] == "HEAD" else data)

    async def original(self, scope: Scope, receive: Receive, send: Send) -> None:
        stored = self._stored()
        file, asked = _file(self._found, stored), headers(scope)
        if (status := refusal(asked, file)) is not None:
            await _begin(send, status, _validators(file) if status == HTTPStatus.NOT_MODIFIED else EMPTY)
            return await _end(send)
        try:
            part = wanted(asked, file)
        except Unsatisfiable:
            await _begin(send, 416, {"content-range": f"bytes */{file.length}", **EMPTY})
            return await _end(send)
        start, end = part or (0, file.length)
        stretch = {"content-range": f"bytes {start}-{end - 1}/{file.length}"} if part else RANGES
        fields = {**self._type, **_validators(file), **stretch, "content-length": str(end - start)}
        status = 206 if part else 200
        if scope["method"] == "HEAD" or start == end:
            await _begin(send, status, fields)
            return await _end(send)
        first = await self._reader.read(start, min(start + STRETCH, end), begun=self._again)
        await _begin(send, status, fields)
        await self._stream(first, start, end, None if part else stored, receive, send)

    async def _stream(self, data: bytes, at: int, end: int, whole: Stored | None, receive: Receive, send: Send) -> None:
        """Sends from `at` on. Where it cannot go on it ends too soon, which cuts the connection.

        `whole`: what all of it has to be; the last stretch is not sent where it was not.
        """
        leaving, digest = asyncio.ensure_future(_leaves(receive)), hashlib.sha256()
        try:
            while not leaving.done():
                at += len(data)
                digest.update(data if whole else b"")
                if at == end and whole and digest.hexdigest() != whole.sha256:
                    log.error("an original is not as it was stored", media=self._found.id.hex)
                    return
                await send({"type": "http.response.body", "body": data, "more_body": at < end})
                if at == end:
                    return
                data = await self._reader.read(at, min(at + STRETCH, end), begun=True)
        except Problem as e:
            log.warning("an original was cut off", media=self._found.id.hex, why=e.code)
        finally:
            leaving.cancel()


def _file(found: Readable, stored: Stored) -> File:
    """A media's id begins with when it was made, and no file of it is ever written over."""
    made = datetime.fromtimestamp((found.id.int >> 80) // 1000, UTC)
    return File(stored.bytes, f'"{stored.sha256[:32]}"', made)


def _validators(file: File) -> Fields:
    return {"etag": file.tag, "last-modified": file.date}


async def _leaves(receive: Receive) -> None:
    """Until who asked has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _begin(send: Send, status: int, fields: Fields) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _end(send: Send, body: bytes = b"") -> None:
    await send({"type": "http.response.body", "body": body})
