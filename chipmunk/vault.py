"""Secrets at rest: sealed by a master key that is in the settings and never in the database.

A sealed secret is `version (1) · fingerprint of the master key (8) · salt (16) · AES-256-GCM (secret, tag)`. Key and
nonce come from the master key, the salt and the purpose by HKDF-SHA256 (RFC 5869), so that no two secrets share them and
what was sealed for one purpose does not open for another. OpenSSL's eight megabytes come with the first secret.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
FINGERPRINT, SALT, KEY, NONCE, TAG = 8, 16, 32, 12, 16
HEADER = len(VERSION) + FINGERPRINT + SALT


class CannotOpen(Exception):
    """A sealed secret does not open."""


class UnknownMasterKey(CannotOpen):
    """None of the master keys in the settings has sealed it."""


class Vault:
    """Seals and opens; `master_keys` newest first: the first seals, all open."""

    def __init__(self, master_keys: Sequence[str]) -> None:
        if not master_keys:
            raise ValueError("a master key is needed")
        self._master_keys = [key.encode() for key in master_keys]

    @cached_property
    def _keys(self) -> dict[str, bytes]:
        return {derived(key, b"", b"chipmunk.fingerprint", FINGERPRINT).hex(): key for key in self._master_keys}

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @property
    def fingerprint(self) -> str:
        """What may be told of the newest master key: which one it is, nothing else of it."""
        return self.fingerprints[0]

    def seal(self, data: bytes, purpose: str) -> bytes:
        header = VERSION + bytes.fromhex(self.fingerprint) + os.urandom(SALT)
        cipher, nonce = self._cipher(header, purpose)
        return header + cipher.encrypt(nonce, data, header)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What was sealed for this purpose. Raises UnknownMasterKey, or CannotOpen where it is not as it was sealed."""
        from cryptography.exceptions import InvalidTag

        header = sealed[:HEADER]
        cipher, nonce = self._cipher(header, purpose, fingerprint_of(sealed))
        try:
            return cipher.decrypt(nonce, sealed[HEADER:], header)
        except InvalidTag:
            raise CannotOpen(f"the secret is not as it was sealed for {purpose!r}") from None

    def _cipher(self, header: bytes, purpose: str, fingerprint: str = "") -> tuple[AESGCM, bytes]:
        fingerprint = fingerprint or self.fingerprint
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if fingerprint not in self._keys:
            raise UnknownMasterKey(f"it was sealed by master key {fingerprint}, which CHIPMUNK_MASTER_KEYS lacks")
        secret = derived(self._keys[fingerprint], header[-SALT:], b"chipmunk.vault." + purpose.encode(), KEY + NONCE)
        return AESGCM(secret[:KEY]), secret[KEY:]


def fingerprint_of(sealed: bytes) -> str:
    """The fingerprint of the master key that has sealed it; CannotOpen for what is no sealed secret."""
    if len(sealed) < HEADER + TAG or not sealed.startswith(VERSION):
        raise CannotOpen("this is no sealed secret")
    return sealed[len(VERSION) : len(VERSION) + FINGERPRINT].hex()


def derived(key: bytes, salt: bytes, info: bytes, length: int = KEY) -> bytes:
    """HKDF-SHA256. `key` has the entropy already: this is no slow hash for passwords."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)
