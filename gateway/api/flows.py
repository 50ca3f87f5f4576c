"""Flows, and what is in them."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import backends, classes, flows, jobs, media
from chipmunk.backends import Placed
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, NotFound, NotInstalled
from chipmunk.flows import Flow
from chipmunk.operations import answers
from chipmunk.operations.models import FlowFields
from chipmunk.pinning import need_free
from gateway.api.call import Call, listed, nothing, put
from gateway.api.media import page

EDITING = ("editor", "admin")


async def put_flow(call: Call) -> Response:
    name, body = call.name("flow"), call.body
    assert isinstance(body, FlowFields)
    fields, placing = body.model_dump(exclude_unset=True, exclude={"backends"}), "backends" in body.model_fields_set
    if fields.get("unsafe", "allow") != "allow" and not call.parts.settings.tells_unsafe:
        raise NotInstalled("No model is set that tells unsafe media, and no plug-in does.", flow=name)
    if placing:
        need_free(call.parts.settings)
    async with call.changing() as connection:
        before = await flows.policy(connection, call.app, name)
        flow, new = await flows.put(connection, call.app, name, **fields)
        if before not in (None, flow.unsafe):
            await jobs.enqueue(connection, jobs.JUDGE, app=call.app, payload={"flow": flow.key})
        given = body.model_dump(exclude_unset=True)
        changes = given | ({"description": "given"} if "description" in given else {})
        await call.note(connection, "flow.made" if new else "flow.changed", flow=name, changes=changes)
        if placing:
            await backends.place_flow(connection, flow.key, [Placed(p.backend, p.role) for p in body.backends])
        placed = await backends.of_flows(connection, [flow.key])
    return put(answers.flow(flow, placed.get(flow.key, ())), 201 if new else 200)


async def get_flow(call: Call) -> Response:
    name = call.name("flow")
    async with call.reading() as connection:
        flow = await flows.get(connection, call.app, name)
        placed = await backends.of_flows(connection, [flow.key])
    return put(answers.flow(flow, placed.get(flow.key, ())))


async def list_flows(call: Call) -> Response:
    limit, after = call.limit(), call.after_name()
    async with call.reading() as connection:
        found = await flows.page(connection, call.app, after, limit + 1)
        placed = await backends.of_flows(connection, [flow.key for flow in found])
    return listed(found, limit, lambda flow: answers.flow(flow, placed.get(flow.key, ())), "name", lambda flow: flow.id)


async def delete_flow(call: Call) -> Response:
    name = call.name("flow")
    async with call.changing() as connection:
        await flows.delete(connection, call.app, name)
        await call.note(connection, "flow.deleted", flow=name)
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
        found = await media.owned(connection, call.app, identifier, call.key)
        if await flows.put_media(connection, flow, identifier):
            await call.note(connection, "flow.media_added", user=found.owner_id, media=identifier, flow=name)
            await classes.judge(connection, identifier, call.parts.settings.unsafe_threshold)
            await classes.ask(connection, identifier)
    return nothing()


async def delete_flow_media(call: Call) -> Response:
    name, identifier = call.name("flow"), call.id("media")
    async with call.changing() as connection:
        flow, role = await entered(call, connection, name)
        try:
            found = await media.kept(connection, call.app, identifier, call.key)
        except NotFound:
            if role is None:
                raise unknown(name) from None
            raise
        if role is None and name not in found.flows:
            raise unknown(name)
        if role not in EDITING and found.owner_id != call.key:
            raise unknown(name) if role is None else Forbidden("A viewer may only take out their own.", flow=name)
        await flows.take_media(connection, flow, identifier)
        await call.note(connection, "flow.media_removed", user=found.owner_id, media=identifier, flow=name)
    return nothing()


async def entered(call: Call, connection: Connection, name: str) -> tuple[Flow, str | None]:
    """The flow and the caller's role in it: the app is as good as an admin, a user who is no member has none."""
    flow = await flows.get(connection, call.app, name)
    return flow, "admin" if call.key is None else await flows.role(connection, flow.key, call.key)


async def governed(call: Call, connection: Connection, name: str) -> Flow:
    """The flow, where the app or one of its admins calls."""
    flow, role = await entered(call, connection, name)
    if role is None:
        raise unknown(name)
    if role != "admin":
        raise Forbidden("Only an admin of this flow may do that.", flow=name)
    return flow


def unknown(name: str) -> NotFound:
    """What `flows.get` says too, so that a flow that is none of the caller's business looks like none at all."""
    return NotFound("There is no such flow.", flow=name)
