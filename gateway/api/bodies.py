"""Bodies of requests, in the shape that an operation takes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request

from chipmunk import bodies
from chipmunk.bodies import Model
from chipmunk.errors import BadRequest


async def read(request: Request, headers: Mapping[str, str], shape: type[Model], *, forms: bool = False) -> Model:
    """The body in this shape; none at all is an empty object. `forms`: one may come in place of JSON."""
    way = bodies.form if forms and bodies.is_form(headers) else bodies.read
    try:
        return await way(request.stream(), headers, shape)
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None
