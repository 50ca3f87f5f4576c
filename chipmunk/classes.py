"""Classes: what a model saw in a media, with scores from 0 to 1, and what follows where it seems unsafe.

`review` of a media: None; `flagged`: all see that it is; `held`: the app and its owner alone see it; `approved` by the app.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chipmunk import jobs, media, revocations, words
from chipmunk.db import Connection
from chipmunk.media import Media

MOST, LEAST = 5, 0.1  # classes that are kept of a media, and the score of the last
REVIEWS = ("flagged", "held", "approved")
POLICY = """
    (select case when bool_or(f.unsafe = 'hold') then 'hold' when bool_or(f.unsafe = 'flag') then 'flag' else 'allow' end
     from flow_media z join flows f on f.id = z.flow_id where z.media_id = m.id)
"""
VERDICT = f"""
    (select case when p.policy = 'hold' and (m.unsafe is null or m.unsafe >= $2) then 'held'
                 when p.policy in ('flag', 'hold') and m.unsafe >= $2 then 'flagged' end from {POLICY} p (policy))
"""


async def keep(
    connection: Connection,
    identifier: UUID,
    classes: Sequence[tuple[str, float]],
    unsafe: float | None,
    threshold: float,
) -> bool:
    """Keeps what was seen in the media, in place of what was before, and does what follows; False where it is gone."""
    found = await media.lock(connection, identifier)
    if found is None:
        return False
    kept = [{"class": name, "score": score} for name, score in classes]
    said = words.of_media(found.filename, found.music, found.meta, found.title, found.notes, found.tags, kept)
    await connection.execute(
        "update media set classes = $2, unsafe = coalesce($3, unsafe), words = $4::text::tsvector where id = $1",
        identifier, kept, unsafe, said,
    )  # fmt: skip
    await judge(connection, identifier, threshold)
    return True


async def judge(connection: Connection, identifier: UUID, threshold: float) -> None:
    """Has the media's flows say again what follows from its score; without one, one that they hold is held.

    By the score that it has when nobody else is at the row: so it is read of the row that is written, and nowhere else.
    """
    changed = await connection.fetchval(
        f"""
        update media m set review = {VERDICT}
        where m.id = $1 and m.review is distinct from 'approved' and m.review is distinct from {VERDICT} returning 1
        """,
        identifier, threshold,
    )  # fmt: skip
    if changed is not None:
        await revocations.revoke(connection, f"media:{identifier.hex}")


async def ask(connection: Connection, identifier: UUID) -> None:
    """Enqueues a look at the media, where a flow of it has to know and it was not looked at; one that is still
    processing asks when it is done."""
    row = await connection.fetchrow(
        f"""
        select m.app_id, m.owner_id from media m cross join lateral {POLICY} p (policy)
        where m.id = $1 and p.policy <> 'allow' and m.unsafe is null
          and m.state <> 'processing' and m.review is distinct from 'approved'
        """,
        identifier,
    )
    if row is not None:
        await jobs.enqueue(connection, jobs.CLASSIFY, app=row["app_id"], user=row["owner_id"], media=identifier)


async def approve(connection: Connection, app: int, identifier: UUID) -> Media:
    """The media as it is shown from now on, whatever its score, or NotFound."""
    await media.owned(connection, app, identifier, None)
    await connection.execute("update media set review = 'approved' where id = $1", identifier)
    await revocations.revoke(connection, f"media:{identifier.hex}")
    return await media.owned(connection, app, identifier, None)
