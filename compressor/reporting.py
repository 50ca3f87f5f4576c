"""Colours that browsers say images have. What is kept is what we find ourselves; what they say shows where to look."""

from __future__ import annotations

from collections import defaultdict
from secrets import SystemRandom
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chipmunk import asgi, bodies, colours, ids, metrics, reports, sameness
from chipmunk.credentials import Caller
from chipmunk.errors import BadRequest, Problem, RateLimited
from chipmunk.operations.gloflow import BrowserResult, BrowserResults
from compressor.admission import recognized
from compressor.parts import Parts

MOST_LOOKS = 4  # at renditions, in one call
RUNG = 3
Said = dict[tuple[str, UUID], BrowserResult]


async def browser_results(request: Request) -> Response:
    """Answers the same whatever becomes of them, unless nobody of who sent them is listened to."""
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    caller = await recognized(parts, request, "view")
    try:
        body = await bodies.read(request.stream(), headers, BrowserResults)
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None
    said = await _listened_to(parts, caller, body.jr)
    await _checked(parts, caller, said)
    return JSONResponse({}, headers={"cache-control": "no-store"})


async def _listened_to(parts: Parts, caller: Caller, results: list[BrowserResult]) -> Said:
    """What each client says of each image, the last time. RateLimited where all of them are cut off."""
    by = [(reports.client(caller, one.f), ids.parse_id(one.i), one) for one in results]
    clients = dict.fromkeys(client for client, _, _ in by)
    ignored = await reports.cut_off(parts.redis, clients)
    metrics.BROWSER_RESULTS.labels("ignored").inc(sum(client in ignored for client, _, _ in by))
    if clients and len(ignored) == len(clients):
        seconds = min(ignored.values())
        raise RateLimited("Too much of what this client sent was not so.", retry_after=seconds)
    return {(client, image): one for client, image, one in by if client not in ignored and image is not None}


async def _checked(parts: Parts, caller: Caller, said: Said) -> None:
    images = list({image for _, image in said})
    async with parts.database.connection() as connection:
        ours = await reports.palettes(connection, caller.app_id, caller.user_id, images)
    unknown = [image for image, palette in ours.items() if palette is None]
    for image in SystemRandom().sample(unknown, min(MOST_LOOKS, len(unknown))):
        ours[image] = await _looked_at(parts, image)
    agreed: dict[str, list[bool]] = defaultdict(list)
    for (client, image), one in said.items():
        palette = ours.get(image)
        if not palette:
            metrics.BROWSER_RESULTS.labels("unchecked").inc()
            continue
        fits = reports.agrees(palette, _colour(one.c), [_colour(text) for text in one.p])
        metrics.BROWSER_RESULTS.labels("agreed" if fits else "differed").inc()
        agreed[client].append(fits)
    await reports.count(parts.redis, agreed)


def _colour(text: str) -> int:
    found = colours.read(text)
    assert found is not None
    return found


async def _looked_at(parts: Parts, image: UUID) -> list[int] | None:
    """The colours of a media that was stored before they were looked for, kept from now on; None where its rung is not here."""
    rung = parts.store.path(ids.folder(image)) / f"{RUNG}.webp"
    try:
        palette, phash = await parts.decoders.look(rung)
    except (OSError, Problem):
        return None
    async with parts.database.transaction() as connection:
        await sameness.keep(connection, image, palette, phash)
    return palette


ROUTES = [Route("/v1/images/c", browser_results, methods=["POST"])]
