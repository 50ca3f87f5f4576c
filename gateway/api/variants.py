"""Addresses of variants; they are made on the write side, when they are first looked at."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import edits, media, stamps, variants
from chipmunk.errors import BadEdits
from chipmunk.operations.editing import VariantFields
from gateway.api.call import Call, put


async def create_variant(call: Call) -> Response:
    identifier, body, settings = call.id("media"), call.body, call.parts.settings
    assert isinstance(body, VariantFields)
    wanted = edits.parse(body.edits)
    async with call.changing() as connection:
        found = await media.owned(connection, call.app, identifier, call.key)
        if found.kind != "image" or found.width is None or found.height is None:
            raise BadEdits("Only a picture can be edited.", media=identifier.hex)
        width, height = edits.sized(wanted, found.width, found.height, settings.max_pixels)
        if width * height > variants.MOST_PIXELS:
            raise BadEdits(f"A variant has {variants.MOST_PIXELS} pixels at most: make it smaller.", field="resize")
        await stamps.needed(connection, wanted, found)
        variant = await variants.put(connection, identifier, body.edits, body.format)
    address = variants.Addresses(settings.secret_keys).sign(identifier, variant)
    url = None if found.token is None else f"/{call.parts.links.sign(found.token)}/v/{address}/"
    return put({"url": url, "edits": body.edits, "format": body.format, "width": width, "height": height}, 201)
