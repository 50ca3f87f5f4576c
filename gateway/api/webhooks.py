"""Webhooks: an app says where it wants to be told of what happens, sees how that goes, and has it told again."""

from __future__ import annotations

from typing import get_args

from starlette.responses import Response

from chipmunk import deliveries, webhooks
from chipmunk.addresses import Allowed
from chipmunk.db import Connection
from chipmunk.deliveries import State
from chipmunk.errors import BadRequest
from chipmunk.goals import goal
from chipmunk.operations import answers
from chipmunk.operations.answers import Answer
from chipmunk.operations.hooks import WebhookFields
from chipmunk.webhooks import Webhook
from gateway.api.call import Call, listed, nothing, put


async def put_webhook(call: Call) -> Response:
    """UrlRefused where the URL itself tells that it leads inside; what its host's name means is looked at when it is told."""
    name, body = call.name("webhook"), call.body
    assert isinstance(body, WebhookFields)
    if body.url is not None:
        goal(body.url, Allowed.parse(call.parts.settings.webhook_allow))
    given = frozenset(body.model_fields_set)
    async with call.changing() as connection:
        found, secret = await webhooks.put(
            connection, call.parts.stores.vault, call.app, name,
            url=body.url, events=body.events, enabled=body.enabled if "enabled" in given else None, given=given,
        )  # fmt: skip
        answer = await _shown(connection, found, secret)
        action = "webhook.changed" if secret is None else "webhook.made"
        await call.note(connection, action, changes={"webhook": name, "fields": sorted(given)})
    return put(answer, 200 if secret is None else 201)


async def _shown(connection: Connection, found: Webhook, secret: str | None = None) -> Answer:
    return answers.webhook(found, await deliveries.standing(connection, found.key), secret)


async def get_webhook(call: Call) -> Response:
    name = call.name("webhook")
    async with call.reading() as connection:
        answer = await _shown(connection, await webhooks.get(connection, call.app, name))
    return put(answer)


async def list_webhooks(call: Call) -> Response:
    limit, after = call.limit(), call.after_name()
    async with call.reading() as connection:
        found = [w for w in await webhooks.every(connection, call.app) if w.id > after]
        shown = {w.id: await _shown(connection, w) for w in found[:limit]}
    return listed(found[: limit + 1], limit, lambda w: shown[w.id], "name", lambda w: w.id)


async def delete_webhook(call: Call) -> Response:
    name = call.name("webhook")
    async with call.changing() as connection:
        await webhooks.delete(connection, call.app, name)
        await call.note(connection, "webhook.deleted", changes={"webhook": name})
    return nothing()


async def rotate_webhook(call: Call) -> Response:
    name = call.name("webhook")
    async with call.changing() as connection:
        found, secret = await webhooks.rotate(connection, call.parts.stores.vault, call.app, name)
        answer = await _shown(connection, found, secret)
        await call.note(connection, "webhook.rotated", changes={"webhook": name})
    return put(answer)


async def test_webhook(call: Call) -> Response:
    name = call.name("webhook")
    async with call.changing() as connection:
        found = await deliveries.ping(connection, await webhooks.get(connection, call.app, name))
    return put(answers.delivery(found), 202)


async def list_deliveries(call: Call) -> Response:
    name, limit, before, state = call.name("webhook"), call.limit(), call.before_id(), _state(call)
    async with call.reading() as connection:
        webhook = await webhooks.get(connection, call.app, name)
        found = await deliveries.page(connection, webhook.key, state, before, limit + 1)
    return listed(found, limit, answers.delivery, "id", lambda one: one.id.hex)


def _state(call: Call) -> State | None:
    states: tuple[State, ...] = get_args(State)
    given = call.query("state")
    for state in states:
        if state == given:
            return state
    if given is not None:
        raise BadRequest("The parameter state is pending or dead.")
    return None


async def retry_delivery(call: Call) -> Response:
    name, delivery = call.name("webhook"), call.id("delivery")
    async with call.changing() as connection:
        webhook = await webhooks.get(connection, call.app, name, lock=True)
        found = await deliveries.retry(connection, webhook.key, delivery)
    return put(answers.delivery(found), 202)


async def retry_deliveries(call: Call) -> Response:
    """A part of them where there are very many."""
    name = call.name("webhook")
    async with call.changing() as connection:
        webhook = await webhooks.get(connection, call.app, name, lock=True)
        retried = await deliveries.retry_dead(connection, webhook.key)
    return put({"retried": retried}, 202)
