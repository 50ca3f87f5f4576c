"""Variants: what is made of a picture when it is looked at, by edits that its owner has had signed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from itsdangerous import Signer

from chipmunk import media, revocations
from chipmunk.db import Connection
from chipmunk.edits import FORMATS, LAST_VARIANT, MOST_VARIANTS
from chipmunk.errors import Conflict, NotFound
from chipmunk.signing import same

MOST_PIXELS = 3840 * 2160
AUTO = "auto"  # whichever of them the client asks for
ADDRESS = re.compile(r"([1-9][0-9]{0,2})\.([a-z]+)\.([A-Za-z0-9._~-]{1,512})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Variant:
    number: int
    edits: str
    format: str

    def takes(self, format: str) -> bool:
        """Whether it may be had in this one."""
        return format in FORMATS and self.format in (format, AUTO)


class Addresses:
    """Signs variants for URLs, with the newest key; all verify. One spelling each, and for one media alone."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._signers = [
            Signer(key, salt="chipmunk.variant", key_derivation="hmac", digest_method=hashlib.sha256) for key in keys
        ]

    def sign(self, identifier: UUID, variant: Variant) -> str:
        said = f"{variant.number}.{variant.format}.{variant.edits}"
        return f"{said}.{self._signers[0].get_signature(f'{identifier.hex}.{said}').decode()}"

    def open(self, identifier: UUID, text: str) -> Variant | None:
        found = ADDRESS.fullmatch(text)
        if found is None:
            return None
        value = f"{identifier.hex}.{text[: found.end(3)]}"
        if not any(same(signer.get_signature(value).decode(), found[4]) for signer in self._signers):
            return None
        return Variant(int(found[1]), found[3], found[2])


async def put(connection: Connection, identifier: UUID, edits: str, format: str) -> Variant:
    """The variant of these edits, as it is or as it becomes; Conflict where the media has as many as it may."""
    if await media.lock(connection, identifier) is None:
        raise NotFound("There is no such media.", media=identifier.hex)
    known = await of_media(connection, identifier)
    for variant in known:
        if (variant.edits, variant.format) == (edits, format):
            return variant
    if len(known) >= MOST_VARIANTS:
        raise Conflict(f"A media has {MOST_VARIANTS} variants at most.", media=identifier.hex, limit=MOST_VARIANTS)
    last = await connection.fetchval("select coalesce(max(number), 0) from variants where media_id = $1", identifier)
    if last >= LAST_VARIANT:
        raise Conflict(f"A media has had {LAST_VARIANT} variants at most.", media=identifier.hex, limit=LAST_VARIANT)
    made = Variant(last + 1, edits, format)
    await connection.execute(
        "insert into variants (media_id, number, edits, format) values ($1, $2, $3, $4)",
        identifier, made.number, edits, format,
    )  # fmt: skip
    return made


async def of_media(connection: Connection, identifier: UUID) -> list[Variant]:
    """The media's variants, oldest first."""
    rows = await connection.fetch(
        "select number, edits, format from variants where media_id = $1 and not deleted order by number", identifier
    )
    return [Variant(*row) for row in rows]


async def delete(connection: Connection, identifier: UUID, number: int) -> None:
    """Nobody sees it from now on, and nothing is kept of it; NotFound where there is none."""
    done = await connection.fetchval(
        "update variants set deleted = true where media_id = $1 and number = $2 and not deleted returning 1",
        identifier,
        number,
    )
    if done is None:
        raise NotFound("There is no such variant.", media=identifier.hex)
    await revocations.revoke(connection, f"variants:{identifier.hex}")


async def find(connection: Connection, identifier: UUID, number: int) -> Variant | None:
    row = await connection.fetchrow(
        "select number, edits, format from variants where media_id = $1 and number = $2 and not deleted",
        identifier,
        number,
    )
    return None if row is None else Variant(*row)
