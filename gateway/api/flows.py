"""Flows, what is in them, and their members."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from chipmunk import flows, media, users
from chipmunk.db import Connection
from chipmunk.errors import Conflict, Forbidden, NotFound, UnknownFlow, UnknownUser
from chipmunk.flows import Flow
from chipmunk.operations.models import FlowFields, MemberFields
from gateway.api.call import Call, listed, nothing, put, when
from gateway.api.media import page, seen_flow


def shown(flow: Flow) -> dict[str, Any]:
    return {
        "id": flow.id,
        "square": flow.square,
        "visibility": flow.visibility,
        "posting": flow.posting,
        "description": flow.description,
        "created_at": when(flow.created_at),
    }


async def put_flow(call: Call) -> Response:
    call.caller.need_app()
    name, body = call.name("flow"), await call.body(FlowFields)
    async with call.transaction() as connection:
        flow, new = await flows.put(connection, call.app, name, **body.model_dump())
    if not new:
        await call.publish(flow.tag)
    return put(shown(flow), 201 if new else 200)


async def get_flow(call: Call) -> Response:
    call.need("view")
    async with call.parts.database.connection() as connection:
        return put(shown(await seen_flow(call, connection, call.name("flow"))))


async def list_flows(call: Call) -> Response:
    call.caller.need_app()
    limit = call.limit()
    async with call.parts.database.connection() as connection:
        found = await flows.page(connection, call.app, call.name_cursor(), limit + 1)
    return listed([shown(f) for f in found[:limit]], found[limit - 1].id if len(found) > limit else None)


async def delete_flow(call: Call) -> Response:
    call.caller.need_app()
    name = call.name("flow")
    if name == flows.GENERAL:
        raise Conflict("The flow general stays: it is where uploads go that name no flow.", flow=name)
    async with call.transaction() as connection:
        flow = await flows.delete(connection, call.app, name)
    await call.publish(flow.tag)
    return nothing()


async def list_flow_media(call: Call) -> Response:
    call.need("view")
    async with call.parts.database.connection() as connection:
        flow = await seen_flow(call, connection, call.name("flow"))
        return await page(call, connection, flow=flow.key)


async def put_flow_media(call: Call) -> Response:
    """The app, an editor for media that they can see, or anyone their own where the flow is open to users."""
    call.need("manage")
    identifier = call.id("media")
    async with call.transaction() as connection:
        found = await media.get(connection, call.app, identifier, call.key)
        try:
            [flow] = await flows.postable(connection, call.app, [call.name("flow")], call.key)
        except UnknownFlow:
            raise NotFound("There is no such flow.") from None
        if call.key not in (None, found.owner_id):
            raise Forbidden("Only its owner adds a media to a flow.", media=identifier.hex)
        await flows.put_media(connection, flow, identifier)
    await call.publish(f"media:{identifier.hex}")
    return nothing()


async def delete_flow_media(call: Call) -> Response:
    """The app, an editor of the flow, or the media's owner."""
    call.need("manage")
    identifier = call.id("media")
    async with call.transaction() as connection:
        flow = await flows.get(connection, call.app, call.name("flow"))
        if call.key is not None and await flows.role(connection, flow.key, call.key) not in ("editor", "admin"):
            await media.owned(connection, call.app, identifier, call.key)
        await flows.take_media(connection, flow, identifier)
    await call.publish(f"media:{identifier.hex}")
    return nothing()


async def _governed(call: Call, connection: Connection) -> Flow:
    """The flow, where the app or one of its admins asks."""
    flow = await seen_flow(call, connection, call.name("flow"))
    if call.key is not None and await flows.role(connection, flow.key, call.key) != "admin":
        raise Forbidden("Only an admin of the flow may do that.", flow=flow.id)
    return flow


async def list_members(call: Call) -> Response:
    call.need("view")
    limit = call.limit()
    async with call.parts.database.connection() as connection:
        flow = await _governed(call, connection)
        found = await flows.members(connection, flow, call.name_cursor(), limit + 1)
    items = [{"user": user, "role": role} for user, role in found[:limit]]
    return listed(items, found[limit - 1][0] if len(found) > limit else None)


async def put_member(call: Call) -> Response:
    call.need("manage")
    name, body = call.name("user"), await call.body(MemberFields)
    async with call.transaction() as connection:
        flow = await _governed(call, connection)
        try:
            user = await users.get(connection, call.app, name)
        except NotFound:
            raise UnknownUser(user=name) from None
        await flows.put_member(connection, flow, user.key, body.role)
    await call.publish(f"user:{user.key}")
    return put({"user": name, "role": body.role})


async def delete_member(call: Call) -> Response:
    """The app, an admin of the flow, or the member, who may always leave."""
    call.need("manage")
    name = call.name("user")
    async with call.transaction() as connection:
        if call.caller.user == name:
            flow = await seen_flow(call, connection, call.name("flow"))
        else:
            flow = await _governed(call, connection)
        user = await users.get(connection, call.app, name)
        await flows.take_member(connection, flow, user.key)
    await call.publish(f"user:{user.key}")
    return nothing()
