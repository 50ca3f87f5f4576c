"""Apps and their API keys: the operator makes, limits and ends them while everything runs."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from chipmunk import apps, keys
from chipmunk.keys import Key
from chipmunk.operations import answers
from chipmunk.operations.apps import AppFields, KeyFields, RotateFields
from gateway.api.call import Call, listed, nothing, put


async def put_app(call: Call) -> Response:
    name, body = call.name("app"), call.body
    assert isinstance(body, AppFields)
    given = body.model_dump(exclude_unset=True)
    async with call.changing() as connection:
        found, new = await apps.put(connection, name, given)
        await call.note(connection, "app.made" if new else "app.changed", changes=given, app=found.key)
    return put(answers.app(found), 201 if new else 200)


async def get_app(call: Call) -> Response:
    async with call.reading() as connection:
        return put(answers.app(await apps.get(connection, call.name("app"))))


async def list_apps(call: Call) -> Response:
    limit, after = call.limit(), call.after_name()
    async with call.reading() as connection:
        found = await apps.page(connection, after, limit + 1)
    return listed(found, limit, answers.app, "name", lambda app: app.id)


async def delete_app(call: Call) -> Response:
    async with call.changing() as connection:
        app, job = await apps.delete(connection, call.name("app"))
        await call.note(connection, "app.deleted", changes={"job": job.hex}, app=app)
    return put({"job": job.hex}, 202, location=f"/v1/jobs/{job.hex}")


async def create_key(call: Call) -> Response:
    body = call.body
    assert isinstance(body, KeyFields)
    async with call.changing() as connection:
        app = (await apps.get(connection, call.name("app"))).key
        key, text = await keys.make(connection, app, sorted(set(body.scopes)), body.description)
        await call.note(connection, "key.made", changes={"key": key.id.hex, "scopes": key.scopes}, app=app)
    return put(answers.key(key, text), 201)


async def list_keys(call: Call) -> Response:
    limit, before = call.limit(), call.before_id()
    async with call.reading() as connection:
        app = (await apps.get(connection, call.name("app"))).key
        found = await keys.page(connection, app, before, limit + 1)
    return listed(found, limit, answers.key, "id", _last)


def _last(key: Key) -> str:
    return key.id.hex


async def rotate_key(call: Call) -> Response:
    body, before = call.body, call.id("key")
    assert isinstance(body, RotateFields)
    async with call.changing() as connection:
        app = (await apps.get(connection, call.name("app"))).key
        key, text = await keys.rotate(connection, app, before, timedelta(seconds=body.grace_seconds))
        changes = {"key": before.hex, "by": key.id.hex, "grace_seconds": body.grace_seconds}
        await call.note(connection, "key.rotated", changes=changes, app=app)
    return put(answers.key(key, text), 201)


async def delete_key(call: Call) -> Response:
    key = call.id("key")
    async with call.changing() as connection:
        app = (await apps.get(connection, call.name("app"))).key
        await keys.revoke(connection, app, key)
        await call.note(connection, "key.revoked", changes={"key": key.hex}, app=app)
    return nothing()
