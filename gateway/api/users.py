"""Users and their sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.responses import Response

from chipmunk import sessions, users
from chipmunk.errors import Forbidden, NotFound, UnknownUser
from chipmunk.operations.models import SessionFields, UserFields
from chipmunk.users import User
from gateway.api.call import Call, listed, nothing, put, when


def shown(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "quota_bytes": user.quota_bytes,
        "used_bytes": user.used_bytes,
        "reserved_bytes": user.reserved_bytes,
        "media_count": user.media_count,
        "suspended": user.suspended,
        "created_at": when(user.created_at),
    }


def _self_or_app(call: Call, name: str) -> None:
    """A user may ask about themselves; of others they learn nothing."""
    if call.caller.kind == "user" and call.caller.user != name:
        raise NotFound("There is no such user.", user=name)


async def put_user(call: Call) -> Response:
    call.caller.need_app()
    name, body = call.name("user"), await call.body(UserFields)
    given = frozenset(body.model_fields_set)
    quota = body.quota_bytes if "quota_bytes" in given else call.parts.settings.default_quota_bytes
    async with call.transaction() as connection:
        user, new, changed = await users.put(
            connection, call.app, name, quota=quota, suspended=body.suspended, given=given
        )
    if changed:
        await call.publish(f"user:{user.key}")
    return put(shown(user), 201 if new else 200)


async def get_user(call: Call) -> Response:
    call.need("view")
    name = call.name("user")
    _self_or_app(call, name)
    async with call.parts.database.connection() as connection:
        return put(shown(await users.get(connection, call.app, name)))


async def list_users(call: Call) -> Response:
    call.caller.need_app()
    limit = call.limit()
    async with call.parts.database.connection() as connection:
        found = await users.page(connection, call.app, call.name_cursor(), limit + 1)
    return listed([shown(u) for u in found[:limit]], found[limit - 1].id if len(found) > limit else None)


async def delete_user(call: Call) -> Response:
    call.caller.need_app()
    async with call.transaction() as connection:
        user, job = await users.delete(connection, call.app, call.name("user"))
    await call.publish(f"user:{user.key}")
    return put({"job": job.hex}, 202)


async def post_session(call: Call) -> Response:
    call.caller.need_app()
    body = await call.body(SessionFields)
    parts = call.parts
    async with call.transaction() as connection:
        try:
            user = await users.get(connection, call.app, body.user)
        except NotFound:
            raise UnknownUser(user=body.user) from None
        if user.suspended:
            raise Forbidden("This user is suspended.", user=body.user)
        ttl, scopes = timedelta(seconds=body.ttl_seconds), sorted(set(body.scopes))
        opened = await sessions.create(connection, parts.sessions, user.key, ttl, scopes)
    return put(
        {
            "id": opened.id.hex,
            "token": opened.token,
            "expires_at": when(opened.expires_at),
            "enter_url": f"{parts.settings.base_url}/enter/{opened.entrance}",
        },
        201,
    )


async def delete_session(call: Call) -> Response:
    if call.caller.kind == "operator":
        raise Forbidden()
    session = call.id("session")
    async with call.transaction() as connection:
        if not await sessions.delete(connection, call.app, session, call.key):
            raise NotFound("There is no such session.", session=session.hex)
    await call.publish(f"session:{session.hex}")
    return nothing()


async def delete_sessions(call: Call) -> Response:
    if call.caller.kind == "operator":
        raise Forbidden()
    name = call.name("user")
    _self_or_app(call, name)
    async with call.transaction() as connection:
        user = await users.get(connection, call.app, name)
        await sessions.delete_all(connection, user.key)
    await call.publish(f"user:{user.key}")
    return nothing()
