"""What browsers say of the colours of images: how it is checked, and which clients are not listened to any more.

Counts are Redis', for all processes together. Where it does not answer nobody is cut off and nobody counted; nothing is
taken from a browser unchecked, so that nothing wrong is kept then either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError

from chipmunk import colours
from chipmunk.credentials import Caller
from chipmunk.db import Connection
from chipmunk.media import SEEN_BY, SOURCE

AGREES = 0.12  # ΔE in Oklab: of palettes found in other ways one of fifty does not agree, of made-up ones three of four do not
LIES, SHARE = 5, 3  # so many that do not agree, and more than one of so many, cut a client off
SECONDS = 24 * 3600  # after what was last counted


def agrees(ours: Sequence[int], dominant: int, palette: Sequence[int]) -> bool:
    """Whether the dominant colour is like one of ours, and half of the others or more are."""
    known = [colours.oklab(colour) for colour in ours]

    def like(colour: int) -> bool:
        lab = colours.oklab(colour)
        return any(colours.apart(lab, one) <= AGREES for one in known)

    return like(dominant) and 2 * sum(map(like, palette)) >= len(palette)


def client(caller: Caller, browser: str | None) -> str:
    """Who says it: a user, whatever browser they name; of an app's backend the browser that it names, or itself."""
    if caller.user_id is not None:
        return f"{caller.app_id}:user:{caller.user_id}"
    return f"{caller.app_id}:app" if browser is None else f"{caller.app_id}:browser:{browser}"


async def cut_off(redis: Any, clients: Iterable[str]) -> dict[str, int]:
    """Those that are not listened to, and for how many seconds."""
    asked = list(clients)
    with suppress(RedisError, OSError):
        async with redis.pipeline(transaction=False) as pipe:
            for one in asked:
                pipe.hmget(_key(one), "checked", "lies")
                pipe.ttl(_key(one))
            answers = await pipe.execute()
        counted = zip(asked, answers[::2], answers[1::2], strict=True)
        return {one: max(1, left) for one, counts, left in counted if _lies(*(int(n or 0) for n in counts))}
    return {}


def _lies(checked: int, lies: int) -> bool:
    return lies >= LIES and SHARE * lies > checked


async def count(redis: Any, found: Mapping[str, Sequence[bool]]) -> None:
    """Whether what each client said agreed, of all that was checked."""
    with suppress(RedisError, OSError):
        async with redis.pipeline(transaction=False) as pipe:
            for one, agreed in found.items():
                pipe.hincrby(_key(one), "checked", len(agreed))
                pipe.hincrby(_key(one), "lies", agreed.count(False))
                pipe.expire(_key(one), SECONDS)
            await pipe.execute()


def _key(one: str) -> str:
    return f"chipmunk:reports:{one}"


async def palettes(
    connection: Connection, app: int, viewer: int | None, media: Sequence[UUID]
) -> dict[UUID, list[int] | None]:
    """Of those of these media that have a picture and the viewer (None: the app's backend) may see; None: not looked for."""
    rows = await connection.fetch(
        f"select m.id, m.palette from {SOURCE} where m.id = any($3::uuid[]) and m.rungs <> '[]' and {SEEN_BY}",
        app, viewer, media,
    )  # fmt: skip
    return {UUID(int=row[0].int): row[1] for row in rows}
