"""Webhooks: the addresses at which an app wants to be told of what happens, and the secrets that sign what it is told.

Headers and signatures are those of Standard Webhooks (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.errors import Conflict, NotFound, Unprocessable
from chipmunk.vault import Vault, fingerprint_of

Event = Literal[
    "media.created", "media.ready", "media.failed", "media.trashed", "media.restored", "media.deleted", "media.reviewed",
    "job.completed", "job.failed", "job.failed_partial", "job.cancelled",
]  # fmt: skip
MOST = 20  # of an app
BOTH_SIGN = timedelta(hours=24)
SECRET_BYTES = 32
PREFIX = "whsec_"
COLUMNS = """
    id, app_id, name, url, events, enabled, gone, secret, before, before_until, last_success_at, last_failure_at,
    last_error, last_status, failing_since, created_at
"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """`key` is the row, `id` the name that the app chose. `events` None: all. `gone`: its server said so, which disabled it.

    `secret` and `before`, which it replaced, are sealed.
    """

    key: int
    app_id: int
    id: str
    url: str
    events: list[str] | None
    enabled: bool
    gone: bool
    secret: bytes
    before: bytes | None
    before_until: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    last_status: int | None
    failing_since: datetime | None
    created_at: datetime


def _webhook(row: object) -> Webhook:
    return Webhook(*row)  # type: ignore[misc]


def _purpose(app: int, name: str) -> str:
    return f"webhook {app} {name}"


def new_secret() -> str:
    return PREFIX + b64encode(os.urandom(SECRET_BYTES)).decode()


def signed(secrets: Sequence[str], message: UUID, at: int, body: bytes) -> dict[str, str]:
    """The headers that prove a message to who has one of the secrets; `at` is Unix time in seconds."""
    content = b"%s.%d.%s" % (message.hex.encode(), at, body)
    keys = [b64decode(secret.removeprefix(PREFIX)) for secret in secrets]
    signatures = [b64encode(hmac.digest(key, content, sha256)).decode() for key in keys]
    return {
        "webhook-id": message.hex,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def secrets_of(found: Webhook, vault: Vault, now: datetime) -> list[str]:
    """What signs now, the newest first. CannotOpen where the settings lack its master key."""
    sealed = [found.secret]
    if found.before is not None and found.before_until is not None and now < found.before_until:
        sealed.append(found.before)
    return [vault.open(one, _purpose(found.app_id, found.id)).decode() for one in sealed]


async def get(connection: Connection, app: int, name: str, *, lock: bool = False) -> Webhook:
    """The app's webhook of that name, or NotFound; with `lock` nobody else changes it until the transaction ends."""
    locked = "for no key update" if lock else ""
    query = f"select {COLUMNS} from webhooks where app_id = $1 and name = $2 {locked}"
    row = await connection.fetchrow(query, app, name)
    if row is None:
        raise NotFound("There is no such webhook.", webhook=name)
    return _webhook(row)


async def find(connection: Connection, keys: Sequence[int]) -> dict[int, Webhook]:
    """Those of these rows that are there, whoever's they are: for the worker."""
    rows = await connection.fetch(f"select {COLUMNS} from webhooks where id = any($1::bigint[])", list(keys))
    return {row["id"]: _webhook(row) for row in rows}


async def every(connection: Connection, app: int) -> list[Webhook]:
    """All of the app's, by name."""
    return [
        _webhook(r)
        for r in await connection.fetch(f"select {COLUMNS} from webhooks where app_id = $1 order by name", app)
    ]


async def put(
    connection: Connection,
    vault: Vault,
    app: int,
    name: str,
    *,
    url: str | None,
    events: Sequence[str] | None,
    enabled: bool | None,
    given: frozenset[str],
) -> tuple[Webhook, str | None]:
    """Makes the webhook or changes what is `given`. Returns it, and its secret where it is new.

    Unprocessable for a new one without a `url`, Conflict where the app has as many as it may.
    """
    await connection.execute("select from apps where id = $1 for no key update", app)
    row = await connection.fetchrow(
        f"""
        update webhooks set url = coalesce($3, url), events = case when $6 then $4 else events end,
               enabled = coalesce($5, enabled), gone = gone and not coalesce($5, false)
        where app_id = $1 and name = $2 returning {COLUMNS}
        """,
        app, name, url, events, enabled, "events" in given,
    )  # fmt: skip
    if row is not None:
        return _webhook(row), None
    if url is None:
        raise Unprocessable("A new webhook needs a URL.", field="url")
    if await connection.fetchval("select count(*) from webhooks where app_id = $1", app) >= MOST:
        raise Conflict(f"An app has {MOST} webhooks at most.", limit=MOST)
    secret = new_secret()
    row = await connection.fetchrow(
        f"""
        insert into webhooks (app_id, name, url, events, enabled, secret) values ($1, $2, $3, $4, coalesce($5, true), $6)
        returning {COLUMNS}
        """,
        app, name, url, events, enabled, vault.seal(secret.encode(), _purpose(app, name)),
    )  # fmt: skip
    return _webhook(row), secret


async def rotate(connection: Connection, vault: Vault, app: int, name: str) -> tuple[Webhook, str]:
    """Gives it a new secret, which is returned; the one that it had signs beside that for a day, an older one no more."""
    secret = new_secret()
    row = await connection.fetchrow(
        f"""
        update webhooks set before = secret, before_until = now() + $4::interval, secret = $3
        where app_id = $1 and name = $2 returning {COLUMNS}
        """,
        app, name, vault.seal(secret.encode(), _purpose(app, name)), BOTH_SIGN,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such webhook.", webhook=name)
    return _webhook(row), secret


async def delete(connection: Connection, app: int, name: str) -> None:
    """Takes it and all that it was still to be told, or NotFound."""
    key = await connection.fetchval("delete from webhooks where app_id = $1 and name = $2 returning id", app, name)
    if key is None:
        raise NotFound("There is no such webhook.", webhook=name)
    await connection.execute("delete from webhook_deliveries where webhook_id = $1", key)


async def seal_anew(connection: Connection, vault: Vault) -> int:
    """Forgets secrets that sign no more, puts those under the newest master key that an older one has sealed, and returns
    how many."""
    await connection.execute("update webhooks set before = null, before_until = null where before_until <= now()")
    rows = await connection.fetch("select id, app_id, name, secret, before from webhooks")
    done = 0
    for key, app, name, *both in rows:
        fresh = [_anew(vault, sealed, _purpose(app, name)) for sealed in both]
        if fresh != both:
            await connection.execute(
                "update webhooks set secret = $2, before = $3 where id = $1 and secret = $4", key, *fresh, both[0]
            )
            done += 1
    return done


def _anew(vault: Vault, sealed: bytes | None, purpose: str) -> bytes | None:
    if sealed is None or fingerprint_of(sealed) not in vault.fingerprints[1:]:
        return sealed
    return vault.seal(vault.open(sealed, purpose), purpose)
