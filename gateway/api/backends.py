"""Backends: the operator adds, changes and takes them while everything runs, and sees how they are."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response

from chipmunk import backends, jobs
from chipmunk.backend_fields import LOCAL_URL, SECRETS, Settled, settled
from chipmunk.backends import Backend
from chipmunk.errors import BackendInUse, BadBackend, NotFound, Unprocessable
from chipmunk.operations import answers
from chipmunk.operations.answers import Answer
from chipmunk.operations.places import BackendFields
from chipmunk.pinning import need_free
from chipmunk.pins import DatabasePins
from chipmunk.storage import Checking, LettingPagesIn, Missing, Store, StoreUnavailable
from chipmunk.storage.opening import open_store
from chipmunk.vault import CannotOpen
from gateway.api.call import Call, listed, nothing, put

CHECK_SECONDS = 10.0
NONE = (0, 0)


async def put_backend(call: Call) -> Response:
    """It is kept once a look at it has shown that it can be used, unless the operator does not want one."""
    name, body = call.name("backend"), call.body
    assert isinstance(body, BackendFields)
    need_free(call.parts.settings)
    before: Backend | None = None
    async with call.reading() as connection:
        with suppress(NotFound):
            before = await backends.get(connection, name)
    wanted = settled(name, body, None if before is None else _opened(call, before, body))
    checked = not body.unchecked and wanted.url != LOCAL_URL
    await _look_at(call, name, wanted, before, checked=checked)
    async with call.changing() as connection:
        found, new = await backends.put(connection, call.parts.stores.vault, name, wanted)
        changes = {"backend": name, "fields": sorted(body.model_fields_set)}
        await call.note(connection, "backend.made" if new else "backend.changed", changes=changes)
        await backends.need_primary(connection)
        if checked:
            await backends.note_health(connection, found.key, None)
            found = await backends.get(connection, name)
        counts = await backends.counts(connection)
    return put(answers.backend(found, counts.get(found.key, NONE)), 201 if new else 200)


def _opened(call: Call, before: Backend, body: BackendFields) -> Settled:
    """What the backend was. Unprocessable where its secret cannot be opened any more and no other is given."""
    try:
        return backends.as_settled(before, call.parts.stores.vault)
    except CannotOpen:
        names = SECRETS[before.kind]
        if body.kind == before.kind and not body.model_fields_set & set(names):
            sentence = "CHIPMUNK_MASTER_KEYS lacks the key that the secret was sealed by: give the secret anew."
            raise Unprocessable(sentence, field=names[0]) from None
        return Settled(before.url, before.options, {}, before.role, before.choosable)


async def _look_at(call: Call, name: str, wanted: Settled, before: Backend | None, *, checked: bool) -> None:
    """BadBackend where there is no such store or, where it is `checked`, it cannot be used; makes its CORS good too."""
    stores = call.parts.stores
    pins = DatabasePins(call.parts.database, 0 if before is None else before.key)
    store = open_store(wanted.url, wanted.options, wanted.secret, stores.local, pins)
    try:
        if checked:
            async with asyncio.timeout(CHECK_SECONDS):
                await _check(store, wanted, call.parts.settings.origins)
    except TimeoutError:
        raise BadBackend(f"The store did not answer within {CHECK_SECONDS:.0f} seconds.", backend=name) from None
    except (StoreUnavailable, Missing) as e:
        raise BadBackend(e.detail, backend=name) from None
    finally:
        if isinstance(store, Checking):
            await store.close()


async def _check(store: Store, wanted: Settled, origins: tuple[str, ...]) -> None:
    if isinstance(store, Checking):
        await store.check()
    if wanted.options.get("cors") and origins and isinstance(store, LettingPagesIn):
        await store.cors(origins)


async def get_backend(call: Call) -> Response:
    name = call.name("backend")
    async with call.reading() as connection:
        found = await backends.get(connection, name)
        counts = await backends.counts(connection)
    return put(answers.backend(found, counts.get(found.key, NONE)))


async def list_backends(call: Call) -> Response:
    limit, after = call.limit(), call.after_name()
    async with call.reading() as connection:
        found = [b for b in await backends.every(connection) if b.id > after]
        counts = await backends.counts(connection)

    def shown(backend: Backend) -> Answer:
        return answers.backend(backend, counts.get(backend.key, NONE))

    return listed(found[: limit + 1], limit, shown, "name", lambda backend: backend.id)


async def delete_backend(call: Call) -> Response:
    """One that is `lost` is forgotten with what lies elsewhere too; what does not keeps it."""
    name, lost = call.name("backend"), call.flag("lost")
    need_free(call.parts.settings)
    left = 0
    if lost:
        async with call.changing() as connection:
            left = await backends.give_up(connection, name)
            await call.note(connection, "backend.changed", changes={"backend": name, "fields": ["lost"]})
    if left:
        raise BackendInUse(
            "Media have no copy elsewhere: delete them, or have the backend back.", backend=name, media=left
        )
    async with call.changing() as connection:
        await backends.delete(connection, name)
        await call.note(connection, "backend.deleted", changes={"backend": name, "lost": lost})
    return nothing()


async def scrub_backend(call: Call) -> Response:
    name = call.name("backend")
    async with call.changing() as connection:
        found = await backends.get(connection, name, lock=True)
        job = await jobs.enqueue_once(connection, jobs.SCRUB, app=None, payload={"backend": found.key})
        await call.note(connection, "backend.scrubbed", changes={"backend": name, "job": job.hex})
    return put({"job": job.hex}, 202, location=f"/v1/jobs/{job.hex}")
