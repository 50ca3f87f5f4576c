"""CORS: pages of the origins that settings name may call the API and read its answers, errors too. Plain ASGI."""

from __future__ import annotations

from collections.abc import Sequence

from chipmunk.asgi import App, Message, Receive, Scope, Send

PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, idempotency-key, prefer"),
    (b"access-control-max-age", b"3600"),
    (b"content-length", b"0"),
)
EXPOSED = (b"access-control-expose-headers", b"location, retry-after, x-request-id, idempotent-replayed, allow")


class Cors:
    """Around an app. Without origins, and for other origins, answers stay as they are."""

    def __init__(self, app: App, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(o.encode() for o in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            return await self._app(scope, receive, send)
        allowed = self._allowed(scope)
        if allowed and scope["method"] == "OPTIONS" and _has(scope, b"access-control-request-method"):
            await send({"type": "http.response.start", "status": 204, "headers": [*allowed, *PREFLIGHT]})
            return await send({"type": "http.response.body", "body": b""})
        fields = [*allowed, EXPOSED] if allowed else [(b"vary", b"Origin")]

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *fields]}
            await send(message)

        await self._app(scope, receive, marked)

    def _allowed(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What tells a browser that it may hand the answer to the page; nothing where it may not."""
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(origins) != 1 or origins[0] not in self._origins:
            return []
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origins[0]),
            (b"access-control-allow-credentials", b"true"),
        ]


def _has(scope: Scope, name: bytes) -> bool:
    return any(n == name for n, _ in scope["headers"])
