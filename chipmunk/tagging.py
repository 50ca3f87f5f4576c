"""What people say of a media, its title, notes and tags, and the words that it is found by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from chipmunk import media, words
from chipmunk.db import Connection
from chipmunk.errors import NotFound
from chipmunk.media import Media

AT_ONCE = 500


def distinct(tags: Sequence[str]) -> list[str]:
    """The tags as they are written first; two that fold to the same are one."""
    found: dict[str, str] = {}
    for tag in tags:
        found.setdefault(words.tag_word(tag), tag)
    return list(found.values())


async def change(
    connection: Connection, app: int, identifier: UUID, caller: int | None, fields: dict[str, Any]
) -> Media:
    """Sets those of `title`, `notes` and `tags` that are among the fields, where the app's backend (`caller` None) or the
    owner asks; NotFound, or Forbidden to others who see the media. The transaction is the caller's."""
    await media.owned(connection, app, identifier, caller)
    locked = await media.lock(connection, identifier)
    if locked is None:
        raise NotFound("There is no such media.", media=identifier.hex)
    found = replace(locked, **fields)
    found = replace(found, title=found.title or None, notes=found.notes or None, tags=distinct(found.tags))
    await connection.execute(
        "update media set title = $2, notes = $3, tags = $4, words = $5::text::tsvector where id = $1",
        identifier, found.title, found.notes, found.tags,
        words.of_media(found.filename, found.music, found.meta, found.title, found.notes, found.tags, found.classes),
    )  # fmt: skip
    return found


async def find_words(connection: Connection) -> int:
    """Gives some media their words that came before there were any; how many. The transaction is the caller's."""
    rows = await connection.fetch(
        """
        select id, filename, music, meta, title, notes, tags, classes from media where words is null and state <> 'processing'
        order by id desc limit $1 for update skip locked
        """,
        AT_ONCE,
    )
    await connection.execute(
        "update media m set words = n.words::tsvector from unnest($1::uuid[], $2::text[]) as n (id, words) where m.id = n.id",
        [r["id"] for r in rows], [words.of_media(*tuple(r)[1:]) for r in rows],
    )  # fmt: skip
    return len(rows)
