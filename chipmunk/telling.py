"""How deliveries are made: a worker leases what is due, tells of it, and notes how that went.

A lease ends by itself, so that what a worker died of is tried again. Everybody takes a webhook's row before those of its
deliveries.
"""

from __future__ import annotations

from datetime import timedelta

from chipmunk.db import Connection
from chipmunk.deliveries import COLUMNS, Delivery, State, as_delivery

AT_ONCE = 4  # of one webhook; one where its last attempt failed
PUT_OFF = 5000
LEASE = timedelta(seconds=60)  # longer than any attempt takes
AFTER = tuple(
    timedelta(seconds=s)
    for s in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)  # fmt: skip


def pause(attempts: int, jitter: float) -> timedelta | None:
    """How long to wait after so many attempts that failed; None after the last. `jitter` from 0 to 1 adds up to a tenth."""
    return AFTER[attempts - 1] * (1 + jitter / 10) if attempts <= len(AFTER) else None


DUE = """
    exists (select from webhook_deliveries d where d.webhook_id = w.id and d.state = 'pending' and d.next_at <= now())
"""


async def is_due(connection: Connection) -> bool | None:
    """Whether there is anything to claim, None where no webhook is enabled: one statement, for who asks all the time."""
    found: bool | None = await connection.fetchval(f"select bool_or({DUE}) from webhooks w where enabled")
    return found


async def claim(connection: Connection, most: int) -> list[Delivery]:
    """Leases up to so many that are due, of whichever webhooks; in a transaction of its own.

    Of one subject the first alone, and of one webhook AT_ONCE, of all workers: so that an app that is slow or down keeps
    up no other's. What is locked is a webhook that another worker is taking from at this moment.
    """
    rows = await connection.fetch(
        f"""
        select w.id from webhooks w where enabled and {DUE} order by random() limit $1 for no key update skip locked
        """,
        most,
    )
    if not rows:
        return []
    taken = [row["id"] for row in rows]
    leased = await connection.fetch(
        f"""
        with chosen as (
            select first.number from webhooks w cross join lateral (
                select c.number from webhook_deliveries c
                where c.webhook_id = w.id and c.state = 'pending' and c.next_at <= now() and not exists (
                    select from webhook_deliveries e
                    where e.webhook_id = c.webhook_id and e.subject = c.subject and e.state = 'pending'
                      and (e.number < c.number or (e.number > c.number and e.leased_until > now())))
                order by c.next_at, c.number
                limit greatest(0, case when w.failing_since is null then $3 else 1 end - (
                    select count(*) from webhook_deliveries l where l.webhook_id = w.id and l.leased_until > now()))
            ) first
            where w.id = any($1::bigint[]) limit $2)
        update webhook_deliveries d set next_at = now() + $4::interval, leased_until = now() + $4::interval, tried_at = now()
        from chosen where d.number = chosen.number returning {COLUMNS}
        """,
        taken, most, AT_ONCE, LEASE,
    )  # fmt: skip
    if len(leased) < len(taken):
        await _put_off(connection, taken)
    return [as_delivery(r) for r in leased]


async def _put_off(connection: Connection, webhooks: list[int]) -> None:
    """What is due but has to wait for another is not looked at before that one is; so that a webhook of which much waits
    costs no more than others. Who ends the waiting lets it go."""
    await connection.execute(
        """
        update webhook_deliveries d set next_at = waiting.until from (
            select due.number, (
                select max(e.next_at) from webhook_deliveries e
                where e.webhook_id = w.id and e.subject = due.subject and e.state = 'pending' and e.number < due.number
            ) as until
            from unnest($1::bigint[]) as w (id) cross join lateral (
                select c.number, c.subject from webhook_deliveries c
                where c.webhook_id = w.id and c.state = 'pending' and c.next_at <= now()
                order by c.next_at, c.number limit $2) due
        ) waiting
        where d.number = waiting.number and waiting.until > now() and d.state = 'pending' and d.next_at <= now()
        """,
        webhooks, PUT_OFF,
    )  # fmt: skip


async def hand_back(connection: Connection, leased: Delivery) -> None:
    """Whether it was told is not known: it is to be tried again at once."""
    await connection.execute(
        "update webhook_deliveries set next_at = now(), leased_until = null where number = $1 and leased_until = $2",
        leased.number, leased.next_at,
    )  # fmt: skip


async def delivered(connection: Connection, leased: Delivery) -> None:
    """Takes it, and lets the next about its subject go; again is fine."""
    await _lock(connection, leased)
    gone = await connection.fetchval(
        "delete from webhook_deliveries where number = $1 and leased_until = $2 returning 1",
        leased.number,
        leased.next_at,
    )
    if gone is None:
        return
    await connection.execute(
        "update webhooks set last_success_at = now(), failing_since = null where id = $1", leased.webhook
    )
    await _let_go(connection, leased)


async def failed(
    connection: Connection, leased: Delivery, error: str, status: int | None, jitter: float, *, gone: bool = False
) -> State | None:
    """Notes an attempt that failed, and returns what has become of the delivery; None where another attempt has the say.

    `gone`: the app wants no more, so that its webhook is disabled and nothing is tried again.
    """
    wait = None if gone else pause(leased.attempts + 1, jitter)
    state: State = "dead" if wait is None else "pending"
    await _lock(connection, leased)
    noted = await connection.fetchval(
        """
        update webhook_deliveries set state = $3, attempts = attempts + 1, next_at = now() + $4::interval, leased_until = null,
               error = $5, status = $6
        where number = $1 and leased_until = $2 returning 1
        """,
        leased.number, leased.next_at, state, wait or timedelta(0), error, status,
    )  # fmt: skip
    if noted is None:
        return None
    await connection.execute(
        """
        update webhooks set last_failure_at = now(), last_error = $2, last_status = $3,
               failing_since = coalesce(failing_since, now()), enabled = enabled and not $4, gone = gone or $4
        where id = $1
        """,
        leased.webhook, error, status, gone,
    )  # fmt: skip
    if wait is None:
        await _let_go(connection, leased)
    return state


async def _lock(connection: Connection, leased: Delivery) -> None:
    await connection.execute("select from webhooks where id = $1 for no key update", leased.webhook)


async def _let_go(connection: Connection, leased: Delivery) -> None:
    if leased.subject is not None:
        await connection.execute(
            """
            update webhook_deliveries set next_at = now()
            where webhook_id = $1 and subject = $2 and state = 'pending' and next_at > now()
              and coalesce(leased_until < now(), true)
            """,
            leased.webhook, leased.subject,
        )  # fmt: skip
