"""Idempotency keys: a repeated upload of one user gets the first one's answer, for a day."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.errors import KeyReused, UploadRunning

KEPT = timedelta(hours=24)
HELD = timedelta(minutes=2)

Answer = dict[str, Any]


async def claim(connection: Connection, user: int, key: str, fingerprint: bytes, media: UUID) -> Answer | None:
    """Holds the key for the upload that will be `media`, for two minutes; or returns the answer that it has already.

    Again is fine for the upload that holds it.

    KeyReused where another body came under it, UploadRunning where an upload holds it.
    """
    held = await connection.fetchval(
        """
        insert into idempotency_keys as k (user_id, key, fingerprint, media_id, held_until, expires_at)
        values ($1, $2, $3, $4, now() + $5, now() + $6)
        on conflict (user_id, key) do update
           set fingerprint = $3, media_id = $4, answer = null, held_until = now() + $5, expires_at = now() + $6
         where k.expires_at <= now() or (k.answer is null and (k.held_until <= now() or k.media_id = $4))
        returning 1
        """,
        user, key, fingerprint, media, HELD, KEPT,
    )  # fmt: skip
    if held is not None:
        return None
    row = await connection.fetchrow(
        "select fingerprint, answer from idempotency_keys where user_id = $1 and key = $2", user, key
    )
    if row is not None and row["fingerprint"] != fingerprint:
        raise KeyReused()
    if row is None or row["answer"] is None:
        raise UploadRunning()
    answer: Answer = json.loads(row["answer"])
    return answer


async def answered(connection: Connection, user: int, key: str) -> bool:
    """Whether the key has its answer, whatever body comes with it now; UploadRunning where an upload holds it."""
    row = await connection.fetchrow(
        """
        select answer is not null as answered, held_until > now() as held from idempotency_keys
        where user_id = $1 and key = $2 and expires_at > now()
        """,
        user, key,
    )  # fmt: skip
    if row is not None and row["held"] and not row["answered"]:
        raise UploadRunning()
    return row is not None and row["answered"]


async def keep(connection: Connection, user: int, key: str, media: UUID) -> None:
    """Holds on to the key for two more minutes."""
    await connection.execute(
        """
        update idempotency_keys set held_until = now() + $4
        where user_id = $1 and key = $2 and media_id = $3 and answer is null
        """,
        user, key, media, HELD,
    )  # fmt: skip


async def answer(connection: Connection, user: int, key: str, media: UUID, answer: Answer) -> None:
    """In the transaction that stores the media: what a repeat will get. UploadRunning where the key was lost."""
    done = await connection.fetchval(
        """
        update idempotency_keys set answer = $4, expires_at = now() + $5
        where user_id = $1 and key = $2 and media_id = $3 and answer is null returning 1
        """,
        user, key, media, json.dumps(answer), KEPT,
    )  # fmt: skip
    if done is None:
        raise UploadRunning()


async def drop(connection: Connection, user: int, key: str, media: UUID) -> None:
    """The upload failed: its key is free again."""
    await connection.execute(
        "delete from idempotency_keys where user_id = $1 and key = $2 and media_id = $3 and answer is null",
        user, key, media,
    )  # fmt: skip


async def forget_expired(connection: Connection) -> None:
    await connection.execute("delete from idempotency_keys where expires_at < now()")
