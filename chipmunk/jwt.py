"""JWTs of an app with its own login: issuer, audience, asymmetric algorithms, keys from a file or a URL.

joserfc and aiohttp are imported where they are used: together they would be a third of every process's start.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from chipmunk.config import Settings
from chipmunk.credentials import Claims
from chipmunk.errors import Unavailable

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

REFETCH_SECONDS = 60.0
KEEP_SECONDS = 3600.0
LARGEST_JWKS = 256 * 1024
LEEWAY_SECONDS = 30
log = structlog.get_logger()


class Keys:
    """The issuer's public keys: kept for an hour, fetched anew for an unknown key id at most once a minute."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def holding(self, key_id: str | None) -> KeySet | None:
        """A set that holds `key_id`, or None. Raises Unavailable where no keys could ever be had."""
        if not self._good_for(key_id):
            async with self._lock:
                if not self._good_for(key_id) and self._clock() - self._tried >= REFETCH_SECONDS:
                    await self._fetch()
        if self._keys is None:
            raise Unavailable("The login's public keys cannot be had.")
        return self._keys if self._knows(key_id) else None

    def _good_for(self, key_id: str | None) -> bool:
        return self._knows(key_id) and self._clock() - self._fetched < KEEP_SECONDS

    def _knows(self, key_id: str | None) -> bool:
        if self._keys is None:
            return False
        known = [k.kid for k in self._keys.keys]
        return key_id in known if key_id is not None else len(known) == 1

    async def _fetch(self) -> None:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        self._tried = self._clock()
        try:
            self._keys = KeySet.import_key_set(json.loads(await self._read()))
            self._fetched = self._clock()
        except (OSError, ValueError, KeyError, TypeError, JoseError) as e:
            log.warning("jwks not read", error=type(e.__cause__ or e).__name__)

    async def _read(self) -> str:
        if not self._source.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(self._source).read_text)
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._source, allow_redirects=False) as answer,
            ):
                answer.raise_for_status()
                return (await answer.content.read(LARGEST_JWKS)).decode()
        except aiohttp.ClientError as e:
            raise OSError("the keys' server does not answer") from e


class Verifier:
    """Verifies a JWT by signature, issuer, audience, exp (required), nbf and iat."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self._algorithms = list(settings.jwt_algorithms)
        self._keys = keys

    async def verify(self, token: str, now: float) -> Claims | None:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            header = _header(token)
            if header.get("alg") not in self._algorithms:
                return None
            keys = await self._keys.holding(header.get("kid"))
            if keys is None:
                return None
            decoded = await asyncio.to_thread(jwt.decode, token, keys, algorithms=self._algorithms)
            return self._claims(decoded.claims, now)
        except (JoseError, ValueError, KeyError, TypeError):
            return None

    def _claims(self, claims: dict[str, Any], now: float) -> Claims | None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        times: list[Any] = [claims.get("exp"), claims.get("iat", 0), claims.get("nbf", 0)]
        if not all(isinstance(t, int | float) and not isinstance(t, bool) for t in times):
            return None
        expires, issued, not_before = (float(t) for t in times)
        subject = claims.get("sub")
        if not isinstance(subject, str):
            return None
        good = (
            claims.get("iss") == self._issuer
            and self._audience in audiences
            and now < expires
            and max(issued, not_before) <= now + LEEWAY_SECONDS
        )
        return Claims(subject, issued, expires) if good else None


def _header(token: str) -> dict[str, Any]:
    from joserfc.jws import extract_compact

    return dict(extract_compact(token.encode()).headers())


def verifier(settings: Settings) -> Verifier | None:
    """The verifier of these settings; None where no issuer is set."""
    if not settings.jwt_issuer:
        return None
    return Verifier(settings, Keys(settings.jwt_jwks))
