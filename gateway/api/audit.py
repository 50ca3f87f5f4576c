"""The audit log, as far as it is the caller's to read."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import apps, audit, ids
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, NotFound
from chipmunk.operations import answers
from gateway.api.call import Call, listed, self_or_app


async def list_audit(call: Call) -> Response:
    """The operator reads all of it, an app's backend what is its app's, a user what was done by them or to what is
    theirs."""
    name, media, limit, before = call.query("user"), call.query("media"), call.limit(), call.before_number()
    operator = call.known.kind == "operator"
    if name is not None and not operator:
        self_or_app(call, ids.name(name, "user"))
    identifier = None if media is None else ids.parse_id(media)
    if media is not None and identifier is None:
        raise BadRequest("media is the id of one.")
    async with call.reading() as connection:
        within = await _within(call, connection)
        users = None if call.key is None else [call.key]
        if name is not None and users is None:
            users = await audit.users_named(connection, ids.name(name, "user"), within)
            if not users:
                raise NotFound("There is no such user.", user=name)
        found = await audit.page(connection, within, users=users, media=identifier, before=before, limit=limit + 1)
    return listed(found, limit, lambda entry: answers.entry(entry, call.key), "row", lambda entry: str(entry.id))


async def _within(call: Call, connection: Connection) -> int | None:
    """The app whose rows are read; None for those of all apps."""
    name = call.query("app")
    if name is None or call.within is not None:
        return call.within
    found = await apps.known_as(connection, name)
    if found is None:
        raise NotFound("There is no such app.", app=name)
    return found
