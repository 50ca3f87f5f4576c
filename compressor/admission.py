"""Who may upload what for whom: everything that can be said without the body."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from uuid import UUID

from chipmunk import flows, guards, idempotency, quotas, users
from chipmunk.credentials import Caller
from chipmunk.db import Connection
from chipmunk.errors import (
    BadRequest,
    DiskFull,
    EmptyFile,
    Forbidden,
    LengthRequired,
    NotFound,
    TooLarge,
    UnknownUser,
)
from chipmunk.flows import Flow
from compressor import ladder
from compressor.asking import Asking, Door, Fields
from compressor.parts import Parts

MULTIPART_OVERHEAD = 64 * 1024  # what boundaries, headers and the other fields may add to a file
JSON_OVERHEAD = 16 * 1024  # the other fields of a JSON body
ESCAPED = 3  # characters of a data URI that stand for one byte, at most (RFC 3986)
SPARE_BYTES = 16 * 1024 * 1024  # left free on the disk, whatever is uploaded


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whose upload it is and where it goes. `user` is None while only the body can tell."""

    caller: Caller
    user: int | None
    flows: list[Flow]


async def admit(parts: Parts, asking: Asking) -> Admitted:
    """Lets the caller upload for this user into these flows, or says why not."""
    guards.key_in_browser(asking.given, asking.origin)
    caller = await parts.authenticator.need(parts.database, asking.given, parts.now())
    guards.forgery(asking.method, asking.given, asking.origin, asking.fetch_site, parts.settings.origins)
    caller.need("upload")
    async with parts.database.connection() as connection:
        user = await _user(connection, caller, asking.fields)
        poster = caller.user_id if caller.kind == "user" else None
        names = asking.fields.flows or (flows.GENERAL,)
        return Admitted(caller, user, await flows.postable(connection, caller.app_id, names, poster))


async def _user(connection: Connection, caller: Caller, fields: Fields) -> int | None:
    if caller.kind == "user":
        if fields.user not in (None, caller.user):
            raise Forbidden("A session uploads for its own user only.", user=fields.user)
        return caller.user_id
    if fields.user is None:
        return None
    try:
        user = await users.get(connection, caller.app_id, fields.user)
    except NotFound:
        raise UnknownUser(user=fields.user) from None
    if user.suspended:
        raise Forbidden("This user is suspended.", user=user.id)
    return user.key


async def precheck(parts: Parts, asking: Asking) -> UUID | None:
    """Everything that can be refused before the body is read. Returns the reservation made for it, where one was."""
    admitted = await admit(parts, asking)
    if admitted.user is None and asking.door == "raw":
        raise BadRequest("With an API key the query names the user.")
    length = _length(parts, asking)
    _room(parts, length)
    if admitted.user is None:
        return None
    if asking.key is not None:
        async with parts.database.connection() as connection:
            if await idempotency.answered(connection, admitted.user, asking.key):
                return None
    least = _least(asking.door, length)
    return await quotas.reserve(parts.database, admitted.user, least + ladder.still_cap(least), length)


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


def _room(parts: Parts, length: int) -> None:
    """The kernel knows it by heart: to ask in a thread would cost a hundred times what asking does."""
    if shutil.disk_usage(parts.settings.store_dir).free < length + SPARE_BYTES:
        raise DiskFull()
