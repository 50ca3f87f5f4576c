"""Backends pinned by a setting: what it names is all there is, until it names something else or nothing."""

from __future__ import annotations

from chipmunk import backend_fields, backends, db
from chipmunk.backend_fields import Settled
from chipmunk.config import Settings
from chipmunk.db import Database
from chipmunk.errors import BackendsPinned, Problem, SettingsError
from chipmunk.migrate import LOCK
from chipmunk.pins import DatabasePins
from chipmunk.storage import Checking
from chipmunk.storage.local import LocalStore
from chipmunk.storage.opening import open_store
from chipmunk.vault import Vault


async def pin(settings: Settings) -> list[str]:
    """Makes the backends what the setting says and returns their names; those that it does not name lose their role.

    Whether they are up is not asked: a start does not wait for stores. SettingsError where one cannot be.
    """
    if not settings.backends:
        return []
    wanted, vault = backend_fields.pinned(settings.backends), Vault(settings.master_keys)
    async with db.opened(settings, most=1) as database:
        for name, backend in wanted.items():
            try:
                await _could_be(settings, database, backend)
            except Problem as e:
                raise _wrong(name, e) from None
        async with database.transaction() as connection:
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            await connection.execute("update backends set role = null")
            for name, backend in wanted.items():
                try:
                    await backends.put(connection, vault, name, backend)
                except Problem as e:
                    raise _wrong(name, e) from None
    return list(wanted)


async def _could_be(settings: Settings, database: Database, wanted: Settled) -> None:
    """BadBackend where no store has such a URL."""
    local, pins = LocalStore(settings.store_dir), DatabasePins(database, 0)
    store = open_store(wanted.url, wanted.options, wanted.secret, local, pins)
    if isinstance(store, Checking):
        await store.close()


def _wrong(name: str, problem: Problem) -> SettingsError:
    return SettingsError(f"CHIPMUNK_BACKENDS: {name}: {problem.detail}")


def need_free(settings: Settings) -> None:
    """Raises BackendsPinned where the setting has the say."""
    if settings.backends:
        raise BackendsPinned()
