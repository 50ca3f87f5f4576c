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

from itsdangerous import Signer

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
        self._derived = [self._signer.derive_key(key) for key in reversed(oldest_first)]

    def sign(self, identifier: UUID) -> str:
        """The one spelling of this identifier."""
        return self._signer.sign(urlsafe_b64encode(identifier.bytes).rstrip(b"=")).decode()

    def open(self, text: str) -> UUID | None:
        """The identifier, or None for anything that was not signed by one of the keys in just this spelling.

        As `Signer.unsign` does it, but with keys that are derived once, and against the spelling of what signing gives.
        """
        if len(text) != TOTAL or not text.isascii() or text[BODY] != ".":
            return None
        body, signature = text[:BODY].encode(), text[BODY + 1 :].encode()
        if not any(hmac.compare_digest(_signature(key, body), signature) for key in self._derived):
            return None
        raw = urlsafe_b64decode(body + b"==")
        return UUID(bytes=raw) if urlsafe_b64encode(raw).rstrip(b"=") == body else None


def _signature(key: bytes, body: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, body, "sha256")).rstrip(b"=")


def random_identifier() -> UUID:
    """128 random bits; a plain container, not one of the UUID versions."""
    return UUID(bytes=secrets.token_bytes(16))


def digest(secret: str) -> bytes:
    """What is kept of a key or token: SHA-256, enough for a secret with 128 random bits or more."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def same(a: str, b: str) -> bool:
    """Compares secrets in constant time."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
