"""Events: what happens to jobs and to the images in them, kept for those who watch.

Transactions end in another order than they begin, so a reader who went by numbers alone would pass over what comes late.
Events are read in the order of (transaction, number), as far as no earlier transaction is under way: what has been read
once never gets anything before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from chipmunk.db import Connection, Database
from chipmunk.errors import BadRequest

Kind = Literal["job", "progress", "image"]
KEPT_DAYS = 7
PROGRESS_MINUTES = 10  # who comes later wants to know how it is, not how it was
POSITION = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
COLUMNS = "xid::text::bigint as xid, id, job_id, kind, data, at"
SETTLED = "xid < pg_snapshot_xmin(pg_current_snapshot())"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the order, as `Last-Event-ID` has it."""

    xid: int = 0
    id: int = 0

    @classmethod
    def read(cls, text: str) -> Self:
        """BadRequest where it is none that was ever told."""
        found = POSITION.fullmatch(text)
        if found is None or max(int(found[1]), int(found[2])) >= 2**63:
            raise BadRequest("The Last-Event-ID is not one of ours.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"


@dataclass(frozen=True, slots=True)
class Event:
    """`job`: a job has ended. `progress`: how far one is. `image`: a step of an image is done, or has failed."""

    position: Position
    job: UUID | None
    kind: Kind
    data: dict[str, Any]
    at: datetime


async def append(
    connection: Connection, kind: Kind, data: Mapping[str, Any], *, app: int | None, user: int | None, job: UUID
) -> None:
    """In the transaction that does what it tells of."""
    await connection.execute(
        "insert into events (app_id, user_id, job_id, kind, data) values ($1, $2, $3, $4, $5)",
        app, user, job, kind, data,
    )  # fmt: skip


async def of_job(connection: Connection, job: UUID, after: Position, limit: int) -> list[Event]:
    """Those of a job, from just after `after` on."""
    return await _page(connection, "job_id = $1", job, after, limit)


async def of_user(connection: Connection, user: int, after: Position, limit: int) -> list[Event]:
    """Those of all that is a user's."""
    return await _page(connection, "user_id = $1", user, after, limit)


async def _page(connection: Connection, which: str, of: object, after: Position, limit: int) -> list[Event]:
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from events where {which} and (xid, id) > ($2::text::xid8, $3) and {SETTLED}
        order by xid, id limit $4
        """,
        of, str(after.xid), after.id, limit,
    )  # fmt: skip
    return [Event(Position(r["xid"], r["id"]), r["job_id"], r["kind"], r["data"], r["at"]) for r in rows]


async def is_over(connection: Connection, job: UUID, position: Position) -> bool:
    """Whether the job has ended, and all that there is of its events has been read up to this position."""
    over: bool = await connection.fetchval(
        """
        select not exists (select from jobs where id = $1 and state in ('queued', 'running'))
           and not exists (select from events where job_id = $1 and (xid, id) > ($2::text::xid8, $3))
        """,
        job, str(position.xid), position.id,
    )  # fmt: skip
    return over


async def now(connection: Connection) -> Position:
    """Just before whatever is to be read from now on."""
    xmin = await connection.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return Position(xmin, 0)


async def known(connection: Connection, given: Position) -> Position:
    """The position; the very first where it is from after now, as after the database was set up anew from a copy."""
    end = await connection.fetchval("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    return given if given.xid < end else Position()


@dataclass
class Changes:
    """Tells whose events there may be more of since it was asked before; some it tells of more than once."""

    database: Database
    _xmin: int | None = field(default=None, repr=False)

    async def poll(self) -> set[UUID | int]:
        """Jobs and users; none the first time."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                """
                with seen as materialized (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xmin)
                select distinct seen.xmin, e.job_id, e.user_id from seen
                left join events e on e.xid >= $1::text::xid8
                """,
                str(self._xmin if self._xmin is not None else 2**63 - 1),
            )
        self._xmin = int(rows[0]["xmin"])
        return {of for row in rows for of in (row["job_id"], row["user_id"]) if of is not None}


async def forget_old(connection: Connection) -> None:
    """Takes what nobody looks back at, and what another database's clock of transactions has numbered."""
    await connection.execute("delete from events where at < now() - make_interval(days => $1)", KEPT_DAYS)
    await connection.execute(
        "delete from events where kind = 'progress' and at < now() - make_interval(mins => $1)", PROGRESS_MINUTES
    )
    await connection.execute("delete from events where xid >= pg_snapshot_xmax(pg_current_snapshot())")
