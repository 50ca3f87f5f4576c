"""Recipients of mails. What is kept of an address is a keyed hash: no address, but the same for the same mailbox.

Its key is random and lies in the database, sealed by the master key, so that who unsubscribed stays so when keys rotate.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from uuid import UUID

from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.signing import Seal
from chipmunk.vault import KEY, Vault, fingerprint_of

PURPOSE = "recipients"


def normal(text: str) -> str | None:
    """The one address that this is, as SMTP without extensions has it; None where it is none."""
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True).ascii_email
    except EmailNotValidError:
        return None


def mailbox(address: str) -> str:
    """What mails to this address end up in: most servers take upper for lower case, and drop what follows a plus."""
    local, _, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


async def known_as(connection: Connection, vault: Vault, address: str) -> UUID:
    """The keyed hash of the address's mailbox."""
    hashed = hmac.digest(await _key(connection, vault), mailbox(address).encode(), hashlib.sha256)
    return UUID(bytes=hashed[:16])


async def _key(connection: Connection, vault: Vault) -> bytes:
    sealed = await connection.fetchval("select sealed from recipient_key")
    if sealed is None:
        await connection.execute(
            "insert into recipient_key (sealed) values ($1) on conflict do nothing",
            vault.seal(os.urandom(KEY), PURPOSE),
        )
        sealed = await connection.fetchval("select sealed from recipient_key")
    return vault.open(sealed, PURPOSE)


async def seal_anew(connection: Connection, master_keys: Sequence[str]) -> int:
    """Puts the key under the newest master key, in the caller's transaction; returns how many that were."""
    sealed = await connection.fetchval("select sealed from recipient_key for update")
    if sealed is None:
        return 0
    vault = Vault(master_keys)
    if fingerprint_of(sealed) not in vault.fingerprints[1:]:
        return 0
    await connection.execute("update recipient_key set sealed = $1", vault.seal(vault.open(sealed, PURPOSE), PURPOSE))
    return 1


def leaving(settings: Settings) -> Seal:
    """Signs and opens what a recipient unsubscribes by."""
    return Seal(settings.secret_keys, "unsubscribe")


async def unsubscribe(connection: Connection, recipient: UUID) -> None:
    """No mail is sent there any more. Again is fine."""
    await connection.execute("insert into unsubscribed (recipient) values ($1) on conflict do nothing", recipient)
