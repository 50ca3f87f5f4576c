"""Where a flow's media lie: said by the app or the flow's admins, and made so by a job."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from chipmunk import backends, jobs
from chipmunk.backends import Placed
from chipmunk.db import Connection
from chipmunk.flows import Flow
from chipmunk.operations import answers, places
from chipmunk.operations.places import FlowBackends, MoveFields
from chipmunk.pinning import need_free
from gateway.api.call import Call, put
from gateway.api.flows import governed


async def put_flow_backends(call: Call) -> Response:
    """Media that are there already stay where they are until the flow is moved."""
    name, body = call.name("flow"), call.body
    assert isinstance(body, FlowBackends)
    async with call.changing() as connection:
        flow = await governed(call, connection, name)
        await _place(call, connection, flow, body.backends)
        await call.note(connection, "flow.changed", flow=name, changes=body.model_dump())
        placed = await backends.of_flows(connection, [flow.key])
    return put({"backends": answers.placed(placed.get(flow.key, ()))})


async def move_flow(call: Call) -> Response:
    name, body = call.name("flow"), call.body
    assert isinstance(body, MoveFields)
    async with call.changing() as connection:
        flow = await governed(call, connection, name)
        if body.backends is not None:
            await _place(call, connection, flow, body.backends)
        await backends.lock_flow(connection, flow.key)
        job = await jobs.enqueue_once(connection, jobs.MOVE, app=call.app, user=call.key, payload={"flow": flow.key})
        changes = {"job": job.hex, **body.model_dump(exclude_none=True)}
        await call.note(connection, "flow.moved", flow=name, changes=changes)
    return put({"job": job.hex}, 202, location=f"/v1/jobs/{job.hex}")


async def _place(call: Call, connection: Connection, flow: Flow, placed: Sequence[places.Placed]) -> None:
    """Admins of a flow choose among what the operator lets them choose, the app among all."""
    need_free(call.parts.settings)
    said = [Placed(one.backend, one.role) for one in placed]
    await backends.place_flow(connection, flow.key, said, choosable_only=call.key is not None)
