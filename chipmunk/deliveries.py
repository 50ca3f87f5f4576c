"""Deliveries: what a webhook is still to be told, in order for each media, and what it could not be told: dead letters.

The database's triggers write them, in the transaction that does what they tell of: see
docs/decisions/0016-what-apps-are-told.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from chipmunk.db import Connection
from chipmunk.errors import Conflict, NotFound
from chipmunk.webhooks import Webhook

State = Literal["pending", "dead"]
PING = "ping"
KEPT_DAYS = 30  # dead letters
MOST_RETRIED = 10_000
COUNTED = 10_000
LATEST = UUID(int=2**128 - 1)
COLUMNS = """
    d.number, d.id, d.webhook_id, d.subject, d.type, d.data, d.at, d.state, d.attempts, d.next_at, d.tried_at, d.error,
    d.status
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """`subject` is the media or job that it is about. `next_at` is when it is tried, or, while it is, when its lease ends."""

    number: int
    id: UUID
    webhook: int
    subject: UUID | None
    type: str
    data: dict[str, Any]
    at: datetime
    state: State
    attempts: int
    next_at: datetime
    tried_at: datetime | None
    error: str | None
    status: int | None

    @property
    def body(self) -> bytes:
        """What the app is sent, the same at each attempt."""
        at = self.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        told = {"type": self.type, "timestamp": at, "data": self.data}
        return json.dumps(told, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Standing:
    """How much waits, up to COUNTED, and since when."""

    pending: int
    dead: int
    oldest_at: datetime | None


def as_delivery(row: object) -> Delivery:
    """Of a row with these COLUMNS."""
    return Delivery(*row)  # type: ignore[misc]


async def ping(connection: Connection, webhook: Webhook) -> Delivery:
    """Has a `ping` delivered. Conflict where the webhook is not enabled."""
    if not webhook.enabled:
        raise Conflict("The webhook is not enabled.", webhook=webhook.id)
    row = await connection.fetchrow(
        f"""
        insert into webhook_deliveries as d (webhook_id, type, data) values ($1, $2, $3) returning {COLUMNS}
        """,
        webhook.key, PING, {"webhook": webhook.id},
    )  # fmt: skip
    return as_delivery(row)


async def page(
    connection: Connection, webhook: int, state: State | None, before: UUID | None, limit: int
) -> list[Delivery]:
    """The webhook's, newest first, from just below `before` on."""
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from unnest($2::text[]) as wanted (state) cross join lateral (
            select * from webhook_deliveries x where x.webhook_id = $1 and x.state = wanted.state and x.id < $3
            order by x.id desc limit $4) d
        order by d.id desc limit $4
        """,
        webhook, ["pending", "dead"] if state is None else [state], before or LATEST, limit,
    )  # fmt: skip
    return [as_delivery(r) for r in rows]


async def retry(connection: Connection, webhook: int, delivery: UUID) -> Delivery:
    """Has it tried at once, and a dead one as often again; NotFound where it is none, or was delivered meanwhile."""
    row = await connection.fetchrow(
        f"""
        update webhook_deliveries d set state = 'pending', attempts = case when state = 'dead' then 0 else attempts end,
               next_at = case when leased_until > now() then next_at else now() end
        where webhook_id = $1 and id = $2 returning {COLUMNS}
        """,
        webhook, delivery,
    )  # fmt: skip
    if row is None:
        raise NotFound("There is no such delivery.", delivery=delivery.hex)
    return as_delivery(row)


async def retry_dead(connection: Connection, webhook: int) -> int:
    """Has the oldest dead letters tried again, MOST_RETRIED of them at most, and returns how many."""
    rows = await connection.fetch(
        """
        update webhook_deliveries set state = 'pending', attempts = 0, next_at = now()
        where number in (select number from webhook_deliveries where webhook_id = $1 and state = 'dead' order by id limit $2)
        returning 1
        """,
        webhook, MOST_RETRIED,
    )  # fmt: skip
    return len(rows)


async def standing(connection: Connection, webhook: int) -> Standing:
    row = await connection.fetchrow(
        """
        select (select count(*) from (select from webhook_deliveries
                                      where webhook_id = $1 and state = 'pending' limit $2) p),
               (select count(*) from (select from webhook_deliveries
                                      where webhook_id = $1 and state = 'dead' limit $2) q),
               (select at from webhook_deliveries where webhook_id = $1 and state = 'pending' order by id limit 1)
        """,
        webhook, COUNTED,
    )  # fmt: skip
    return Standing(*row)


async def waiting(connection: Connection) -> tuple[int, int, float]:
    """Of all webhooks that are enabled: how many are pending, how many dead, and the age of the oldest pending, in seconds."""
    row = await connection.fetchrow(
        """
        select count(*) filter (where d.state = 'pending'), count(*) filter (where d.state = 'dead'),
               coalesce(extract(epoch from now() - min(d.at) filter (where d.state = 'pending')), 0)::float8
        from webhook_deliveries d join webhooks w on w.id = d.webhook_id where w.enabled
        """
    )
    return row[0], row[1], row[2]


async def forget_old(connection: Connection) -> None:
    """Takes dead letters of long ago, and what was written for a webhook while it was deleted."""
    await connection.execute(
        "delete from webhook_deliveries where state = 'dead' and tried_at < now() - make_interval(days => $1)",
        KEPT_DAYS,
    )
    await connection.execute(
        """
        with recursive told (id) as (
            select min(webhook_id) from webhook_deliveries
            union all
            select (select min(d.webhook_id) from webhook_deliveries d where d.webhook_id > told.id) from told
            where told.id is not null)
        delete from webhook_deliveries where webhook_id = any(array(
            select id from told where id is not null and not exists (select from webhooks w where w.id = told.id)))
        """
    )
