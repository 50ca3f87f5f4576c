"""Where the bytes of a media can be had, and what is known of them without asking any store."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from chipmunk import renditions
from chipmunk.backends import LOCAL
from chipmunk.copies import Stored
from chipmunk.db import Connection

ORIGINAL = "0"
BELOW = 3  # so many rungs may stand in for one that is being made, as on the local volume


@dataclass(frozen=True, slots=True)
class Place:
    """A copy that is whole. `objects` is empty on the local volume; `plain`: it is not encrypted by us."""

    backend: int
    objects: dict[str, Stored]
    plain: bool

    def has(self, file: str) -> bool:
        return self.backend == LOCAL or file in self.objects


@dataclass(frozen=True, slots=True)
class Readable:
    """A live media. `places`: the one that serves first, then by role, those on their way out last."""

    id: UUID
    processing: bool
    mime: str
    rungs: frozenset[int]
    places: tuple[Place, ...]

    def file(self, quality: int) -> str | None:
        """The file that answers for this quality; while rungs are being made, the best of those below it."""
        if quality == 0:
            return ORIGINAL
        lowest = max(1, quality - BELOW) if self.processing else quality
        found = next((q for q in range(quality, lowest - 1, -1) if q in self.rungs), None)
        return None if found is None else renditions.file(found)

    def stored(self, file: str) -> Stored | None:
        """Size and SHA-256 of the file, which are the same everywhere; None where only the local volume has it."""
        return next((place.objects[file] for place in self.places if file in place.objects), None)


async def is_live(connection: Connection, media: UUID) -> bool:
    """Whether the media is still there, and not in the trash."""
    found: bool = await connection.fetchval(
        "select exists (select from media where id = $1 and state not in ('deleted', 'trashed'))", media
    )
    return found


async def find(connection: Connection, media: UUID) -> Readable | None:
    """The media, unless it is gone or going or in the trash. One without copies lies on the local volume alone."""
    rows = await connection.fetch(
        """
        select m.state, m.mime, m.rungs, c.backend_id, c.objects, c.cid
        from media m left join copies c on c.media_id = m.id and c.state = 'stored'
        where m.id = $1 and m.state not in ('deleted', 'trashed')
        order by c.backend_id = coalesce(m.home, $2) desc, c.role = 'primary' desc nulls last,
                 c.role = 'backup' desc nulls last, c.role nulls last, c.backend_id
        """,
        media, LOCAL,
    )  # fmt: skip
    if not rows:
        return None
    state, mime, rungs = rows[0]["state"], rows[0]["mime"], rows[0]["rungs"]
    places = tuple(
        Place(backend, {file: Stored(**stored) for file, stored in objects.items()}, cid is not None)
        for _, _, _, backend, objects, cid in rows
        if backend is not None
    )
    alone = (Place(LOCAL, {}, True),)
    qualities = frozenset(rung["quality"] for rung in rungs)
    return Readable(media, state == "processing", mime, qualities, places or alone)
