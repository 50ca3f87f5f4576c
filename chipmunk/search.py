"""Searching media: what a viewer may see, newest first, by words, tags and properties.

A search walks lists that an index keeps from the newest media on, and looks at each media that it meets. Of the lists that
hold all that can be found it takes the one that reaches furthest back in as many steps as it may make: of a word that is
rare the word's, of words that are common any. After these steps the page ends, full or not, and says where to go on, so
that no search costs more than its steps, however many media there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chipmunk import flows, ids
from chipmunk.db import Connection
from chipmunk.listing import NEWEST
from chipmunk.media import COLUMNS, SEEN_BY, SOURCE, Media
from chipmunk.words import Asked, Wanted, quoted, tag_word

STEPS, FEWEST = 2000, 20  # media that a search looks at; at least so many in each list
MOST_LISTS = 8  # of tags, of words and of beginnings, the longest words first: that many are enough to find a short one
OLDEST = UUID(int=0)
BEFOREHAND = timedelta(days=92)  # longer than any upload has its id before it is a media
CLOCKS = timedelta(minutes=5)  # between the one that an id is made by and the database's
LAST = chr(0x10FFFF)
LIKENESS = (8, 12, 12)  # of 63 steps each, in brightness, yellow to blue, red to green
Parameter = Callable[[Any, str], str]


@dataclass(frozen=True, slots=True)
class Filters:
    """What is to be found. `owner` and `flow` are rows, `mime` may be of a whole kind (`image/*`), `colour` is red, green
    and blue of 255 each; sizes and times: `larger` and `after` include the value, `smaller` and `before` do not."""

    asked: Asked | None = None
    tags: tuple[str, ...] = ()
    kind: str | None = None
    mime: str | None = None
    owner: int | None = None
    flow: int | None = None
    after: datetime | None = None
    before: datetime | None = None
    larger: int | None = None
    smaller: int | None = None
    colour: tuple[int, int, int] | None = None
    review: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and where the next one begins; None: there is nothing more."""

    media: list[Media]
    next: UUID | None


@dataclass(slots=True)
class Given:
    """The parameters of a query."""

    values: list[Any] = field(default_factory=list)

    def __call__(self, value: Any, kind: str) -> str:
        self.values.append(value)
        return f"${len(self.values)}::{kind}"


@dataclass(frozen=True, slots=True)
class List:
    """`reach`: how far back so many steps go, null where they go to the end; `walk`: the ids from there on."""

    reach: Callable[[Parameter, str, int], str]
    walk: Callable[[Parameter, str, str], str]


def _keyed(table: str, identifier: str, order: str, **keys: tuple[Any, str]) -> List:
    """What an index lists that begins with these columns and ends with the id."""

    def rows(given: Parameter, before: str) -> str:
        (first, (value, kind)), *more = keys.items()
        equal = "".join(f" and {column} = {given(*one)}" for column, one in more)
        return f"from {table} where {first} = any(array[{given(value, kind)}]){equal} and {identifier} < {before}"

    def reach(given: Parameter, before: str, steps: int) -> str:
        first = next(iter(keys))
        by = f"order by {first} {order}, {identifier} desc offset {given(steps - 1, 'bigint')} limit 1"
        return f"(select {identifier} {rows(given, before)} {by})"

    def walk(given: Parameter, before: str, reach: str) -> str:
        return f"select {identifier} as id {rows(given, before)} and {identifier} >= {reach}"

    return List(reach, walk)


def _beginning(scope: str, key: int, kind: str, begin: str) -> List:
    """What has a word that begins so; of use only where these are few, since they are in no order."""

    def rows(given: Parameter, before: str) -> str:
        word = f"word >= {given(begin, 'text')} and word < {given(begin + LAST, 'text')}"
        return f"from media_words where {scope} = {given(key, kind)} and {word} and media_id < {before}"

    def reach(given: Parameter, before: str, steps: int) -> str:
        some = f"select 1 {rows(given, before)} limit {given(steps, 'bigint')}"
        return f"(select case when count(*) >= {given(steps, 'bigint')} then {before} end from ({some}) counted)"

    def walk(given: Parameter, before: str, reach: str) -> str:
        return f"select media_id as id {rows(given, before)} and media_id >= {reach}"

    return List(reach, walk)


