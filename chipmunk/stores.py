"""The open stores of a process, by their backend's row. What rows say is believed for one second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from time import monotonic
from uuid import UUID

from chipmunk import backends, media_keys, reading
from chipmunk.backends import LOCAL, Backend
from chipmunk.config import Settings
from chipmunk.db import Database
from chipmunk.pins import DatabasePins
from chipmunk.reading import Readable
from chipmunk.storage import Checking, Missing, Store, StoreUnavailable
from chipmunk.storage.local import LocalStore
from chipmunk.storage.opening import open_store
from chipmunk.storage.timing import timed
from chipmunk.vault import CannotOpen, Vault

BELIEVED_SECONDS = 1.0
CLOSED_SECONDS = 900.0  # how long what is under way may still read from a store whose row has changed
DOWN_SECONDS = 5.0  # how long a store that failed is asked last


class Stores:
    """`clock` gives seconds and never goes back."""

    def __init__(
        self, settings: Settings, database: Database, local: LocalStore, clock: Callable[[], float] = monotonic
    ) -> None:
        self.local = local
        self._settings = settings
        self._database = database
        self._clock = clock
        self._known: dict[int, Backend] = {}
        self._read_at = float("-inf")
        self._reading, self._opening = asyncio.Lock(), asyncio.Lock()
        self._opened: dict[int, tuple[datetime, Store]] = {}
        self._down: dict[int, float] = {}

    async def known(self) -> dict[int, Backend]:
        """All backends, as they are or were a second ago at most."""
        if self._clock() - self._read_at >= BELIEVED_SECONDS:
            async with self._reading:
                if self._clock() - self._read_at >= BELIEVED_SECONDS:
                    began = self._clock()
                    async with self._database.connection() as connection:
                        self._known = {b.key: b for b in await backends.every(connection)}
                    self._read_at = began
                    await self._close_changed()
        return self._known

    @cached_property
    def vault(self) -> Vault:
        return Vault(self._settings.master_keys)

    async def elsewhere(self) -> bool:
        """Whether there is any backend but the local volume."""
        return len(await self.known()) > 1

    async def store(self, key: int) -> Store:
        """The backend's store. StoreUnavailable where it has gone or its secret cannot be opened."""
        if key == LOCAL:
            return self.local
        backend = (await self.known()).get(key)
        if backend is None:
            raise StoreUnavailable("This backend is not there any more.")
        async with self._opening:
            opened = self._opened.get(key)
            if opened is None or opened[0] != backend.changed_at:
                opened = (backend.changed_at, await self.opened(backend))
                self._opened[key] = opened
        return opened[1]

    async def of_media(self, key: int, media: UUID, *, plain: bool, make: bool = False) -> Store:
        """The backend's store as it is to this media: around one that strangers may read, what is not `plain` is sealed.

        `make`: makes the media's key where it has none. Missing where it has none to be read with.
        """
        store = await self.store(key)
        if plain or (await self.known())[key].kind != "ipfs":
            return store
        async with self._database.connection() as connection:
            found = await (media_keys.made if make else media_keys.get)(connection, self.vault, media)
        if found is None:
            raise Missing()
        from chipmunk.storage.sealed import SealedStore

        return SealedStore(store, found, self.local.inbox)

    async def readable(self, media: UUID) -> Readable | None:
        """Where the media lies now."""
        async with self._database.connection() as connection:
            return await reading.find(connection, media)

    async def opened(self, backend: Backend) -> Store:
        """A store of its own for a backend, which the caller closes."""
        try:
            secret = media_keys.secret_of(self.vault, backend.id, backend.secret) if backend.secret else {}
        except CannotOpen:
            raise StoreUnavailable("The settings lack the master key that its secret is sealed by.") from None
        pins = DatabasePins(self._database, backend.key)
        store = await asyncio.to_thread(  # the first of a kind imports a great deal
            open_store, backend.url, backend.options, secret, self.local, pins
        )
        return store if store is self.local else timed(store, backend.id)

    def failed(self, key: int) -> None:
        """Has others asked first for a while."""
        self._down[key] = self._clock() + DOWN_SECONDS

    def seems_down(self, key: int) -> bool:
        return self._down.get(key, float("-inf")) > self._clock()

    async def _close_changed(self) -> None:
        for key, (changed_at, store) in list(self._opened.items()):
            backend = self._known.get(key)
            if backend is None or backend.changed_at != changed_at:
                del self._opened[key]
                asyncio.get_running_loop().call_later(CLOSED_SECONDS, _close_soon, store)

    async def close(self) -> None:
        for _, store in self._opened.values():
            await _close(store)
        self._opened.clear()


async def _close(store: Store) -> None:
    if isinstance(store, Checking):
        await store.close()


CLOSING: set[asyncio.Task[None]] = set()


def _close_soon(store: Store) -> None:
    task = asyncio.ensure_future(_close(store))
    CLOSING.add(task)
    task.add_done_callback(CLOSING.discard)


@asynccontextmanager
async def opened(settings: Settings, database: Database, folder: Path) -> AsyncIterator[Stores]:
    """The stores, with the local volume at `folder`, closed at the end."""
    stores = Stores(settings, database, LocalStore(folder))
    try:
        yield stores
    finally:
        await stores.close()
