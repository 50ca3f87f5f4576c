"""The same house with ten thousand media and with millions: what it costs that there are more of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from statistics import median

from benchmarks import plans
from benchmarks.cost import parts_of, proportional
from benchmarks.house import bare_nginx, house
from benchmarks.load import Requests
from benchmarks.rows import Row, Target, alone, at_least, at_most, beside, in_turns
from benchmarks.session import Session
from benchmarks.town import Town
from tests.client import photo

GROUP = "growth"
SMALL, MEDIUM, LARGE = 10_000, 1_000_000, int(os.environ.get("BENCH_MEDIA", "10000000"))
VIEW_SECONDS, VIEWS_PER_SECOND = 2, 4000  # more than can be answered
PAGES, UPLOADS = 300, 20
REMEMBERED = 100_000  # grants that a gateway keeps
Act = Callable[[Town], float]


def measure(session: Session) -> Iterator[Row]:
    """All rows of the group, each as it is known, and one of viewing that needs so many media too."""
    first, *counts = (1000, 10_000) if session.smoke else sorted({SMALL, min(MEDIUM, LARGE), LARGE})
    with house(session.folder / "small") as few, house(session.folder / "large") as many:
        small, large = Town(session, few, "small"), Town(session, many, "large")
        small.grow(first)
        for count in counts:
            large.grow(count)
            yield from beside_few(session, small, large)
            each = large.bytes_per_media()
            yield alone(GROUP, f"{count:,} media: database with indexes", "B/media", [each], at_most(1500))
            if count == counts[0]:
                yield unknown(session, large)
        yield from memory(session, large)
        yield from plans.explained(GROUP, large)


def beside_few(session: Session, small: Town, large: Town) -> Iterator[Row]:
    """What the large one does, beside the small one."""
    seconds = min(VIEW_SECONDS, session.seconds)
    asked = {town: requests(town, seconds, session.rounds) for town in (small, large)}
    picture = photo(1024, 768, quality=72)

    def viewed(town: Town) -> float:
        return town.viewed(*asked[town], seconds).rate

    def uploaded(town: Town) -> float:
        return median(town.upload(picture) for _ in range(session.count(UPLOADS)))

    acts: list[tuple[str, str, Act, Target]] = [
        ("views of media unknown to the gateway", "requests/s", viewed, at_least(0.9)),
        ("pages of a flow, anywhere in it: p99", "ms", lambda town: town.pages(session.count(PAGES)), at_most(1.5)),
        ("uploads of 100 kB: p50", "ms", uploaded, at_most(1.1)),
    ]
    for what, unit, act, target in acts:
        ways = {town.name: lambda town=town, act=act: act(town) for town in (small, large)}
        figures = in_turns(ways, session.rounds, session.say)
        note = f"beside {small.count:,} media"
        name = f"{large.count:,} media: {what}"
        yield beside(GROUP, name, unit, figures[large.name], figures[small.name], target, note)


def requests(town: Town, seconds: int, rounds: int) -> tuple[Requests, Requests]:
    """Views that nobody has asked for yet, enough for all rounds, and strangers' requests."""
    return town.views("views", seconds * VIEWS_PER_SECOND * rounds), town.strangers()


def unknown(session: Session, town: Town) -> Row:
    """A row of the group of viewing: beside the same file with no authorization."""
    asked, strangers = requests(town, session.seconds, session.rounds)
    bare = town.bare()
    with bare_nginx(session.folder / "bare", town.rung) as port:
        ways = {
            "chipmunk": lambda: town.viewed(asked, strangers, session.seconds).rate,
            "bare nginx": lambda: bare.run(port, session.seconds).rate,
        }
        rates = in_turns(ways, session.rounds, session.say)
    name = f"every request a new pair, media unknown to the gateway, {town.count:,} media in the database"
    return beside("viewing", name, "requests/s", rates["chipmunk"], rates["bare nginx"], at_least(0.10))


def memory(session: Session, town: Town) -> Iterator[Row]:
    """Of the authorizer once it remembers all that it may, and once it has seen as much again."""
    count = session.count(REMEMBERED)
    asked = town.views("all", 2 * count, files=False)
    town.new_gateway()
    done, sizes = 0, [size_of_authorizer(town)]
    for enough in (count, 2 * count):
        while done < enough:
            done += asked.run(town.ours.port, session.seconds, refused=True).requests
        sizes.append(size_of_authorizer(town))
        session.say(f"authorizer after {done:,} views: {sizes[-1]:.0f} MB")
    note = f"at its start {sizes[0]:.0f} MB; bounded by {REMEMBERED:,} grants and 20,000 viewers"
    name = f"memory of a gateway after views of {2 * count:,} media, beside after {count:,}"
    yield beside(GROUP, name, "MB", [sizes[2]], [sizes[1]], at_most(1.1), note)


def size_of_authorizer(town: Town) -> float:
    return sum(map(proportional, parts_of(town.ours)["authorizer"])) / 1e6
