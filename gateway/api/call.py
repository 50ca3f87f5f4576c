"""A call: who makes it and what it brings; and how answers are put."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chipmunk import audit, ids, revocations
from chipmunk.config import Settings
from chipmunk.credentials import Authenticator, Caller
from chipmunk.db import Connection, Database
from chipmunk.errors import BadCursor, BadRequest, NotFound, Unavailable
from chipmunk.openings import Openings
from chipmunk.operations.answers import Answer
from chipmunk.passwords import Passwords
from chipmunk.rates import Limiter
from chipmunk.signing import Seal
from chipmunk.stores import Stores
from gateway.api.documents import Documents
from gateway.api.health import Health
from gateway.api.hub import Hub

DEFAULT_LIMIT, LARGEST_LIMIT = 50, 200
MOST_QUERY_FIELDS = 64
FRESH = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process holds open."""

    settings: Settings
    database: Database
    redis: Any
    authenticator: Authenticator
    limiter: Limiter
    links: Seal
    sessions: Seal
    openings: Openings
    passwords: Passwords
    health: Health
    documents: Documents
    stores: Stores
    hub: Hub
    stopping: asyncio.Event

    def stop(self) -> None:
        """Streams end, so that the process can."""
        self.stopping.set()
        self.hub.wake()


@dataclass(frozen=True)
class Call:
    """One request. `body` is in the shape that its operation takes; `caller` is None where anyone may call."""

    request: Request
    parts: Parts
    headers: dict[str, str]
    caller: Caller | None
    body: Any = None

    @property
    def app(self) -> int:
        return self.known.app_id

    @property
    def within(self) -> int | None:
        """The app that the caller sees; None for the operator, who sees all where an operation lets them."""
        return None if self.known.kind == "operator" else self.app

    @property
    def user(self) -> str | None:
        """The calling user's name; None for the app's backend."""
        return self.known.user

    @property
    def key(self) -> int | None:
        """The calling user's row; None for the app's backend."""
        return self.known.user_id

    @property
    def known(self) -> Caller:
        if self.caller is None:
            raise TypeError("this operation is open to anyone")
        return self.caller

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        return self.parts.database.connection()

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Connection]:
        """A transaction, whose revocations every gateway has been told of when this ends."""
        try:
            async with revocations.revoking(self.parts.database, self.parts.redis) as connection:
                yield connection
        except asyncpg.ForeignKeyViolationError:
            raise NotFound("Something that this call names has been deleted meanwhile.") from None
        except asyncpg.DeadlockDetectedError:
            raise Unavailable() from None

    async def note(self, connection: Connection, action: str, **about: Any) -> None:
        """Adds to the audit log, in the transaction that does it, what the caller does; see `audit.note`."""
        await audit.note(connection, audit.by(self.known), action, **{"app": self.within, **about})

    def name(self, what: str) -> str:
        """A user's or flow's name in the path; one that cannot be is BadRequest where it might be made, else NotFound."""
        text = self.request.path_params[what]
        if self.request.method == "PUT" or ids.NAME.fullmatch(text):
            return ids.name(text, what)
        raise NotFound(f"There is no such {what}.")

    def id(self, what: str) -> UUID:
        """An id in the path, or NotFound."""
        found = ids.parse_id(self.request.path_params[what])
        if found is None:
            raise NotFound(f"There is no such {what}.")
        return found

    def query(self, name: str) -> str | None:
        """A parameter of the query; other ones mean nothing. An empty one is as good as none."""
        values = [v for n, v in self._query if n == name]
        if len(values) > 1:
            raise BadRequest(f"The parameter {name} is there twice.")
        return values[0] if values and values[0] else None

    def queries(self, name: str) -> list[str]:
        """A parameter that may be there several times; empty ones are as good as none."""
        return [v for n, v in self._query if n == name and v]

    @cached_property
    def _query(self) -> list[tuple[str, str]]:
        text = self.request.scope["query_string"].decode("latin-1")
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS, errors="strict")
        except ValueError:
            raise BadRequest("The query is malformed.") from None

    def flag(self, name: str) -> bool:
        """A parameter that is true or false; one that is not there is false."""
        text = self.query(name)
        if text not in (None, "true", "false"):
            raise BadRequest(f"The parameter {name} is true or false.")
        return text == "true"

    def limit(self) -> int:
        text = self.query("limit") or str(DEFAULT_LIMIT)
        if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= LARGEST_LIMIT:
            raise BadRequest(f"limit is a number from 1 to {LARGEST_LIMIT}.")
        return int(text)

    def after_name(self) -> str:
        """The name that the page before ended with; empty on the first page."""
        text = self._cursor("name")
        if text and not ids.NAME.fullmatch(text):
            raise BadCursor()
        return text

    def after_number(self) -> int:
        """The number that the page before ended with; -1 on the first page."""
        text = self._cursor("number")
        if text and not re.fullmatch("[0-9]{1,9}", text):
            raise BadCursor()
        return int(text) if text else -1

    def before_number(self) -> int | None:
        """The number that the page before ended with; None on the first page."""
        text = self._cursor("row")
        if text and not re.fullmatch("[1-9][0-9]{0,17}", text):
            raise BadCursor()
        return int(text) if text else None

    def before_id(self) -> UUID | None:
        """The id that the page before ended with; None on the first page."""
        text = self._cursor("id")
        found = ids.parse_id(text)
        if text and found is None:
            raise BadCursor()
        return found

    def _cursor(self, kind: str) -> str:
        text = self.query("cursor")
        if text is None:
            return ""
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
        except ValueError:
            raise BadCursor() from None
        last = raw.removeprefix(f"{kind}:")
        if not last or following(kind, last) != text:
            raise BadCursor()
        return last


Handler = Callable[[Call], Awaitable[Response]]


def following(kind: str, last: str) -> str:
    """The cursor of the page after one that ended with `last`."""
    return urlsafe_b64encode(f"{kind}:{last}".encode()).rstrip(b"=").decode()


def self_or_app(call: Call, name: str) -> None:
    """A user may ask about themselves; of others they learn nothing, not even whether there are any."""
    if call.user not in (None, name):
        raise NotFound("There is no such user.", user=name)


def put(answer: Answer, status: int = 200, **headers: str) -> Response:
    return JSONResponse(answer, status, {**FRESH, **headers})


def nothing(**headers: str) -> Response:
    return Response(status_code=204, headers={**FRESH, **headers})


def listed(
    found: Sequence[T], limit: int, show: Callable[[T], Answer], kind: str, last: Callable[[T], str]
) -> Response:
    """A page of at most `limit`, of which one more was asked for, so as to know whether there is a next."""
    page = found[:limit]
    cursor = following(kind, last(page[-1])) if len(found) > limit else None
    return put({"items": [show(item) for item in page], "next": cursor})
