"""Links: more addresses of a media, each for an audience of its own."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from starlette.responses import Response

from chipmunk import links, media, users
from chipmunk.errors import NotFound, UnknownUser
from chipmunk.operations import answers
from chipmunk.operations.answers import when
from chipmunk.operations.sharing import LinkFields
from gateway.api import consent
from gateway.api.call import Call, listed, nothing, put


async def create_link(call: Call) -> Response:
    identifier, body = call.id("media"), call.body
    assert isinstance(body, LinkFields)
    audience, _, name = body.audience.partition(":")
    original = audience != "anyone" if body.original is None else body.original
    ttl = None if body.ttl_seconds is None else timedelta(seconds=body.ttl_seconds)
    await _agreed(call, identifier, body.audience)
    password = None if body.password is None else await _hashed(call, identifier, body.password.get_secret_value())
    async with call.changing() as connection:
        found = await media.owned(connection, call.app, identifier, call.key)
        try:
            user = (await users.get(connection, call.app, name)).key if name else None
        except NotFound:
            raise UnknownUser(user=name) from None
        link = await links.create(
            connection, identifier, audience=audience, user=user, original=original, ttl=ttl, password=password,
            max_views=body.max_views,
        )  # fmt: skip
        changes = {
            "audience": audience, "original": original, "password": link.password, "max_views": link.max_views,
            "expires_at": when(link.expires_at),
        }  # fmt: skip
        await call.note(connection, "link.made", user=found.owner_id, media=identifier, link=link.id, changes=changes)
    return put(answers.link(link, call.parts.links), 201)


async def _agreed(call: Call, identifier: UUID, audience: str) -> None:
    """Plug-ins that have a say are asked before anything is written; a link for the owner alone shares nothing."""
    if audience == "owner" or not call.parts.settings.plugins:
        return
    async with call.reading() as connection:
        found = await media.owned(connection, call.app, identifier, call.key)
    await consent.to_share(call.parts.settings, found, audience)


async def _hashed(call: Call, identifier: UUID, password: str) -> str:
    """What is kept of the password; who may make no link of the media has nothing hashed."""
    async with call.reading() as connection:
        await media.owned(connection, call.app, identifier, call.key)
    return await call.parts.passwords.hash(password)


async def list_links(call: Call) -> Response:
    identifier, limit, before = call.id("media"), call.limit(), call.before_id()
    async with call.reading() as connection:
        await media.owned(connection, call.app, identifier, call.key, trashed=True)
        found = await links.of_media(connection, identifier, before, limit + 1)
    return listed(found, limit, lambda k: answers.link(k, call.parts.links), "id", lambda k: k.id.hex)


async def delete_links(call: Call) -> Response:
    identifier = call.id("media")
    async with call.changing() as connection:
        found = await media.owned(connection, call.app, identifier, call.key, trashed=True)
        await links.revoke_all(connection, identifier)
        await call.note(connection, "link.revoked", user=found.owner_id, media=identifier, changes={"all": True})
    return nothing()


async def delete_link(call: Call) -> Response:
    async with call.changing() as connection:
        link = call.id("link")
        identifier, owner = await links.revoke(connection, call.app, link, call.key)
        await call.note(connection, "link.revoked", user=owner, media=identifier, link=link)
    return nothing()
