"""What an upload is answered; with `Prefer: wait`, once the ladder is done."""

from __future__ import annotations

import asyncio
from uuid import UUID

from starlette.responses import JSONResponse, Response

from chipmunk import media
from chipmunk.errors import NotFound
from chipmunk.media import Media
from chipmunk.operations import answers
from compressor.asking import Asking
from compressor.ingest import Stored
from compressor.parts import Parts

POLL_SECONDS = (0.05, 0.1, 0.2, 0.4)


async def created(parts: Parts, asked: Asking, app: int, stored: Stored) -> Response:
    answer, identifier = stored.answer, UUID(hex=stored.answer["id"])
    headers = {"location": f"/v1/media/{identifier.hex}", "cache-control": "no-store"}
    if stored.replayed:
        headers["idempotent-replayed"] = "true"
    if asked.wait is not None:
        found = await climbed(parts, app, identifier, asked.wait)
        answer = answer if found is None else answers.media(found, parts.links)
        headers["preference-applied"] = "wait"
    return JSONResponse(answer, 201, headers)


async def climbed(parts: Parts, app: int, identifier: UUID, seconds: float) -> Media | None:
    """The media once it is no longer processing, or as it is when the time is up; None where it is gone."""
    clock = asyncio.get_running_loop().time
    deadline, pauses = clock() + seconds, iter(POLL_SECONDS)
    while True:
        try:
            async with parts.database.connection() as connection:
                found = await media.get(connection, app, identifier, None)
        except NotFound:
            return None
        left = deadline - clock()
        if found.state != "processing" or left <= 0:
            return found
        await asyncio.sleep(min(left, next(pauses, POLL_SECONDS[-1])))
