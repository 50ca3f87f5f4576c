"""What people say of media, and finding media by it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from starlette.responses import Response

from chipmunk import flows, search, tagging, users, words
from chipmunk.classes import REVIEWS
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, NotFound, Unprocessable
from chipmunk.library import storable
from chipmunk.operations.models import Kind
from chipmunk.operations.tagging import LONGEST_TAG, MOST_TAGS, MediaFields
from chipmunk.search import Filters
from gateway.api.call import Call, following, put
from gateway.api.media import flows_of, named, shown

LONGEST_QUERY, MOST_ALTERNATIVES = 500, 10
MIME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,63}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE)
COLOUR = re.compile(r"#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", re.ASCII | re.IGNORECASE)
EPOCH, FAR = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


async def change_media(call: Call) -> Response:
    """Flows' editors may not: a media is its owner's, whose title and tags every flow of it shows."""
    identifier, body = call.id("media"), call.body
    assert isinstance(body, MediaFields)
    fields = body.model_dump(exclude_unset=True)
    async with call.changing() as connection:
        found = await tagging.change(connection, call.app, identifier, call.key, fields)
        about = {"user": found.owner_id, "media": found.id, "changes": {"fields": sorted(fields)}}
        await call.note(connection, "media.changed", **about)
        return put(shown(call, found, await flows_of(call, connection)))


async def search_media(call: Call) -> Response:
    """As of nothing where a user asks for a user or flow that there is not, or that is not their business."""
    limit, before = call.limit(), call.before_id()
    filters = _filters(call)
    owner, flow = named(call, "user"), named(call, "flow")
    async with call.reading() as connection:
        try:
            filters = await _placed(connection, call.app, filters, owner, flow)
        except NotFound:
            if call.key is None:
                raise
            return put({"items": [], "next": None})
        found = await search.page(connection, call.app, call.key, filters, before=before, limit=limit)
        told = await flows_of(call, connection)
    cursor = None if found.next is None else following("id", found.next.hex)
    return put({"items": [shown(call, one, told) for one in found.media], "next": cursor})


async def _placed(connection: Connection, app: int, filters: Filters, owner: str | None, flow: str | None) -> Filters:
    owner_key = None if owner is None else (await users.get(connection, app, owner)).key
    flow_key = None if flow is None else (await flows.get(connection, app, flow)).key
    return replace(filters, owner=owner_key, flow=flow_key)


def _filters(call: Call) -> Filters:
    text, kind = call.query("q"), call.query("kind")
    if text is not None and len(text) > LONGEST_QUERY:
        raise Unprocessable(f"q has {LONGEST_QUERY} characters at most.", field="q")
    if kind is not None and kind not in get_args(Kind):
        raise BadRequest(f"kind is one of {', '.join(get_args(Kind))}.")
    asked = None if text is None else words.asked(text)
    if asked is not None and len(asked.alternatives) > MOST_ALTERNATIVES:
        raise Unprocessable(f"q has {MOST_ALTERNATIVES} alternatives at most.", field="q")
    return Filters(
        asked=asked,
        tags=_tags(call),
        kind=kind,
        mime=_mime(call),
        after=_moment(call, "after"),
        before=_moment(call, "before"),
        larger=_bytes(call, "larger"),
        smaller=_bytes(call, "smaller"),
        colour=_colour(call),
        review=_review(call),
    )


def _review(call: Call) -> str | None:
    text = call.query("review")
    if text not in (None, *REVIEWS):
        raise Unprocessable(f"review is one of {', '.join(REVIEWS)}.", field="review")
    return text


def _tags(call: Call) -> tuple[str, ...]:
    tags = call.queries("tag")
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise Unprocessable(f"There are {MOST_TAGS} tags at most, of {LONGEST_TAG} characters each.", field="tag")
    if not all(map(storable, tags)):
        raise BadRequest("A tag has no NUL in it.")
    return tuple(dict.fromkeys(tag.strip() for tag in tags))


def _mime(call: Call) -> str | None:
    text = call.query("type")
    if text is not None and not MIME.fullmatch(text.lower()):
        raise BadRequest("type is a MIME type, as image/jpeg.")
    return None if text is None else text.lower()


def _moment(call: Call, name: str) -> datetime | None:
    """RFC 3339, or a date: its beginning in UTC. Earlier than 1970 is as good as 1970."""
    text = call.query(name)
    if text is None:
        return None
    try:
        if not MOMENT.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text.upper())
        return min(max(EPOCH, (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)), FAR)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name} is a time of RFC 3339 or a date, as 2026-01-31.") from None


def _bytes(call: Call, name: str) -> int | None:
    text = call.query(name)
    if text is not None and not re.fullmatch("[0-9]{1,18}", text):
        raise BadRequest(f"{name} is a number of bytes.")
    return None if text is None else int(text)


def _colour(call: Call) -> tuple[int, int, int] | None:
    text = call.query("colour")
    found = None if text is None else COLOUR.fullmatch(text)
    if text is not None and found is None:
        raise BadRequest("colour is red, green and blue in hexadecimal, as #336699.")
    return None if found is None else (int(found[1], 16), int(found[2], 16), int(found[3], 16))