def _shared(flow_ids: list[int]) -> List:
    """What is in these flows, each of which goes so many steps back: they reach as far as the first that ends."""

    def reach(given: Parameter, before: str, steps: int) -> str:
        each = max(FEWEST, steps // len(flow_ids))
        return f"""(
            select max(ends.id::text collate "C")::uuid from unnest({given(flow_ids, "bigint[]")}) as f (id) cross join lateral (
                select z.media_id as id from flow_media z where z.flow_id = any(array[f.id]) and z.media_id < {before}
                order by z.flow_id desc, z.media_id desc offset {given(each - 1, "bigint")} limit 1) ends)"""

    def walk(given: Parameter, before: str, reach: str) -> str:
        return f"""
            select z.id from unnest({given(flow_ids, "bigint[]")}) as f (id) cross join lateral (
                select media_id as id from flow_media
                where flow_id = f.id and media_id < {before} and media_id >= {reach} offset 0) z"""

    return List(reach, walk)


async def page(
    connection: Connection, app: int, viewer: int | None, wanted: Filters, *, before: UUID | None, limit: int
) -> Found:
    """What the viewer (None: the app's backend) may see of what is wanted, from just below `before` on."""
    if wanted.asked is not None and not wanted.asked.alternatives:
        return Found([], None)
    role = None
    if viewer is not None and wanted.flow is not None:
        role = await flows.role(connection, wanted.flow, viewer)
        if role is None and wanted.owner not in (None, viewer):
            return Found([], None)
    lists = await _lists(connection, app, viewer, wanted, member=role is not None)
    if not lists:
        return Found([], None)
    begin = min(before or NEWEST, NEWEST if wanted.before is None else ids.first_id(wanted.before + CLOCKS))
    end = OLDEST if wanted.after is None else ids.first_id(wanted.after - BEFOREHAND)
    chosen, reach = await _chosen(connection, lists, begin)
    found = await _walk(connection, app, viewer, wanted, chosen, begin, max(reach or OLDEST, end), limit + 1)
    if len(found) > limit:
        return Found(found[:limit], found[limit - 1].id)
    return Found(found, reach if reach is not None and reach > end else None)


async def _lists(
    connection: Connection, app: int, viewer: int | None, wanted: Filters, *, member: bool
) -> list[list[List]]:
    """Groups of lists that together have all that can be found; each of a group has all that is in the group.

    A user's own are read off lists of their own, what others share off the flows: never off what the app has of a word, since
    that a search ends late would tell of media that the user may not see.
    """
    owner = wanted.owner if viewer is None else viewer
    whole = _whole(wanted, "app_id", app) if owner is None else _whole(wanted, "owner_id", owner)
    if wanted.flow is not None and (viewer is None or member):
        in_flow = _keyed("flow_media", "media_id", "desc", flow_id=(wanted.flow, "bigint"))
        return [[in_flow]] if viewer is not None else [[*group, in_flow] for group in whole]
    groups = whole if viewer is None or wanted.owner in (None, viewer) else []
    if viewer is not None and wanted.owner != viewer and wanted.flow is None:
        shared = await connection.fetch("select flow_id from flow_members where user_id = $1", viewer)
        groups += [[_shared([row[0] for row in shared])]] if shared else []
    return groups


def _whole(wanted: Filters, scope: str, key: int) -> list[list[List]]:
    """For each alternative of what is wanted, the lists of an app's or an owner's that have all of it."""
    kind = "integer" if scope == "app_id" else "bigint"
    tags = [tag_word(tag) for tag in wanted.tags[:MOST_LISTS]]
    return [
        [
            _keyed("media", "id", "asc", **{scope: (key, kind)}),
            *(
                _keyed("media_words", "media_id", "desc", **{scope: (key, kind), "word": (word, "text")})
                for word in (*tags, *sorted(one.words, key=len, reverse=True)[:MOST_LISTS])
            ),
            *(_beginning(scope, key, kind, begin) for begin in one.beginnings[:MOST_LISTS]),
        ]
        for one in (wanted.asked.alternatives if wanted.asked is not None else (Wanted(),))
    ]


async def _chosen(connection: Connection, lists: list[list[List]], begin: UUID) -> tuple[list[List], UUID | None]:
    """Of each group the list that reaches furthest back, and how far all of these do; None: to the end."""
    given = Given()
    before, steps = given(begin, "uuid"), max(FEWEST, STEPS // len(lists))
    asked = ", ".join(one.reach(given, before, steps) for group in lists for one in group)
    reached = iter(await connection.fetchrow(f"select {asked}", *given.values))
    chosen, reaches = [], []
    for group in lists:
        reach, best = min(((next(reached) or OLDEST, one) for one in group), key=lambda pair: pair[0])
        chosen.append(best)
        reaches.append(reach)
    furthest = max(reaches)
    return chosen, None if furthest == OLDEST else furthest


async def _walk(
    connection: Connection,
    app: int,
    viewer: int | None,
    wanted: Filters,
    lists: list[List],
    begin: UUID,
    end: UUID,
    limit: int,
) -> list[Media]:
    given = Given([app, viewer])
    before, reach = given(begin, "uuid"), given(end, "uuid")
    walks = " union ".join(one.walk(given, before, reach) for one in lists)
    rows = await connection.fetch(
        f"""
        select found.* from (
            select walked.id from (select id from ({walks}) every order by id desc offset 0) walked cross join lateral (
                select 1 from media m join users o on o.id = m.owner_id
                where m.id = walked.id and {SEEN_BY} {_checks(wanted, viewer, given)} offset 0) fits
            order by walked.id desc limit {given(limit, "bigint")}) hit
        cross join lateral (select {COLUMNS} from {SOURCE} where m.id = hit.id offset 0) found
        order by hit.id desc
        """,
        *given.values,
    )
    return [Media(*row) for row in rows]


def _checks(wanted: Filters, viewer: int | None, given: Parameter) -> str:
    """Conditions on a media `m`. By its owner's words it is found by the owner, and by the app's backend."""
    simple = (
        ("m.kind = {}", wanted.kind, "text"),
        ("m.mime = {}", wanted.mime, "text"),
        ("m.review = {}", wanted.review, "text"),
        ("m.owner_id = {}", wanted.owner, "bigint"),
        ("exists (select from flow_media z where z.media_id = m.id and z.flow_id = {})", wanted.flow, "bigint"),
        ("m.created_at >= {}", wanted.after, "timestamptz"),
        ("m.created_at < {}", wanted.before, "timestamptz"),
        ("m.bytes >= {}", wanted.larger, "bigint"),
        ("m.bytes < {}", wanted.smaller, "bigint"),
    )
    found = [check.format(given(value, kind)) for check, value, kind in simple if value is not None]
    queries = [quoted(tag_word(tag)) for tag in wanted.tags]
    if wanted.asked is not None:
        queries.append(f"({wanted.asked.query})")
    if queries:
        query = given(" & ".join(queries), "text")
        theirs = (
            "m.words" if viewer is None else "case when m.owner_id = $2 then m.words else ts_filter(m.words, '{a}') end"
        )
        found.append(f"{theirs} @@ {query}::tsquery")
    if wanted.colour is not None:
        found += _near(wanted.colour, given)
    return "".join(f" and {check}" for check in found)


def _near(colour: tuple[int, int, int], given: Parameter) -> list[str]:
    """That the mean colour is like this one: a thumbhash begins with it, in three numbers of six bits."""
    red, green, blue = (part / 255 for part in colour)
    mean = (red + green + blue) / 3 * 63, ((red + green) / 2 - blue) * 31.5 + 31.5, (red - green) * 31.5 + 31.5
    head = "(get_byte(m.placeholder, 0) + 256 * get_byte(m.placeholder, 1) + 65536 * get_byte(m.placeholder, 2))"
    near = " and ".join(
        f"abs((({head} >> {6 * n}) & 63) - {given(round(value), 'integer')}) <= {least}"
        for n, (value, least) in enumerate(zip(mean, LIKENESS, strict=True))
    )
    return [f"case when length(m.placeholder) > 2 then {near} else false end"]
