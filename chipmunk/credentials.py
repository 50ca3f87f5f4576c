"""Credentials: what a request brings, and whose call that makes it.

Authorization beats the cookie and never falls back to it. A credential that is there but not good is not none:
`Presented.token` is then a text that no lookup will find.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from chipmunk import apps, keys
from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.errors import Forbidden, ScopeMissing, Unauthorized
from chipmunk.signing import Seal, digest, same

SCOPES = ("view", "upload", "manage")
SESSION, API_KEY, OPERATOR = "cms_", keys.PREFIX, "cmo_"
COOKIE = "chipmunk_session"
LONGEST = 8192

Scope = Literal["view", "upload", "manage"]


@dataclass(frozen=True, slots=True)
class Presented:
    """The one credential of a request that counts; an empty token is none at all."""

    token: str
    by_cookie: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """How much all of an app may call and upload in a minute; None: as much as its users and keys may."""

    calls: int | None = None
    uploads: int | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call this is. `expires_at` is Unix time; `user_id` and `user` are None unless `kind` is user, `key_id`
    unless it is app. `limits` are those of the app."""

    kind: Literal["operator", "app", "user"]
    app_id: int
    user_id: int | None = None
    user: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)
    session_id: UUID | None = None
    expires_at: float | None = None
    key_id: UUID | None = None
    limits: Limits = UNLIMITED

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
        select s.id, s.user_id, s.scopes, s.expires_at, u.app_id, u.name, a.calls_per_minute, a.uploads_per_minute
        from session_tokens t join sessions s on s.id = t.session_id join users u on u.id = s.user_id
             join apps a on a.id = u.app_id
        where t.hash = $1 and s.expires_at > now() and not u.suspended and u.deleted_at is null
        """,
        digest(token),
    )
    if row is None:
        return None
    return Caller(
        "user", row["app_id"], row["user_id"], row["name"],
        frozenset(row["scopes"]), row["id"], row["expires_at"].timestamp(), limits=limits(row),
    )  # fmt: skip


async def _by_api_key(connection: Connection, token: str) -> Caller | None:
    row = await connection.fetchrow(
        f"""
        select k.id, k.app_id, k.scopes, k.expires_at, a.calls_per_minute, a.uploads_per_minute
        from api_keys k join apps a on a.id = k.app_id where k.hash = $1 and {keys.VALID}
        """,
        digest(token),
    )
    return None if row is None else by_key(row)


def by_key(row: Mapping[str, Any]) -> Caller:
    """The app that a row of its keys makes the caller, within that key's scopes."""
    expires_at = None if row["expires_at"] is None else row["expires_at"].timestamp()
    return Caller(
        "app", row["app_id"], scopes=keys.may(row["scopes"]), expires_at=expires_at, key_id=row["id"], limits=limits(row)
    )  # fmt: skip


def limits(row: Mapping[str, Any]) -> Limits:
    """Those of the app that a row tells of."""
    calls, uploads = row["calls_per_minute"], row["uploads_per_minute"]
    return UNLIMITED if calls is None and uploads is None else Limits(calls, uploads)


async def every_key(connection: Connection) -> dict[bytes, Caller]:
    """All keys that are good now, by their hash, for the authorizer."""
    rows = await connection.fetch(
        f"""
        select k.hash, k.id, k.app_id, k.scopes, k.expires_at, a.calls_per_minute, a.uploads_per_minute
        from api_keys k join apps a on a.id = k.app_id where {keys.VALID}
        """
    )
    return {row["hash"]: by_key(row) for row in rows}


async def _by_claims(connection: Connection, claims: Claims) -> Caller | None:
    row = await connection.fetchrow(
        """
        select u.id, u.app_id, u.name, a.calls_per_minute, a.uploads_per_minute
        from users u join apps a on a.id = u.app_id
        where a.name = $1 and a.deleted_at is null and u.name = $2
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
    return Caller(
        "user", row["app_id"], row["id"], row["name"], expires_at=claims.expires_at, limits=limits(row)
    )  # fmt: skip
