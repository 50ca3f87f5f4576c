"""Media that look like another."""

from __future__ import annotations

import re

from starlette.responses import Response

from chipmunk import media, sameness
from chipmunk.errors import BadRequest
from chipmunk.operations import answers
from gateway.api.call import Call, put


async def similar_media(call: Call) -> Response:
    """A user's among their own, so that nobody finds out by pictures what others have; the app's backend's among all."""
    identifier, limit, distance = call.id("media"), call.limit(), _distance(call)
    async with call.reading() as connection:
        await media.owned(connection, call.app, identifier, call.key)
        found = await sameness.similar(connection, call.app, call.key, identifier, distance=distance, limit=limit)
    items = [{"distance": one.distance, "media": answers.media(one.media, call.parts.links)} for one in found]
    return put({"items": items, "next": None})


def _distance(call: Call) -> int:
    text = call.query("distance") or str(sameness.USUAL)
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) > sameness.FARTHEST:
        raise BadRequest(f"distance is a number from 0 to {sameness.FARTHEST}.")
    return int(text)
