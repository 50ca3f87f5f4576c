"""Users, and their sessions as far as the app makes and ends them."""

from __future__ import annotations

from starlette.responses import Response

from chipmunk import apps, users
from chipmunk.operations import answers
from chipmunk.operations.models import UserFields
from gateway.api.call import Call, listed, put, self_or_app


async def put_user(call: Call) -> Response:
    name, body = call.name("user"), call.body
    assert isinstance(body, UserFields)
    given = frozenset(body.model_fields_set)
    async with call.changing() as connection:
        quota = body.quota_bytes
        if "quota_bytes" not in given:
            quota = await apps.user_quota(connection, call.app, call.parts.settings.default_quota_bytes)
        user, new, _ = await users.put(connection, call.app, name, quota=quota, suspended=body.suspended, given=given)
        done = "user.made" if new else "user.changed"
        await call.note(connection, done, user=user.key, changes=body.model_dump(exclude_unset=True))
    return put(answers.user(user), 201 if new else 200)


async def get_user(call: Call) -> Response:
    name = call.name("user")
    self_or_app(call, name)
    async with call.reading() as connection:
        return put(answers.user(await users.get(connection, call.app, name)))


async def list_users(call: Call) -> Response:
    limit, after = call.limit(), call.after_name()
    async with call.reading() as connection:
        found = await users.page(connection, call.app, after, limit + 1)
    return listed(found, limit, answers.user, "name", lambda user: user.id)


async def delete_user(call: Call) -> Response:
    name = call.name("user")
    async with call.changing() as connection:
        user, job = await users.delete(connection, call.app, name)
        await call.note(connection, "user.deleted", user=user.key, changes={"job": job.hex})
    return put({"job": job.hex}, 202, location=f"/v1/jobs/{job.hex}")
