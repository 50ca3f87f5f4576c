"""Who may upload what for whom: everything that can be said without the body."""

from __future__ import annotations

import shutil
from uuid import UUID

from starlette.requests import Request

from chipmunk import asgi, audit, flows, guards, idempotency, posting, quotas
from chipmunk.credentials import API_KEY, Caller, Scope
from chipmunk.errors import (
    BadRequest,
    DiskFull,
    EmptyFile,
    Forbidden,
    LengthRequired,
    TooLarge,
)
from chipmunk.posting import Posting
from chipmunk.rates import Class, Counting
from compressor import ladder
from compressor.asking import Asking, Door, credential
from compressor.parts import Parts
from compressor.prechecks import Precheck

MULTIPART_OVERHEAD = 64 * 1024  # what boundaries, headers and the other fields may add to a file
JSON_OVERHEAD = 16 * 1024  # the other fields of a JSON body
ESCAPED = 3  # characters of a data URI that stand for one byte, at most (RFC 3986)
SPARE_BYTES = 16 * 1024 * 1024  # left free on the disk, whatever is uploaded


async def admit(parts: Parts, asking: Asking, counting: Counting | None = None) -> Posting:
    """Lets the caller upload for this user into these flows, or says why not; meanwhile it is counted."""
    given, user, names = asking.given, asking.fields.user, asking.fields.flows or (flows.GENERAL,)
    guards.key_in_browser(given, asking.origin)
    if given.token.startswith(API_KEY) and user is not None:
        if counting is not None:
            counting.begin(given, None)
        async with parts.database.connection() as connection:
            found = await posting.by_key(connection, given.token, user, names)
        if counting is not None:
            counting.of_app(found.app, found.limits)
        guards.forgery(asking.method, given, asking.origin, asking.fetch_site, parts.settings.origins)
        return found
    caller = await parts.authenticator.need(parts.database, given, parts.now())
    guards.forgery(asking.method, given, asking.origin, asking.fetch_site, parts.settings.origins)
    if counting is not None:
        counting.begin(given, caller.user_id)
        counting.of_app(caller.app_id, caller.limits)
    caller.need("upload")
    if caller.kind == "user" and user not in (None, caller.user):
        raise Forbidden("A session uploads for its own user only.", user=user)
    async with parts.database.connection() as connection:
        open_to_them = await flows.postable(connection, caller.app_id, names, caller.user_id)
    return Posting(caller.app_id, caller.user_id, open_to_them, audit.by(caller))


async def recognized(parts: Parts, request: Request, scope: Scope | None = None, counts: Class = "calls") -> Caller:
    """Who makes a call that is no upload, or one whose body says where to, counted, and let do what needs this scope; or why
    not."""
    headers = asgi.headers(request.scope)
    given, origin = credential(headers), headers.get("origin")
    guards.key_in_browser(given, origin)
    caller = await parts.authenticator.need(parts.database, given, parts.now())
    guards.forgery(request.method, given, origin, headers.get("sec-fetch-site"), parts.settings.origins)
    await parts.limiter.count(request.scope, counts, given, caller)
    if scope is not None:
        caller.need(scope)
    return caller


async def precheck(parts: Parts, asking: Asking, counting: Counting | None) -> UUID | None:
    """Everything that can be refused before the body is read. Returns the reservation made for it, where one was.

    `counting` is None where the upload has been counted before.
    """
    began = parts.prechecks.now()
    admitted = await admit(parts, asking, counting)
    if counting is not None:
        await counting.end()
    if admitted.user is None and asking.door == "raw":
        raise BadRequest("With an API key the query names the user.")
    length = _length(parts, asking)
    room(parts, length)
    if admitted.user is None:
        return None
    if asking.key is not None:
        async with parts.database.connection() as connection:
            if await idempotency.answered(connection, admitted.user, asking.key):
                return None
    least = _least(asking.door, length)
    held = least + ladder.still_cap(least)
    ticket = await quotas.reserve(parts.database, admitted.user, held, length)
    parts.prechecks.keep(ticket, Precheck(asking, admitted, held, began))
    return ticket


def _least(door: Door, length: int) -> int:
    """The fewest bytes of file that such a body carries: nothing that fits is refused for its wrapping."""
    if door == "multipart":
        return max(1, length - MULTIPART_OVERHEAD)
    return max(1, (length - JSON_OVERHEAD) // ESCAPED) if door == "json" else length


def _length(parts: Parts, asking: Asking) -> int:
    """The body's length, within what its door takes."""
    if asking.length is None:
        raise LengthRequired()
    if asking.length == 0:
        raise EmptyFile()
    limit = parts.settings.max_json_bytes if asking.door == "json" else parts.settings.max_file_bytes
    if asking.length > limit + (MULTIPART_OVERHEAD if asking.door == "multipart" else 0):
        raise TooLarge(limit_bytes=limit)
    return asking.length


def room(parts: Parts, length: int) -> None:
    """DiskFull where so much does not fit.

    The kernel knows it by heart: to ask in a thread would cost a hundred times what asking does.
    """
    if shutil.disk_usage(parts.settings.store_dir).free < length + SPARE_BYTES:
        raise DiskFull()
