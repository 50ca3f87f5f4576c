"""Entering: a browser opens the `enter_url` once, gets the session's cookie, and is sent on."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import unquote, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response

from chipmunk import sessions
from chipmunk.config import Settings
from chipmunk.credentials import COOKIE
from chipmunk.errors import BadRequest, NotFound
from gateway.api.call import FRESH, Call

HEADERS = {
    **FRESH,
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Logged in</title><p>You are logged in.</p></html>\n'
LONGEST = 2048


async def enter(call: Call) -> Response:
    """GET uses the entrance up; HEAD, as link previews send it, does not even look."""
    wanted = call.query("next")
    target = None if wanted is None else destination(wanted, call.parts.settings)
    if call.request.method == "HEAD":
        return HTMLResponse(headers=HEADERS)
    entrance = call.request.path_params["entrance"]
    async with call.changing() as connection:
        entered = await sessions.enter(connection, call.parts.sessions, entrance)
    if entered is None:
        raise NotFound("This address has been used, has expired, or never was one.")
    response = HTMLResponse(PAGE, headers=HEADERS) if target is None else RedirectResponse(target, 303, HEADERS)
    give_cookie(call, response, COOKIE, *entered)
    return response


def give_cookie(call: Call, response: Response, name: str, value: str, expires: datetime, path: str = "/") -> None:
    """A cookie that no script reads, and that goes over TLS alone where there is TLS."""
    settings = call.parts.settings
    behind_tls = call.headers.get("x-forwarded-proto") == "https" or settings.base_url.startswith("https:")
    response.set_cookie(
        name,
        value,
        expires=expires,
        path=path,
        httponly=True,
        secure=behind_tls or settings.cookie_same_site == "none",
        samesite=settings.cookie_same_site,
    )


def destination(target: str, settings: Settings) -> str:
    """The target, where it is a path of this service or a page of an allowed origin; else BadRequest.

    Browsers read a backslash as a slash, drop control characters, and take `//host` for another site: what has any of
    these, as it is or percent-encoded, is refused.
    """
    plain = unquote(target.partition("?")[0].partition("#")[0])
    if len(target) > LONGEST or any(c == "\\" or ord(c) <= 0x20 or ord(c) == 0x7F for c in target + plain):
        raise BadRequest("next has characters that an address cannot have, or is too long.")
    if not _is_path(target, plain) and _origin(target) not in (_origin(settings.base_url), *settings.origins):
        raise BadRequest("next must be a path of this service or a page of an allowed origin.")
    return target


def _is_path(target: str, plain: str) -> bool:
    return target.startswith("/") and not plain.startswith("//") and not {".", ".."} & set(plain.split("/"))


def _origin(target: str) -> str:
    """The origin of an http(s) address; nothing that equals one where it is none."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc.lower()}" if parts.scheme in ("http", "https") and parts.netloc else "null"
