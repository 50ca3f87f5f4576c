"""Variants, for nginx alone, which has asked the authorizer already: which one an address means, and the making of it.

nginx keeps what is made here, under a name that the authorizers find by the media and the variant's number.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chipmunk import edits, ids, media, reading, stamps, variants
from chipmunk.errors import NotFound, Unavailable
from chipmunk.variants import Addresses, Variant
from compressor import originals, sniff, stamping
from compressor.inbox import disk
from compressor.parts import Parts

FOLDER = r"[0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f]{32})"
ASKED = re.compile(rf"/-/variant/({FOLDER})/(.+)")
NAMED = re.compile(rf"/-/made/({FOLDER})/v([1-9][0-9]{{0,2}})\.([a-z]+)")
MOST_WAITING = 256  # or being made
KEPT_SECONDS = 7 * 24 * 60 * 60
STAMPED_SECONDS = 10 * 60  # where another media is in it: nobody tells nginx when that one goes
QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def chosen(accept: str) -> str:
    """The format that such an Accept asks for: AVIF where it is named, else WebP unless it may not be and JPEG may."""
    told: dict[str, float] = {}
    for one in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in one.split(";"))
        weights = [float(found[1]) for p in parameters if (found := QUALITY.fullmatch(p))]
        told[kind] = weights[0] if weights else 1.0

    def weight(format: str) -> float:
        return next((told[k] for k in (f"image/{format}", "image/*", "*/*") if k in told), 0.0)

    if told.get("image/avif", 0.0) > 0 and told["image/avif"] >= max(weight("webp"), weight("jpeg")):
        return "avif"
    return "jpeg" if weight("jpeg") > weight("webp") else "webp"


async def named(request: Request) -> Response:
    """Sends nginx on to the name that it keeps the variant under; NotFound unless the address was signed for this media."""
    parts, asked = _parts(request), ASKED.fullmatch(request.scope["path"])
    identifier = None if asked is None else UUID(hex=asked[2])
    if asked is None or identifier is None or ids.folder(identifier) != asked[1]:
        raise NotFound()
    variant = Addresses(parts.settings.secret_keys).open(identifier, asked[3])
    if variant is None:
        raise NotFound()
    format = chosen(request.headers.get("accept", "")) if variant.format == variants.AUTO else variant.format
    return Response(headers={"x-accel-redirect": f"/-/variant/{asked[1]}/v{variant.number}.{format}"})


async def made(request: Request) -> Response:
    """The whole of it; conditions and ranges are nginx's to see to."""
    parts, asked = _parts(request), NAMED.fullmatch(request.scope["path"])
    identifier = None if asked is None else UUID(hex=asked[2])
    if asked is None or identifier is None or ids.folder(identifier) != asked[1]:
        raise NotFound()
    format = asked[4]
    async with parts.database.connection() as connection:
        variant = await variants.find(connection, identifier, int(asked[3]))
    if variant is None or not variant.takes(format):
        raise NotFound()
    data = await _once(parts, identifier, variant, format)
    stamped = edits.stamps(edits.parse(variant.edits))
    async with parts.database.connection() as connection:
        there = await variants.find(connection, identifier, variant.number) is not None
        if not there or not all([await reading.is_live(connection, one) for one in (identifier, *stamped)]):
            raise NotFound()  # nothing may come to be kept by nginx after it has been told to forget
    begun = datetime.fromtimestamp((identifier.int >> 80) // 1000, UTC)  # its bytes are the same whenever they are made
    headers = {
        "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "last-modified": format_datetime(begun, usegmt=True),
        "accept-ranges": "bytes",
        "x-accel-expires": str(STAMPED_SECONDS if stamped else KEPT_SECONDS),
    }
    return Response(data, media_type=f"image/{format}", headers=headers)


async def _once(parts: Parts, identifier: UUID, variant: Variant, format: str) -> bytes:
    """It is made once for all who ask for it meanwhile, also where the first of them has gone."""
    key = (identifier, variant.number, format)
    task = parts.making.get(key)
    if task is None:
        if len(parts.making) >= MOST_WAITING:
            raise Unavailable()
        task = parts.making[key] = asyncio.create_task(_made(parts, identifier, variant, format))

        def done(ended: asyncio.Task[bytes]) -> None:
            del parts.making[key]
            _ = ended.cancelled() or ended.exception()

        task.add_done_callback(done)
    return await asyncio.shield(task)


async def _made(parts: Parts, identifier: UUID, variant: Variant, format: str) -> bytes:
    async with parts.database.connection() as connection:
        found = await media.find(connection, identifier)
        if found is None:
            raise NotFound()
        needed = await stamps.needed(connection, edits.parse(variant.edits), found)
    async with parts.making_at_once, parts.inbox.folder() as folder:
        original, out = folder / "source", folder / "variant"
        await originals.bring(parts, found, original)
        brought = await stamping.bring(parts, needed, folder)
        with disk():
            kind = await asyncio.to_thread(sniff.picture, original)
            await parts.decoders.edit(original, kind, out, variant.edits, format, brought)
            return await asyncio.to_thread(out.read_bytes)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


ROUTES = [Route("/-/variant/{address:path}", named), Route("/-/made/{name:path}", made)]
