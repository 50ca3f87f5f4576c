"""Sharing with people who have no account: a link's page, and opening those that have a password or a number of views."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network

from pydantic import SecretStr
from starlette.responses import RedirectResponse, Response

from chipmunk import asgi, bodies, guards, metrics, openings
from chipmunk.errors import NotFound, RateLimited
from chipmunk.openings import COOKIE, SECONDS, Shared, WrongPassword
from chipmunk.operations.answers import when
from chipmunk.operations.sharing import OpenFields
from chipmunk.rates import Subject
from chipmunk.signing import digest
from gateway.api import share_pages
from gateway.api.call import Call, put
from gateway.api.enter import give_cookie

NO_LINK = "There is no such link, or none that has to be opened."


async def page(call: Call) -> Response:
    """Looking at it opens nothing, so that the preview of a chat uses nothing up."""
    found = await _shared(call)
    if found is None:
        return share_pages.not_found()
    signed = _signed(call)
    if found.views is None or _has_opened(call, found):
        return share_pages.opened(signed, found)
    return share_pages.not_found() if found.used_up else share_pages.closed(signed, found)


async def open_link(call: Call) -> Response:
    """By a page's form the answer is a page too."""
    guards.elsewhere(
        call.headers.get("origin"), call.headers.get("sec-fetch-site"), call.headers.get("host"),
        call.parts.settings.origins,
    )  # fmt: skip
    found, by_form = await _shared(call), bodies.is_form(call.headers)
    try:
        if found is None or found.views is None or found.used_up:
            raise NotFound(NO_LINK)
        await _unlock(call, found)
        return _opened(call, found, by_form)
    except NotFound:
        if not by_form:
            raise
        return share_pages.not_found()
    except (WrongPassword, RateLimited) as problem:
        if not by_form or found is None:
            raise
        retry = {} if problem.retry_after is None else {"retry-after": str(problem.retry_after)}
        return share_pages.closed(_signed(call), found, problem.detail, problem.status, **retry)


def _signed(call: Call) -> str:
    return str(call.request.path_params["id"])


async def _shared(call: Call) -> Shared | None:
    token = call.parts.links.open(_signed(call))
    if token is None:
        return None
    async with call.reading() as connection:
        return await openings.shared(connection, token)


def _has_opened(call: Call, found: Shared) -> bool:
    proof = asgi.cookie(call.headers, COOKIE)
    return proof is not None and call.parts.openings.proves(proof, found.token, time.time())


async def _unlock(call: Call, found: Shared) -> None:
    """Takes a view of the link, where the password is its own."""
    assert isinstance(call.body, OpenFields)
    if found.password is not None:
        await _compare(call, found, found.password, call.body.password)
    async with call.parts.database.transaction() as connection:
        if not await openings.count(connection, found.id):
            raise NotFound(NO_LINK)


async def _compare(call: Call, found: Shared, kept: str, given: SecretStr | None) -> None:
    """WrongPassword, or RateLimited before it is looked at: only wrong ones count, however many come at once."""
    if given is None:
        raise WrongPassword()
    tried: list[Subject] = []
    try:
        for whose in (Subject("address", _address(call)), Subject("link", found.id.hex)):
            await _take(call, whose)
            tried.append(whose)
        if not await call.parts.passwords.matches(kept, given.get_secret_value()):
            tried.clear()
            raise WrongPassword()
    finally:
        for whose in tried:
            call.parts.limiter.give_back(whose, "passwords")


async def _take(call: Call, whose: Subject) -> None:
    asking = call.parts.limiter.ask(whose, "passwords")
    standing = None if asking is None else await asking
    if standing is not None and not standing.allowed:
        metrics.RATE_LIMITED.labels(whose.kind, "passwords").inc()
        raise RateLimited("Too many wrong passwords; try again later.", retry_after=standing.seconds)


def _address(call: Call) -> str:
    """Who tries, so far as an address tells: of IPv6 the network, of which anybody has all addresses."""
    text = call.headers.get("x-forwarded-for", "")
    try:
        found = ip_address(text)
    except ValueError:
        return digest(text).hex()
    return digest(str(ip_network((found, 64), strict=False) if isinstance(found, IPv6Address) else found)).hex()


def _opened(call: Call, found: Shared, by_form: bool) -> Response:
    """Shows the way on, and gives the proof to the views and the page of this link alone."""
    signed, until = _signed(call), datetime.fromtimestamp(int(time.time()) + SECONDS, UTC)
    if found.expires_at is not None:
        until = min(until, found.expires_at)
    proof = call.parts.openings.sign(found.token, until.timestamp())
    if by_form:
        response: Response = RedirectResponse(f"/share/{signed}", 303, share_pages.headers())
    else:
        response = put({"url": f"/{signed}/", "expires_at": when(until)})
    for path in (f"/{signed}/", f"/share/{signed}"):
        give_cookie(call, response, COOKIE, proof, until, path)
    return response
