"""Delivers to webhooks, beside the jobs: signed, in order for each media, again where it failed."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from chipmunk import __version__, metrics, telling, webhooks
from chipmunk.deliveries import Delivery
from chipmunk.errors import Unavailable, UrlRefused
from chipmunk.vault import CannotOpen
from chipmunk.webhooks import Webhook
from compressor.parts import Parts

AT_ONCE = 128  # of one worker; more than all webhooks of one app can take
ANSWER_SECONDS = 15.0
REST_SECONDS = 1.0  # for what comes after the status
REST_BYTES = 4096
LOOK_SECONDS, UNASKED_SECONDS = 0.5, 3.0  # the latter while no webhook is enabled
HAND_BACK_SECONDS = 4.0
GONE = 410
HEADERS = {
    "User-Agent": f"Chipmunk/{__version__}",
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Failure:
    """`error` is `status`, `timeout`, `unreachable`, `url_refused` or `secret_unavailable`."""

    error: str
    status: int | None = None


class Deliverer:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Delivers until it is stopped; what is under way then has a moment, and is handed back."""
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            while not stopping.is_set():
                pause = await self._take()
                if pause:
                    waited_for = {stopped, *self._under_way}
                    await asyncio.wait(waited_for, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=HAND_BACK_SECONDS)
        finally:
            for task in (stopped, *self._under_way):
                task.cancel()
            await asyncio.gather(stopped, *self._under_way, return_exceptions=True)

    async def _take(self) -> float:
        """Begins with what is due, as far as there is room; how long to wait before the next look."""
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return LOOK_SECONDS
        try:
            async with self._parts.database.connection() as connection:
                due = await telling.is_due(connection)
            if not due:
                return UNASKED_SECONDS if due is None else LOOK_SECONDS
            async with self._parts.database.transaction() as connection:
                leased = await telling.claim(connection, room)
                known = await webhooks.find(connection, list({one.webhook for one in leased})) if leased else {}
        except Unavailable:
            return LOOK_SECONDS
        except Exception:
            log.exception("webhooks are not told for a moment")
            return LOOK_SECONDS
        for one in leased:
            if one.webhook in known:
                task = asyncio.create_task(self._deliver(known[one.webhook], one))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        return 0.0 if leased else LOOK_SECONDS

    async def _deliver(self, webhook: Webhook, leased: Delivery) -> None:
        try:
            failure = await self._told(webhook, leased)
        except asyncio.CancelledError:
            with suppress(Unavailable):
                async with self._parts.database.connection() as connection:
                    await telling.hand_back(connection, leased)
            raise
        try:
            await self._note(leased, failure)
        except Unavailable:
            return  # it is told again once the lease has ended
        except Exception:
            log.exception("what became of a delivery is not noted", delivery=leased.id.hex)

    async def _note(self, leased: Delivery, failure: Failure | None) -> None:
        async with self._parts.database.transaction() as connection:
            if failure is None:
                await telling.delivered(connection, leased)
                outcome: str | None = "delivered"
            else:
                gone = failure.status == GONE
                jitter = random.random()  # noqa: S311 - so that not all come at once
                state = await telling.failed(connection, leased, failure.error, failure.status, jitter, gone=gone)
                outcome = {"pending": "failed", "dead": "dead", None: None}[state]
        if outcome is not None:
            metrics.DELIVERIES.labels(outcome).inc()
        if outcome == "dead":
            log.warning("a delivery is given up", delivery=leased.id.hex, error=failure and failure.error)

    async def _told(self, webhook: Webhook, leased: Delivery) -> Failure | None:
        """Tells the app once. Nothing but a 2xx in time will do; where it is sent on to is not asked."""
        import aiohttp

        now = datetime.now(UTC)
        try:
            secrets = webhooks.secrets_of(webhook, self._parts.stores.vault, now)
        except CannotOpen:
            return Failure("secret_unavailable")
        body = leased.body
        headers = {**HEADERS, **webhooks.signed(secrets, leased.id, int(now.timestamp()), body)}
        try:
            return await self._asked(webhook.url, headers, body)
        except UrlRefused:
            return Failure("url_refused")
        except TimeoutError:
            return Failure("timeout")
        except (aiohttp.ClientError, OSError, ValueError):
            return Failure("unreachable")

    async def _asked(self, url: str, headers: dict[str, str], body: bytes) -> Failure | None:
        outgoing = self._parts.outgoing
        async with asyncio.timeout(ANSWER_SECONDS) as limit:
            async with outgoing.asked(outgoing.goal(url), headers, method="POST", body=body) as answer:
                limit.reschedule(None)
                with suppress(Exception):
                    async with asyncio.timeout(REST_SECONDS):
                        await answer.content.readexactly(REST_BYTES)
                return None if 200 <= answer.status < 300 else Failure("status", answer.status)
