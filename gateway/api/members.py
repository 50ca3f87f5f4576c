"""Members of flows: viewers, editors and admins."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import flows, users
from chipmunk.operations.models import MemberFields
from gateway.api.call import Call, listed, nothing, put
from gateway.api.flows import governed


async def list_members(call: Call) -> Response:
    name, limit, after = call.name("flow"), call.limit(), call.after_name()
    async with call.reading() as connection:
        flow = await governed(call, connection, name)
        found = await flows.members(connection, flow, after, limit + 1)
    return listed(found, limit, lambda m: {"user": m[0], "role": m[1]}, "name", lambda m: m[0])


async def put_member(call: Call) -> Response:
    name, user, body = call.name("flow"), call.name("user"), call.body
    assert isinstance(body, MemberFields)
    async with call.changing() as connection:
        flow = await governed(call, connection, name)
        member = await users.get(connection, call.app, user)
        new = await flows.put_member(connection, flow, member.key, body.role)
        await call.note(connection, "member.set", user=member.key, flow=name, changes={"role": body.role})
    return put({"user": user, "role": body.role}, 201 if new else 200)


async def delete_member(call: Call) -> Response:
    name, user = call.name("flow"), call.name("user")
    async with call.changing() as connection:
        flow = await governed(call, connection, name)
        member = await users.get(connection, call.app, user)
        await flows.take_member(connection, flow, member.key)
        await call.note(connection, "member.removed", user=member.key, flow=name)
    return nothing()
