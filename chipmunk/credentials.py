"""Credentials: what a request brings, and whose call that makes it.

Authorization beats the cookie and never falls back to it. A credential that is there but not good is not none:
`Presented.token` is then a text that no lookup will find.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from chipmunk import apps, revocations
from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, ScopeMissing, Unauthorized
from chipmunk.signing import Seal, digest, same

SCOPES = ("view", "upload", "manage")
SESSION, API_KEY, OPERATOR = "cms_", "cmk_", "cmo_"
COOKIE = "chipmunk_session"
LONGEST = 8192

Scope = Literal["view", "upload", "manage"]


@dataclass(frozen=True, slots=True)
class Presented:
    """The one credential of a request that counts; an empty token is none at all."""

    token: str
    by_cookie: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call this is. `expires_at` is Unix time; `user_id` and `user` are None unless `kind` is user."""

    kind: Literal["operator", "app", "user"]
    app_id: int
    user_id: int | None = None
    user: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)
    session_id: UUID | None = None
    expires_at: float | None = None

    def need(self, scope: Scope) -> None:
        """Raises unless the caller may do what `scope` stands for."""
        if self.kind == "operator":
            raise Forbidden("The operator's key does not act for apps or users.")
        if scope not in self.scopes:
            raise ScopeMissing(scope=scope)

    def need_app(self) -> None:
        """Raises unless an app's backend calls."""
        if self.kind != "app":
            raise Forbidden("Only the app's backend may do that, with its API key.")

    def need_operator(self) -> None:
        if self.kind != "operator":
            raise Forbidden("Only the operator may do that.")


class TokenVerifier(Protocol):
    """Tells who a JWT speaks for; None where it is not good."""

    async def verify(self, token: str, now: float) -> Claims | None: ...


@dataclass(frozen=True, slots=True)
class Claims:
    """What counts of a verified JWT; times are Unix time."""

    subject: str
    issued_at: float
    expires_at: float


def presented(authorization: str | None, cookie: str | None) -> Presented:
    """Picks the credential: the Authorization header where there is one, whatever it holds."""
    if authorization:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        good = scheme.lower() == "bearer" and token and len(token) <= LONGEST
        return Presented(token if good else "-", by_cookie=False)
    return Presented((cookie or "")[:LONGEST], by_cookie=bool(cookie))


class Authenticator:
    """Finds the caller of a token. It keeps no memory: the authorizer puts its cache around it."""

    def __init__(self, settings: Settings, seal: Seal, jwts: TokenVerifier | None = None) -> None:
        self._operator_key = settings.operator_key
        self._seal = seal
        self._jwts = jwts

    def could_be(self, token: str) -> bool:
        """Whether a token is worth a lookup: a session that we signed, a key, or something shaped like a JWT."""
        if token.startswith(SESSION):
            return self._seal.open(token.removeprefix(SESSION)) is not None
        return token.startswith((API_KEY, OPERATOR)) or (self._jwts is not None and token.count(".") == 2)

    async def caller(self, connections: Any, token: str, now: float) -> Caller | None:
        """The caller, or None. `connections` is a Database; a forged session or JWT does not touch it."""
        if not self.could_be(token):
            return None
        if token.startswith(SESSION):
            async with connections.connection() as connection:
                return await _by_session(connection, token)
        if token.startswith(API_KEY):
            async with connections.connection() as connection:
                return await _by_api_key(connection, token)
        if token.startswith(OPERATOR):
            good = bool(self._operator_key) and same(token, self._operator_key)
            return Caller("operator", 0, scopes=frozenset()) if good else None
        if self._jwts is None:
            return None
        claims = await self._jwts.verify(token, now)
        if claims is None:
            return None
        async with connections.connection() as connection:
            return await _by_claims(connection, claims)

    async def need(self, connections: Any, given: Presented, now: float) -> Caller:
        """The caller, or Unauthorized."""
        caller = await self.caller(connections, given.token, now) if given.token else None
        if caller is None:
            raise Unauthorized()
        return caller


async def _by_session(connection: Connection, token: str) -> Caller | None:
    row = await connection.fetchrow(
        """
        select s.id, s.user_id, s.scopes, s.expires_at, u.app_id, u.name
        from session_tokens t join sessions s on s.id = t.session_id join users u on u.id = s.user_id
        where t.hash = $1 and s.expires_at > now() and not u.suspended and u.deleted_at is null
        """,
        digest(token),
    )
    if row is None:
        return None
    return Caller(
        "user", row["app_id"], row["user_id"], row["name"],
        frozenset(row["scopes"]), row["id"], row["expires_at"].timestamp(),
    )  # fmt: skip


async def _by_api_key(connection: Connection, token: str) -> Caller | None:
    app = await connection.fetchval("select app_id from api_keys where hash = $1", digest(token))
    return None if app is None else Caller("app", app)


async def _by_claims(connection: Connection, claims: Claims) -> Caller | None:
    row = await connection.fetchrow(
        """
        select u.id, u.app_id, u.name from users u
        where u.app_id = (select id from apps where name = $1) and u.name = $2
          and not u.suspended and u.deleted_at is null
          and (u.jwt_not_before is null or u.jwt_not_before <= $3)
          and not exists (select from departures d where d.app_id = u.app_id
                          and d.name_hash = sha256(convert_to(u.name, 'UTF8')) and d.at > $3)
        """,
        apps.DEFAULT,
        claims.subject,
        datetime.fromtimestamp(claims.issued_at, UTC),
    )
    if row is None:
        return None
    return Caller("user", row["app_id"], row["id"], row["name"], expires_at=claims.expires_at)


async def keep_api_key(connection: Connection, key: str) -> None:
    """Makes `key` the default app's only key; one that it replaces is revoked."""
    app = await apps.default_app(connection)
    async with connection.transaction():
        gone = await connection.fetch(
            "delete from api_keys where app_id = $1 and hash <> $2 returning 1", app, digest(key)
        )
        await connection.execute(
            "insert into api_keys (hash, app_id) values ($1, $2) on conflict do nothing", digest(key), app
        )
        if gone:
            await revocations.revoke(connection, f"key:{app}")
