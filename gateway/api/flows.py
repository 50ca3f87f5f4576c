"""Flows, and what is in them."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import flows, media
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, NotFound
from chipmunk.flows import Flow
from chipmunk.operations import answers
from chipmunk.operations.models import FlowFields
from gateway.api.call import Call, listed, nothing, put
from gateway.api.media import page

EDITING = ("editor", "admin")


async def put_flow(call: Call) -> Response:
    name, body = call.name("flow"), call.body
    assert isinstance(body, FlowFields)
    async with call.changing() as connection:
        flow, new = await flows.put(connection, call.app, name, **body.model_dump(exclude_unset=True))
    return put(answers.flow(flow), 201 if new else 200)


async def get_flow(call: Call) -> Response:
    name = call.name("flow")
    async with call.reading() as connection:
        return put(answers.flow(await flows.get(connection, call.app, name)))


async def list_flows(call: Call) -> Response:
    limit, after = call.limit(), call.after_name()
    async with call.reading() as connection:
        found = await flows.page(connection, call.app, after, limit + 1)
    return listed(found, limit, answers.flow, "name", lambda flow: flow.id)


async def delete_flow(call: Call) -> Response:
    name = call.name("flow")
    async with call.changing() as connection:
        await flows.delete(connection, call.app, name)
    return nothing()


async def list_flow_media(call: Call) -> Response:
    name = call.name("flow")
    async with call.reading() as connection:
        flow, role = await entered(call, connection, name)
        if role is None:
            raise unknown(name)
        return await page(call, connection, None, flow.key)


async def put_flow_media(call: Call) -> Response:
    name, identifier = call.name("flow"), call.id("media")
    async with call.changing() as connection:
        flow, role = await entered(call, connection, name)
        if flow.posting != "users" and role not in EDITING:
            raise unknown(name) if role is None else Forbidden("A viewer may not post to this flow.", flow=name)
        await media.owned(connection, call.app, identifier, call.key)
        await flows.put_media(connection, flow, identifier)
    return nothing()


async def delete_flow_media(call: Call) -> Response:
    name, identifier = call.name("flow"), call.id("media")
    async with call.changing() as connection:
        flow, role = await entered(call, connection, name)
        try:
            found = await media.get(connection, call.app, identifier, call.key)
        except NotFound:
            if role is None:
                raise unknown(name) from None
            raise
        if role is None and name not in found.flows:
            raise unknown(name)
        if role not in EDITING and found.owner_id != call.key:
            raise unknown(name) if role is None else Forbidden("A viewer may only take out their own.", flow=name)
        await flows.take_media(connection, flow, identifier)
    return nothing()


async def entered(call: Call, connection: Connection, name: str) -> tuple[Flow, str | None]:
    """The flow and the caller's role in it: the app is as good as an admin, a user who is no member has none."""
    flow = await flows.get(connection, call.app, name)
    return flow, "admin" if call.key is None else await flows.role(connection, flow.key, call.key)


def unknown(name: str) -> NotFound:
    """What `flows.get` says too, so that a flow that is none of the caller's business looks like none at all."""
    return NotFound("There is no such flow.", flow=name)
