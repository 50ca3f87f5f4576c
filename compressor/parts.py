"""What the write side works with, put together by `app` and `worker`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis.asyncio import Redis

from chipmunk.addresses import Allowed
from chipmunk.config import Settings
from chipmunk.credentials import Authenticator
from chipmunk.db import Database, opened
from chipmunk.jwt import verifier
from chipmunk.rates import Limiter
from chipmunk.signing import Seal
from chipmunk.storage.local import LocalStore
from chipmunk.stores import Stores
from chipmunk.stores import opened as opened_stores
from compressor.classifier import Classifier
from compressor.decoders import Decoders
from compressor.inbox import Inbox
from compressor.part_files import PartFiles
from compressor.plugged.switched import Plugged
from compressor.prechecks import Prechecks

if TYPE_CHECKING:
    from compressor.fetch import Fetcher
    from compressor.outgoing import Outgoing

CONNECTIONS = 16
REDIS_SECONDS = 0.5
MOST_SETTLED = 4096
VARIANTS_AT_ONCE = 2  # uploads use the same processes, and are not to wait for all that a page shows


class Settled:
    """The latest tickets that were settled here: of these PostgreSQL need not be asked what is still reserved."""

    def __init__(self, most: int = MOST_SETTLED) -> None:
        self._most = most
        self._tickets: dict[UUID, None] = {}

    def add(self, ticket: UUID) -> None:
        self._tickets[ticket] = None
        if len(self._tickets) > self._most:
            del self._tickets[next(iter(self._tickets))]

    def taken(self, ticket: UUID) -> bool:
        """Whether it is one of them; it is forgotten then."""
        return self._tickets.pop(ticket, self) is None


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    database: Database
    store: LocalStore
    inbox: Inbox
    decoders: Decoders
    classifier: Classifier
    authenticator: Authenticator
    limiter: Limiter
    links: Seal
    redis: Any
    stores: Stores
    plugged: Plugged
    settled: Settled = field(default_factory=Settled)
    prechecks: Prechecks = field(default_factory=Prechecks)
    making: dict[tuple[UUID, int, str], asyncio.Task[bytes]] = field(
        default_factory=dict
    )  # variants, by number and format
    making_at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(VARIANTS_AT_ONCE))

    @property
    def part_files(self) -> PartFiles:
        return PartFiles(self.settings.store_dir)

    def now(self) -> float:
        return time.time()

    @property
    def fetcher(self) -> Fetcher:
        """What it needs is imported with the first URL."""
        from compressor.fetch import Fetcher

        return Fetcher(self.settings.fetch_seconds, Allowed.parse(self.settings.fetch_allow))

    @property
    def outgoing(self) -> Outgoing:
        """What tells webhooks; likewise."""
        from compressor.outgoing import Outgoing

        return Outgoing(Allowed.parse(self.settings.webhook_allow))


@asynccontextmanager
async def assembled(settings: Settings, *, plain: bool = False) -> AsyncIterator[Parts]:
    """The parts of these settings, open until the end. `plain`: with nothing that locks for longer than a transaction."""
    classifier = Classifier(settings)
    redis = Redis.from_url(
        settings.redis_url, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS, retry=None
    )
    try:
        async with (
            opened(settings, most=CONNECTIONS, plain=plain) as database,
            Decoders(settings) as decoders,
            opened_stores(settings, database, settings.store_dir) as stores,
            Plugged(settings) as plugged,
        ):
            yield Parts(
                settings=settings,
                database=database,
                store=stores.local,
                stores=stores,
                plugged=plugged,
                inbox=Inbox(settings.store_dir, settings.spool_dir),
                decoders=decoders,
                classifier=classifier,
                authenticator=Authenticator(settings, Seal(settings.secret_keys, "session"), verifier(settings)),
                limiter=Limiter(redis, settings),
                links=Seal(settings.secret_keys, "link"),
                redis=redis,
            )
    finally:
        await classifier.close()
        await redis.aclose()
