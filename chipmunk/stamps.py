"""Stamps: pictures that edits lay over another one of the same owner."""

from __future__ import annotations

from collections.abc import Sequence

from chipmunk import edits, media
from chipmunk.db import Connection
from chipmunk.edits import Edit
from chipmunk.errors import BadEdits, NotFound
from chipmunk.media import Media


async def needed(connection: Connection, wanted: Sequence[Edit], source: Media) -> list[Media]:
    """The stamps that these edits of the source need. NotFound where one is not there, is in the trash, is another's, or is
    held and would be seen in the source by others; BadEdits where it is no picture that stands still."""
    found = []
    for identifier in edits.stamps(wanted):
        stamp = await media.get(connection, source.app_id, identifier, source.owner_id)
        if stamp.owner_id != source.owner_id or stamp.review == "held":
            raise NotFound("There is no such media.", media=identifier.hex)
        if stamp.kind != "image" or stamp.motion:
            raise BadEdits("Only a picture that stands still is a stamp.", media=identifier.hex, field="stamp")
        found.append(stamp)
    return found
