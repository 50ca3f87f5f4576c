"""The authorizer: answers nginx's `auth_request`. A plain ASGI callable whose hot path allocates little and logs nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

import redis.asyncio as aioredis
import structlog

from chipmunk import credentials, flows, jwt, keys, links, logs, metrics, traces
from chipmunk.asgi import Receive, Scope, Send
from chipmunk.config import Settings
from chipmunk.credentials import API_KEY, Authenticator, presented
from chipmunk.db import Database, connect
from chipmunk.errors import Unavailable
from chipmunk.heartbeats import beating
from chipmunk.openings import Openings
from chipmunk.revocations import Outbox, recent
from chipmunk.serving import serve
from chipmunk.signing import Seal, digest
from gateway.at_once import AtOnce
from gateway.authorize import Outcome, Viewer, decide, is_opened, is_public
from gateway.gathering import Gathering
from gateway.kept import Kept
from gateway.memory import Fact, Memory, Tags
from gateway.questions import ALIVE, NOTHING, REFUSED, UNAVAILABLE, Answer, Asked, Headers, Known, asked
from gateway.subscription import heard, poll

GRANTS = 100_000  # about 2 kB each
VIEWERS = 20_000
CONNECTIONS = 8
QUERY_SECONDS = 2.0
FLUSH_SECONDS = 1.0
log = structlog.get_logger()
NOBODY: Fact[Viewer | None] = Fact(None, (), 0.0, 0.0)


class Authorizer:
    """Maps a signed id and a credential to a decision, from memory where that may be believed."""

    def __init__(self, settings: Settings, database: Database, tags: Tags) -> None:
        self._database = database
        self._links = Seal(settings.secret_keys, "link")
        self._openings = Openings(settings.secret_keys)
        self._authenticator = Authenticator(settings, Seal(settings.secret_keys, "session"), jwt.verifier(settings))
        self._grants: Memory[Known | None] = Memory(tags, GRANTS, time.monotonic)
        self._unknown: Gathering[UUID, Known] = Gathering(self._known)
        self._viewers: Memory[Viewer | None] = Memory(tags, VIEWERS, time.monotonic)
        self._keys: Memory[dict[bytes, Viewer]] = Memory(tags, 1, time.monotonic)
        self.counts: Counter[tuple[str, str]] = Counter()

    def answer(self, asked: Asked) -> Answer | Awaitable[Answer]:
        """The answer, where memory has all that it takes; else what asks PostgreSQL, and never raises."""
        now = time.monotonic()
        fact = self._grants.get(asked.signed, now)
        if fact is not None:
            return self._judged(asked, fact.value, "memory", now)
        token = self._links.open(asked.signed)
        return (
            self._judged(asked, None, "seal", now) if token is None else _guarded(self._read(asked, token), self.counts)
        )

    def _judged(self, asked: Asked, known: Known | None, source: str, now: float) -> Answer | Awaitable[Answer]:
        """The answer about what `known` grants, as far as memory knows who asks."""
        if known is not None and is_public(known.grant, time.time()):
            return self._answer(known, None, source)
        if asked.proof and known is not None and self._opened(known, asked.proof, time.time()):
            self.counts[(Outcome.ALLOWED.value, source)] += 1
            return known.answer
        credential = presented(asked.authorization or None, asked.cookie or None).token
        viewer = self._remembered(credential, now)
        return (
            self._answer(known, viewer.value, source)
            if viewer
            else _guarded(self._seen(known, credential), self.counts)
        )

    def _opened(self, known: Known, proof: str, now: float) -> bool:
        return is_opened(known.grant, now) and self._openings.proves(proof, known.grant.token, now)

    async def _read(self, asked: Asked, token: UUID) -> Answer:
        known = await self._grants.read(asked.signed, lambda: self._unknown.read(token), _grant_tags)
        judged = self._judged(asked, known, "postgres", time.monotonic())
        return judged if isinstance(judged, Answer) else await judged

    async def _seen(self, known: Known | None, credential: str) -> Answer:
        return self._answer(known, await self._viewer(credential), "postgres")

    def _answer(self, known: Known | None, viewer: Viewer | None, source: str) -> Answer:
        outcome = decide(viewer, known.grant if known else None, time.time())
        self.counts[(outcome.value, source)] += 1
        return known.answer if outcome is Outcome.ALLOWED and known else REFUSED[outcome]

    def _remembered(self, token: str, now: float) -> Fact[Viewer | None] | None:
        """Who this credential stands for, where that takes no query."""
        if not token:
            return NOBODY
        if token.startswith(API_KEY):
            known = self._keys.get("all", now)
            return None if known is None else replace(NOBODY, value=known.value.get(digest(token)))
        fact = self._viewers.get(token, now)
        return NOBODY if fact is None and not self._authenticator.could_be(token) else fact

    async def _known(self, tokens: list[UUID]) -> dict[UUID, Known]:
        async with self._database.connection() as connection:
            found = await links.grants(connection, tokens)
        return {token: Known(grant) for token, grant in found.items()}

    async def _viewer(self, token: str) -> Viewer | None:
        if token.startswith(API_KEY):
            return (await self._keys.read("all", self._api_keys, _key_tags)).get(digest(token))
        return await self._viewers.read(token, lambda: self._found(token), _viewer_tags)

    async def _found(self, token: str) -> Viewer | None:
        caller = await self._authenticator.caller(self._database, token, time.time())
        if caller is None:
            return None
        if caller.user_id is None:
            return Viewer(caller)
        async with self._database.connection() as connection:
            return Viewer(caller, await flows.memberships(connection, caller.user_id))

    async def _api_keys(self) -> dict[bytes, Viewer]:
        async with self._database.connection() as connection:
            found = await credentials.every_key(connection)
        return {key: Viewer(caller) for key, caller in found.items()}


async def _guarded(answer: Awaitable[Answer], counts: Counter[tuple[str, str]]) -> Answer:
    """The answer; where PostgreSQL or anything else fails, that there is none now."""
    try:
        with traces.beginning("decide", None):
            return await answer
    except Unavailable:
        pass
    except Exception as e:
        log.exception("unexpected error", error=type(e).__name__)
    counts[("unavailable", "postgres")] += 1
    return UNAVAILABLE


async def _wire(answer: Awaitable[Answer]) -> bytes:
    return (await answer).wire


def _grant_tags(known: Known | None) -> tuple[str, ...]:
    if known is None:
        return ()
    grant = known.grant
    flow_tags = (f"flow:{f}" for f in grant.flow_ids)
    return (f"link:{grant.token.hex}", f"media:{grant.media_id.hex}", f"user:{grant.owner_id}", *flow_tags)


def _viewer_tags(viewer: Viewer | None) -> tuple[str, ...]:
    if viewer is None:
        return ()
    caller = viewer.caller
    session = (f"session:{caller.session_id.hex}",) if caller.session_id else ()
    return (f"user:{caller.user_id}", *session)


def _key_tags(_: dict[bytes, Viewer]) -> tuple[str, ...]:
    return (keys.REVOKED,)


class Process:
    """The ASGI app of the process: `/decide`, `/livez`, and its lifespan."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._authorizer: Authorizer | None = None

    def answer(self, headers: Headers) -> bytes | Awaitable[bytes] | None:
        """What goes over the wire to answer a question of nginx, or what gives it."""
        if self._authorizer is None:
            return None
        answer = self._authorizer.answer(asked(headers))
        return answer.wire if isinstance(answer, Answer) else _wire(answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["path"] == "/decide" and self._authorizer is not None:
            found = self._authorizer.answer(asked(scope["headers"]))
            answer = found if isinstance(found, Answer) else await found
        else:
            answer = ALIVE if scope["path"] == "/livez" else NOTHING
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except (OSError, Unavailable) as e:
                await send({"type": "lifespan.startup.failed", "message": type(e).__name__})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self, stack: AsyncExitStack) -> None:
        url = self._settings.database_url
        pool = await connect(url, most=CONNECTIONS, command_seconds=QUERY_SECONDS, plain=True)
        database = Database(pool, acquire_seconds=1.0)
        stack.push_async_callback(database.close)
        pool = await connect(url, most=1, command_seconds=QUERY_SECONDS, plain=True)
        polling = Database(pool, acquire_seconds=1.0)
        stack.push_async_callback(polling.close)
        redis = aioredis.from_url(self._settings.redis_url)
        stack.push_async_callback(redis.aclose)
        kept = Kept(self._settings.cache_dir, time.monotonic)
        tags, outbox = Tags(kept.forget), Outbox(polling)
        await poll(outbox, tags, time.monotonic)
        async with polling.connection() as connection:
            kept.forget(await recent(connection))
        await stack.enter_async_context(heard(outbox, redis, tags, time.monotonic, kept.patience))
        forgetting = asyncio.create_task(kept.keep_forgetting())
        stack.callback(forgetting.cancel)
        await stack.enter_async_context(beating(polling, "authorizer"))
        self._authorizer = Authorizer(self._settings, database, tags)
        flushing = asyncio.create_task(_flush(self._authorizer.counts))
        stack.callback(flushing.cancel)


async def _flush(counts: Counter[tuple[str, str]]) -> None:
    """Hands counts on to the metrics once a second, so that a decision costs no more than an addition."""
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        for (outcome, source), count in list(counts.items()):
            metrics.DECISIONS.labels(outcome, source).inc(count)
        counts.clear()


def main(settings: Settings) -> None:
    metrics.setup(settings)
    traces.setup(settings, "authorizer")
    logs.configure(settings, "authorizer")
    serve(Process(settings), settings.address("authorizer"), http=AtOnce)
