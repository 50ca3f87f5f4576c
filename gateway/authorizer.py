"""The authorizer: answers nginx's `auth_request`. A plain ASGI callable whose hot path allocates little and logs nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from urllib.parse import quote
from uuid import UUID

import redis.asyncio as aioredis
import structlog

from chipmunk import flows, jwt, links, logs, metrics
from chipmunk.asgi import Receive, Scope, Send
from chipmunk.config import Settings
from chipmunk.credentials import API_KEY, Authenticator, Caller, presented
from chipmunk.db import Database, connect
from chipmunk.errors import Unavailable
from chipmunk.events import Outbox
from chipmunk.heartbeats import beating
from chipmunk.ids import folder
from chipmunk.links import Grant
from chipmunk.serving import serve
from chipmunk.signing import Seal, digest
from gateway.authorize import Outcome, Viewer, decide, is_public
from gateway.memory import Memory, Tags
from gateway.subscription import heard, poll

GRANTS = 100_000  # about 1.5 kB each
VIEWERS = 20_000
CONNECTIONS = 8
QUERY_SECONDS = 2.0
FLUSH_SECONDS = 1.0
LONGEST_NAME = 800
Headers = list[tuple[bytes, bytes]]

EMPTY = (b"content-length", b"0")
REFUSED: dict[Outcome, tuple[int, Headers]] = {
    Outcome.UNAUTHORIZED: (401, [(b"x-accel-expires", b"0"), EMPTY]),
    Outcome.NOT_FOUND: (403, [(b"x-accel-expires", b"0"), EMPTY]),
}
log = structlog.get_logger()


class Known:
    """A grant together with the headers that nginx is told for it."""

    __slots__ = ("grant", "headers")

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.headers: Headers = [
            (b"x-media-dir", f"/{folder(grant.media_id)}".encode()),
            (b"x-media-type", grant.mime.encode("ascii", "ignore")),
            (b"x-media-name", _extended(grant.filename)),
            (b"x-media-original", b"1" if grant.original else b"0"),
            (b"x-media-state", grant.state.encode()),
            (b"x-accel-expires", b"1"),
        ]


class Authorizer:
    """Maps a signed id and a credential to a decision, from memory where that may be believed."""

    def __init__(self, settings: Settings, database: Database, tags: Tags) -> None:
        self._database = database
        self._links = Seal(settings.secret_keys, "link")
        self._authenticator = Authenticator(settings, Seal(settings.secret_keys, "session"), jwt.verifier(settings))
        self._grants: Memory[Known | None] = Memory(tags, GRANTS, time.monotonic)
        self._viewers: Memory[Viewer | None] = Memory(tags, VIEWERS, time.monotonic)
        self._keys: Memory[dict[bytes, int]] = Memory(tags, 1, time.monotonic)
        self.counts: Counter[tuple[str, str]] = Counter()

    async def decide(self, signed: str, authorization: str, cookie: str) -> tuple[int, Headers]:
        """Status and headers for nginx. Raises Unavailable where it cannot be decided."""
        now, unix = time.monotonic(), time.time()
        token = self._links.open(signed)
        source, known = "seal", None
        if token is not None:
            fact = self._grants.get(token, now)
            source = "memory" if fact else "postgres"
            known = fact.value if fact else await self._grants.read(token, lambda: self._known(token), _grant_tags)
        grant = known.grant if known else None
        if known is not None and is_public(known.grant, unix):
            self.counts[("allowed", source)] += 1
            return 204, known.headers
        given = presented(authorization or None, cookie or None).token
        viewer = None
        if given:
            remembered = self._viewers.get(given, now)
            if remembered is None:
                source = "postgres"
            viewer = remembered.value if remembered else await self._viewer(given)
        outcome = decide(viewer, grant, unix)
        self.counts[(outcome.value, source)] += 1
        return (204, known.headers) if outcome is Outcome.ALLOWED and known else REFUSED[outcome]

    async def _known(self, token: UUID) -> Known | None:
        async with self._database.connection() as connection:
            grant = await links.grant(connection, token)
        return None if grant is None else Known(grant)

    async def _viewer(self, token: str) -> Viewer | None:
        if token.startswith(API_KEY):
            keys = self._keys.get("all", time.monotonic())
            known = keys.value if keys else await self._keys.read("all", self._api_keys, _key_tags)
            app = known.get(digest(token))
            return None if app is None else Viewer(Caller("app", app))
        if not self._authenticator.could_be(token):
            return None
        return await self._viewers.read(token, lambda: self._found(token), _viewer_tags)

    async def _found(self, token: str) -> Viewer | None:
        caller = await self._authenticator.caller(self._database, token, time.time())
        if caller is None:
            return None
        if caller.user_id is None:
            return Viewer(caller)
        async with self._database.connection() as connection:
            return Viewer(caller, await flows.memberships(connection, caller.user_id))

    async def _api_keys(self) -> dict[bytes, int]:
        async with self._database.connection() as connection:
            rows = await connection.fetch("select hash, app_id from api_keys")
        return {r["hash"]: r["app_id"] for r in rows}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signed = authorization = cookie = ""
        for name, value in scope["headers"]:
            if name == b"x-media-id":
                signed = value.decode("latin-1")
            elif name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"x-session":
                cookie = value.decode("latin-1")
        try:
            status, headers = await self.decide(signed, authorization, cookie)
        except Unavailable:
            self.counts[("unavailable", "postgres")] += 1
            status, headers = 503, [(b"x-accel-expires", b"0"), EMPTY]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _extended(filename: str) -> bytes:
    """The file name as an RFC 8187 ext-value of at most 800 bytes, cut between two characters."""
    while len(text := quote(filename, safe="")) > LONGEST_NAME:
        filename = filename[:-1]
    return text.encode()


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


def _key_tags(keys: dict[bytes, int]) -> tuple[str, ...]:
    return tuple(f"key:{app}" for app in set(keys.values()))


class Process:
    """The ASGI app of the process: `/decide`, `/livez`, and its lifespan."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._authorizer: Authorizer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/decide" and self._authorizer is not None:
            await self._authorizer(scope, receive, send)
        else:
            status = 200 if scope["path"] == "/livez" else 404
            await send({"type": "http.response.start", "status": status, "headers": [EMPTY]})
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
        database = Database(await connect(url, most=CONNECTIONS, command_seconds=QUERY_SECONDS), acquire_seconds=1.0)
        stack.push_async_callback(database.close)
        polling = Database(await connect(url, most=1, command_seconds=QUERY_SECONDS), acquire_seconds=1.0)
        stack.push_async_callback(polling.close)
        redis = aioredis.from_url(self._settings.redis_url)
        stack.push_async_callback(redis.aclose)
        tags, outbox = Tags(), Outbox(polling)
        await poll(outbox, tags, time.monotonic)
        await stack.enter_async_context(heard(outbox, redis, tags, time.monotonic))
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
    logs.configure(settings, "authorizer")
    serve(Process(settings), settings.address("authorizer"))
