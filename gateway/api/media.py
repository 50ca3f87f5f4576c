"""Media and their links."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from chipmunk import flows, links, media, users
from chipmunk.db import Connection
from chipmunk.errors import NotFound, UnknownUser
from chipmunk.links import Link
from chipmunk.media import Media
from chipmunk.operations.models import LinkFields
from gateway.api.call import Call, listed, nothing, put, when

OWNERS_OWN = ("filename", "total_bytes", "sha256", "job", "reason")


def shown(call: Call, found: Media, seen_flows: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The media as this caller sees it. A mere member is not told what concerns the owner alone, nor of other flows."""
    answer: dict[str, Any] = {
        "id": found.id.hex,
        "owner": found.owner,
        "kind": found.kind,
        "status": found.state,
        "reason": found.reason,
        "mime": found.mime,
        "filename": found.filename,
        "width": found.width,
        "height": found.height,
        "bytes": found.bytes,
        "total_bytes": found.total_bytes,
        "sha256": found.sha256.hex(),
        "placeholder": None if found.placeholder is None else b64encode(found.placeholder).decode(),
        "rungs": found.rungs,
        "tags": found.tags,
        "flows": found.flows,
        "url": None if found.token is None else f"/{call.parts.links.sign(found.token)}/",
        "created_at": when(found.created_at),
        "job": None if found.job_id is None else found.job_id.hex,
    }
    if call.key is None or call.key == found.owner_id:
        return answer
    answer["flows"] = [f for f in found.flows if f in seen_flows]
    return {k: v for k, v in answer.items() if k not in OWNERS_OWN}


async def _seen_flows(call: Call, connection: Connection) -> frozenset[str]:
    return frozenset() if call.key is None else await flows.names_of_member(connection, call.key)


async def get_media(call: Call) -> Response:
    call.need("view")
    async with call.parts.database.connection() as connection:
        found = await media.get(connection, call.app, call.id("media"), call.key)
        return put(shown(call, found, await _seen_flows(call, connection)))


async def list_media(call: Call) -> Response:
    call.need("view")
    owner = flow = None
    async with call.parts.database.connection() as connection:
        if (name := call.query("user")) is not None:
            owner = (await users.get(connection, call.app, name)).key if _may_ask(call, name) else -1
        if (name := call.query("flow")) is not None:
            flow = (await seen_flow(call, connection, name)).key
        return await page(call, connection, owner=owner, flow=flow)


def _may_ask(call: Call, name: str) -> bool:
    """A user who asks for another's media by name gets an empty list, whether or not there is such a user."""
    return call.key is None or call.caller.user == name


async def page(call: Call, connection: Connection, *, owner: int | None = None, flow: int | None = None) -> Response:
    limit = call.limit()
    found = await media.page(
        connection, call.app, call.key, owner=owner, flow=flow, before=call.id_cursor(), limit=limit + 1
    )
    names = await _seen_flows(call, connection)
    last = found[limit - 1].id.hex if len(found) > limit else None
    return listed([shown(call, m, names) for m in found[:limit]], last)


async def seen_flow(call: Call, connection: Connection, name: str) -> flows.Flow:
    """The flow, where the app or one of its members asks; else NotFound."""
    flow = await flows.get(connection, call.app, name)
    if call.key is not None and await flows.role(connection, flow.key, call.key) is None:
        raise NotFound("There is no such flow.", flow=name)
    return flow


def _link(call: Call, link: Link) -> dict[str, Any]:
    return {
        "id": link.id.hex,
        "url": f"/{call.parts.links.sign(link.token)}/",
        "media": link.media_id.hex,
        "audience": f"user:{link.user}" if link.audience == "user" else link.audience,
        "original": link.original,
        "expires_at": when(link.expires_at),
        "created_at": when(link.created_at),
    }


async def post_link(call: Call) -> Response:
    call.need("manage")
    body = await call.body(LinkFields)
    audience, _, name = body.audience.partition(":")
    original = body.original if body.original is not None else audience != "anyone"
    ttl = None if body.ttl_seconds is None else timedelta(seconds=body.ttl_seconds)
    async with call.transaction() as connection:
        owned = call.id("media")
        await media.owned(connection, call.app, owned, call.key)
        user = None
        if audience == "user":
            try:
                user = (await users.get(connection, call.app, name)).key
            except NotFound:
                raise UnknownUser(user=name) from None
        link = await links.create(connection, owned, audience=audience, user=user, original=original, ttl=ttl)
    return put(_link(call, link), 201)


async def list_links(call: Call) -> Response:
    call.need("manage")
    async with call.parts.database.connection() as connection:
        owned = call.id("media")
        await media.owned(connection, call.app, owned, call.key)
        found = await links.of_media(connection, owned)
    return listed([_link(call, link) for link in found], None)


async def delete_link(call: Call) -> Response:
    call.need("manage")
    async with call.transaction() as connection:
        tags = await links.revoke(connection, call.app, call.id("link"), call.key)
    await call.publish(*tags)
    return nothing()


async def delete_links(call: Call) -> Response:
    call.need("manage")
    async with call.transaction() as connection:
        owned = call.id("media")
        await media.owned(connection, call.app, owned, call.key)
        tags = await links.revoke_all(connection, owned)
    await call.publish(*tags)
    return nothing()
