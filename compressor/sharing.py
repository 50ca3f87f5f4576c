"""What the API's process asks before it makes a link: it runs no plug-in. nginx has no way in for `/-/`."""

from __future__ import annotations

from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chipmunk import hooks
from chipmunk.hooks import Sharing
from compressor.parts import Parts


async def before_share(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    handed, _ = hooks.received(hooks.BEFORE_SHARE, await request.json(), [])
    await parts.plugged.before_share(cast(Sharing, handed))
    return Response(status_code=204)


ROUTES = [Route(hooks.SHARING_PATH, before_share, methods=["POST"])]
