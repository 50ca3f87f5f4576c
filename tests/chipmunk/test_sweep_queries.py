"""What every sweep asks of tables that grow with the number of media is answered by an index."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from chipmunk import (
    deliveries,
    events,
    idempotency,
    images_jobs,
    jobs,
    leftovers,
    library,
    links,
    quotas,
    sessions,
    tagging,
    trash,
    users,
)
from chipmunk.db import Connection

GROWING = {
    "media",
    "links",
    "flow_media",
    "users",
    "sessions",
    "session_tokens",
    "idempotency_keys",
    "events",
    "jobs",
    "webhook_deliveries",
}
SWEEPS = (
    links.forget_expired,
    sessions.forget_expired,
    idempotency.forget_expired,
    leftovers.enqueue_purges,
    leftovers.stranded,
    users.enqueue_purges,
    quotas.release_expired,
    events.forget_old,
    deliveries.forget_old,
    images_jobs.go_on_with_all,
    jobs.forget_old,
    library.sum_up,
    trash.purge_due,
    tagging.find_words,
)


def read_whole(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for below in node.get("Plans", []):
        yield from read_whole(below)


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: f"{sweep.__module__}.{sweep.__name__}")
def test_a_sweep_reads_no_growing_table_from_end_to_end(
    database: str, sweep: Callable[[Connection], Awaitable[object]]
) -> None:
    async def tables() -> set[str]:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute("set enable_seqscan = off")
            asked: list[Any] = []
            connection.add_query_logger(asked.append)
            await sweep(connection)
            await asyncio.sleep(0)  # queries are told of in the loop's next round
            connection.remove_query_logger(asked.append)
            assert asked
            plans = [
                json.loads(await connection.fetchval(f"explain (format json) {record.query}", *record.args))
                for record in list(asked)
            ]
            return {table for plan in plans for table in read_whole(plan[0]["Plan"])}
        finally:
            await connection.close()

    assert not asyncio.run(tables()) & GROWING
