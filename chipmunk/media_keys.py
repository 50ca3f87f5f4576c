"""The keys that media's encrypted copies are under, each sealed by the master key. With its media's row it is gone."""

from __future__ import annotations

import json
import os
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.vault import KEY, Vault, fingerprint_of


def _purpose(media: UUID) -> str:
    return f"media {media.hex}"


async def get(connection: Connection, vault: Vault, media: UUID) -> bytes | None:
    """The media's key; None where it has none. CannotOpen where the settings lack its master key."""
    sealed = await connection.fetchval("select sealed from media_keys where media_id = $1", media)
    return None if sealed is None else vault.open(sealed, _purpose(media))


async def made(connection: Connection, vault: Vault, media: UUID) -> bytes:
    """The media's key, which is made where it has none."""
    await connection.execute(
        "insert into media_keys (media_id, sealed, master) values ($1, $2, $3) on conflict do nothing",
        media, vault.seal(os.urandom(KEY), _purpose(media)), vault.fingerprint,
    )  # fmt: skip
    found = await get(connection, vault, media)
    assert found is not None
    return found


async def seal_anew(connection: Connection, vault: Vault, limit: int) -> int:
    """Puts keys that an older master key has sealed under the newest, in the caller's transaction; returns how many."""
    rows = await connection.fetch(
        "select media_id, sealed from media_keys where master <> $1 and master = any($2) limit $3 for update skip locked",
        vault.fingerprint, list(vault.fingerprints), limit,
    )  # fmt: skip
    for media, sealed in rows:
        key = vault.open(sealed, _purpose(media))
        await connection.execute(
            "update media_keys set sealed = $2, master = $3 where media_id = $1",
            media, vault.seal(key, _purpose(media)), vault.fingerprint,
        )  # fmt: skip
    return len(rows)


def backend_purpose(name: str) -> str:
    """What a backend's secret is sealed for."""
    return f"backend {name}"


def secret_of(vault: Vault, name: str, sealed: bytes | None) -> dict[str, str]:
    """A backend's secret, opened; nothing where it has none."""
    found: dict[str, str] = {} if sealed is None else json.loads(vault.open(sealed, backend_purpose(name)))
    return found


async def seal_secrets_anew(connection: Connection, vault: Vault) -> int:
    """As `seal_anew`, of all backends' secrets."""
    done = 0
    for name, sealed in await connection.fetch("select name, secret from backends where secret is not null for update"):
        if fingerprint_of(sealed) in vault.fingerprints[1:]:
            secret = vault.open(sealed, backend_purpose(name))
            fresh = vault.seal(secret, backend_purpose(name))
            await connection.execute("update backends set secret = $2 where name = $1", name, fresh)
            done += 1
    return done
