"""Entering: a browser opens the `enter_url` once, gets the session's cookie, and is sent on."""

from __future__ import annotations

import time
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from chipmunk import sessions
from chipmunk.config import Settings
from chipmunk.errors import BadRequest, NotFound
from gateway.api.call import COOKIE, Parts

SAFE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
PAGE = "<!doctype html><meta charset=utf-8><title>Logged in</title><p>You are logged in."


async def enter(request: Request) -> Response:
    """GET uses the entrance up; HEAD, as link previews send it, does not."""
    if request.method == "HEAD":
        return Response(status_code=204, headers=SAFE)
    parts: Parts = request.app.state.parts
    wanted = request.query_params.getlist("next")
    target = where_to(wanted[0], parts.settings) if wanted else None
    async with parts.database.transaction() as connection:
        entered = await sessions.enter(connection, parts.sessions, request.path_params["entrance"])
    if entered is None:
        raise NotFound("This address has been used, has expired, or never was one.")
    response = HTMLResponse(PAGE, headers=SAFE) if target is None else RedirectResponse(target, 303, SAFE)
    _log_in(response, *entered, parts.settings, request.headers.get("x-forwarded-proto", ""))
    return response


def where_to(target: str, settings: Settings) -> str:
    """The target, where it is a path of this service or a page of an allowed origin; else BadRequest.

    Browsers read a backslash as a slash and drop control characters and spaces, so none may be there at all.
    """
    if not target.isascii() or "\\" in target or any(ord(c) <= 32 or ord(c) == 127 for c in target):
        raise BadRequest("next has a character that an address cannot have.")
    if target.startswith("/") and not target.startswith("//"):
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        raise BadRequest("next is no address.") from None
    origin = f"{parts.scheme}://{parts.netloc}"
    own = urlsplit(settings.base_url)
    if parts.scheme in ("http", "https") and origin in (*settings.origins, f"{own.scheme}://{own.netloc}"):
        return target
    raise BadRequest("next must be a path of this service or a page of an allowed origin.")


def _log_in(response: Response, token: str, expires: datetime, settings: Settings, scheme: str) -> None:
    none = settings.cookie_same_site == "none"
    response.set_cookie(
        COOKIE,
        token,
        max_age=max(1, int(expires.timestamp() - time.time())),
        path="/",
        secure=none or scheme == "https" or settings.base_url.startswith("https://"),
        httponly=True,
        samesite=settings.cookie_same_site,
    )
