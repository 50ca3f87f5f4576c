"""Bodies of requests, in the shape that an operation takes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request

from chipmunk import bodies
from chipmunk.bodies import Model
from chipmunk.errors import BadRequest


async def read(request: Request, headers: Mapping[str, str], shape: type[Model]) -> Model:
    """The body in this shape; none at all is an empty object."""
    try:
        return await bodies.read(request.stream(), headers, shape)
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None
