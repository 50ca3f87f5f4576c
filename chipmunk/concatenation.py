"""Resumable uploads that are made of others: parts that came at the same time become one, and are spent by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from chipmunk import uploads
from chipmunk.db import Connection
from chipmunk.errors import NotFound
from chipmunk.uploads import New, Upload


async def make(connection: Connection, new: New, life: timedelta) -> Upload | None:
    """Makes a final upload of the user's partial ones, which are spent by it; None where one cannot be had (any more).

    In the transaction that puts one reservation in the place of theirs.
    """
    spent = await connection.fetch(
        f"""
        update uploads set state = 'ingesting', expires_at = greatest(expires_at, now() + $3)
        where id = any($1::uuid[]) and user_id = $2 and concat = 'partial' and state = 'open' and length = "offset"
          and {uploads.FREE} returning 1
        """,
        list(new.parts), new.user_id, life,
    )  # fmt: skip
    return await uploads.create(connection, new, life) if len(spent) == len(new.parts) else None


async def made_before(connection: Connection, user: int, given: Sequence[UUID]) -> Upload | None:
    """The final upload that was made of these parts before."""
    row = await connection.fetchrow(
        f"""
        select {uploads.COLUMNS} from uploads where user_id = $1 and concat = 'final' and parts = $2::uuid[]
           and state <> 'failed' and expires_at > now()
        """,
        user, list(given),
    )  # fmt: skip
    return None if row is None else uploads.of_row(row)


async def parts(connection: Connection, app: int, user: int, given: Sequence[UUID]) -> list[Upload]:
    """The user's uploads of these ids, in this order; NotFound where one is not there."""
    rows = await connection.fetch(
        f"""
        select {uploads.COLUMNS} from uploads where id = any($1::uuid[]) and app_id = $2 and user_id = $3
           and kind = '{uploads.KIND}' and expires_at > now()
        """,
        list(given), app, user,
    )  # fmt: skip
    found = {row["id"]: uploads.of_row(row) for row in rows}
    for part in given:
        if part not in found:
            raise NotFound("There is no such upload.", upload=part.hex)
    return [found[part] for part in given]
