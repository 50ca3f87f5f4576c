"""Media as they are looked at; uploading and deleting them is the write side's."""

from __future__ import annotations

from collections.abc import Set
from datetime import timedelta

from starlette.responses import Response

from chipmunk import audit, backends, copies, flows, ids, listing, media, trash, users
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, NotFound
from chipmunk.media import Media
from chipmunk.operations import answers
from chipmunk.operations.answers import Answer
from gateway.api.call import Call, listed, put


async def get_media(call: Call) -> Response:
    identifier = call.id("media")
    async with call.reading() as connection:
        found = await media.kept(connection, call.app, identifier, call.key)
        answer = shown(call, found, await flows_of(call, connection))
        if call.key in (None, found.owner_id):
            known = {b.key: b for b in await backends.every(connection)}
            answer |= answers.stored(await copies.of_media(connection, identifier), known)
    return put(answer)


async def list_media(call: Call) -> Response:
    """The app hears of an unknown user or flow; a user gets what they may see of it, which may be nothing."""
    owner, flow, trashed = named(call, "user"), named(call, "flow"), call.flag("trashed")
    if trashed and flow is not None:
        raise BadRequest("The trash is paged by user, not by flow.")
    async with call.reading() as connection:
        try:
            owner_key = None if owner is None else (await users.get(connection, call.app, owner)).key
            flow_key = None if flow is None else (await flows.get(connection, call.app, flow)).key
        except NotFound:
            if call.key is None:
                raise
            return put({"items": [], "next": None})
        if trashed:
            return await trash_page(call, connection, owner_key)
        return await page(call, connection, owner_key, flow_key)


def named(call: Call, what: str) -> str | None:
    text = call.query(what)
    return None if text is None else ids.name(text, what)


async def page(call: Call, connection: Connection, owner: int | None, flow: int | None) -> Response:
    """A page of what the caller may see, of an owner or in a flow where given."""
    limit, before = call.limit(), call.before_id()
    found = await listing.page(connection, call.app, call.key, owner=owner, flow=flow, before=before, limit=limit + 1)
    told = await flows_of(call, connection)
    return listed(found, limit, lambda m: shown(call, m, told), "id", lambda m: m.id.hex)


async def trash_page(call: Call, connection: Connection, owner: int | None) -> Response:
    """A page of the trash: the app's, or the calling user's own."""
    limit, before = call.limit(), call.before_id()
    if call.key is not None and owner not in (None, call.key):
        return put({"items": [], "next": None})
    found = await trash.page(connection, call.app, call.key or owner, before, limit + 1)
    return listed(found, limit, lambda m: answers.media(m, call.parts.links), "id", lambda m: m.id.hex)


async def trash_media(call: Call) -> Response:
    identifier, life = call.id("media"), timedelta(seconds=call.parts.settings.trash_seconds)
    async with call.changing() as connection:
        found = await trash.put(connection, call.app, identifier, call.key, life, audit.by(call.known))
    return put(answers.media(found, call.parts.links))


async def restore_media(call: Call) -> Response:
    identifier = call.id("media")
    async with call.changing() as connection:
        found = await trash.restore(connection, call.app, identifier, call.key, audit.by(call.known))
    return put(answers.media(found, call.parts.links))


async def flows_of(call: Call, connection: Connection) -> frozenset[str]:
    """The names of the flows that the calling user is a member of."""
    return frozenset() if call.key is None else await flows.names_of_member(connection, call.key)


def shown(call: Call, found: Media, told: Set[str]) -> Answer:
    """The media as this caller may see it, who is a member of the flows `told`."""
    if call.key in (None, found.owner_id):
        return answers.media(found, call.parts.links)
    return answers.shared_media(found, call.parts.links, told)
