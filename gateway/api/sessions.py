"""Sessions: a user is logged in and out."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from chipmunk import sessions, users
from chipmunk.credentials import COOKIE, SCOPES
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, NotFound, UnknownUser
from chipmunk.operations.answers import when
from chipmunk.operations.models import SessionFields
from chipmunk.users import User
from gateway.api.call import Call, nothing, put, self_or_app

FORGET = f"{COOKIE}=; Max-Age=0; Path=/; HttpOnly"


async def create_session(call: Call) -> Response:
    body, parts = call.body, call.parts
    assert isinstance(body, SessionFields)
    ttl, scopes = timedelta(seconds=body.ttl_seconds), [s for s in SCOPES if s in body.scopes]
    async with call.changing() as connection:
        user = await _user(connection, call.app, body.user)
        opened = await sessions.create(connection, parts.sessions, user.key, ttl, scopes)
        changes = {"session": opened.id.hex, "scopes": scopes, "expires_at": when(opened.expires_at)}
        await call.note(connection, "session.made", user=user.key, changes=changes)
    answer = {
        "id": opened.id.hex,
        "token": opened.token,
        "expires_at": when(opened.expires_at),
        "enter_url": f"{parts.settings.base_url}/enter/{opened.entrance}",
    }
    return put(answer, 201)


async def _user(connection: Connection, app: int, name: str) -> User:
    try:
        user = await users.get(connection, app, name)
    except NotFound:
        raise UnknownUser(user=name) from None
    if user.suspended:
        raise Forbidden("This user is suspended.", user=name)
    return user


async def delete_session(call: Call) -> Response:
    """A session may always end itself; it takes `manage` to end another one of the same user."""
    session, caller = call.id("session"), call.known
    if caller.session_id != session:
        caller.need("manage")
    async with call.changing() as connection:
        user = await sessions.delete(connection, call.app, session, call.key)
        if user is None:
            raise NotFound("There is no such session.", session=session.hex)
        await call.note(connection, "session.ended", user=user, changes={"session": session.hex})
    return nothing(**_forgetting(call, caller.session_id == session))


async def delete_sessions(call: Call) -> Response:
    name = call.name("user")
    self_or_app(call, name)
    async with call.changing() as connection:
        user = await users.get(connection, call.app, name)
        await sessions.delete_all(connection, user.key)
        await call.note(connection, "session.ended", user=user.key, changes={"all": True})
    return nothing(**_forgetting(call, own=call.user is not None))


def _forgetting(call: Call, own: bool) -> dict[str, str]:
    """Lets a browser forget the cookie of a session that is no more."""
    return {"set-cookie": FORGET} if own and "authorization" not in call.headers else {}
