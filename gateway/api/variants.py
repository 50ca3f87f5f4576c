"""Addresses of variants; they are made on the write side, when they are first looked at."""

from __future__ import annotations

import re

from starlette.responses import Response

from chipmunk import edits, media, stamps, variants
from chipmunk.errors import BadEdits, NotFound
from chipmunk.media import Media
from chipmunk.operations.answers import Answer
from chipmunk.operations.editing import VariantFields
from chipmunk.variants import Variant
from gateway.api.call import Call, nothing, put

NUMBER = re.compile("[1-9][0-9]{0,2}")


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
    return put(_told(call, found, variant), 201)


async def list_variants(call: Call) -> Response:
    identifier = call.id("media")
    async with call.reading() as connection:
        found = await media.owned(connection, call.app, identifier, call.key)
        known = await variants.of_media(connection, identifier)
    return put({"items": [_told(call, found, variant) for variant in known], "next": None})


async def delete_variant(call: Call) -> Response:
    identifier, number = call.id("media"), call.request.path_params["number"]
    async with call.changing() as connection:
        await media.owned(connection, call.app, identifier, call.key)
        if not NUMBER.fullmatch(number):
            raise NotFound("There is no such variant.", media=identifier.hex)
        await variants.delete(connection, identifier, int(number))
    return nothing()


def _told(call: Call, found: Media, variant: Variant) -> Answer:
    assert found.width is not None
    assert found.height is not None
    width, height = edits.sized(edits.parse(variant.edits), found.width, found.height, call.parts.settings.max_pixels)
    address = variants.Addresses(call.parts.settings.secret_keys).sign(found.id, variant)
    url = None if found.token is None else f"/{call.parts.links.sign(found.token)}/v/{address}/"
    said = {"number": variant.number, "url": url, "edits": variant.edits, "format": variant.format}
    return {**said, "width": width, "height": height}
