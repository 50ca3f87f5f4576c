"""Signed random identifiers: what a URL or a cookie carries, told from a forgery without asking any store.

A signed identifier is `base64url(16 random bytes) . base64url(HMAC-SHA256)`, without padding: 66 characters.
base64url leaves bits over in a last character, so that several spellings decode to the same signature; only the one
that signing gives is accepted.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from uuid import UUID

from itsdangerous import BadSignature, Signer

BODY, TOTAL = 22, 66


class Seal:
    """Signs and opens identifiers of one purpose; `keys` newest first: the first signs, all verify."""

    def __init__(self, keys: Sequence[str], purpose: str) -> None:
        if not keys:
            raise ValueError("a signing key is needed")
        oldest_first = [k.encode() for k in reversed(keys)]
        self._signer = Signer(
            oldest_first, salt=f"chipmunk.{purpose}", key_derivation="hmac", digest_method=hashlib.sha256
        )

    def sign(self, identifier: UUID) -> str:
        """The one spelling of this identifier."""
        return self._signer.sign(urlsafe_b64encode(identifier.bytes).rstrip(b"=")).decode()

    def open(self, text: str) -> UUID | None:
        """The identifier, or None for anything that was not signed by one of the keys in just this spelling."""
        if len(text) != TOTAL or not text.isascii():
            return None
        try:
            body = self._signer.unsign(text.encode())
        except BadSignature:
            return None
        raw = urlsafe_b64decode(body + b"==")
        signature = text[BODY + 1 :]
        canonical = urlsafe_b64encode(urlsafe_b64decode(signature + "=")).rstrip(b"=").decode()
        if urlsafe_b64encode(raw).rstrip(b"=") != body or canonical != signature:
            return None
        return UUID(bytes=raw)


def random_identifier() -> UUID:
    """128 random bits; a plain container, not one of the UUID versions."""
    return UUID(bytes=secrets.token_bytes(16))


def digest(secret: str) -> bytes:
    """What is kept of a key or token: SHA-256, enough for a secret with 128 random bits or more."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def same(a: str, b: str) -> bool:
    """Compares secrets in constant time."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
