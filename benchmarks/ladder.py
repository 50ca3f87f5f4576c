"""Ladders per second beside libvips and sharp on one core: the same rungs, from inputs of many kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median

from PIL import Image

from benchmarks.ladder_peers import Engine, Reference, engine
from benchmarks.peers import INSTALLED
from benchmarks.pictures import Input, inputs
from benchmarks.rows import Row, alone, at_least, at_most, beside, in_turns
from benchmarks.session import Session
from compressor.ladder import RUNGS, plan

GROUP = "ladder"
SMOKE_SHRINK = 100.0
PEERS, DEFAULTS = ("libvips", "sharp"), "sharp at its defaults"
WAYS = ("each", "cascade")
LARGEST, USUAL = "50 MP JPEG", "6 MP JPEG"
UNIT = "ladders/s"
Figures = dict[str, list[float]]


def measure(session: Session) -> Iterator[Row]:
    """All rows of the group, each as it is known."""
    given = inputs(INSTALLED / "pictures", SMOKE_SHRINK if session.smoke else 1.0, session.say)
    with ExitStack() as stack:
        engines = {name: stack.enter_context(engine(name, session, 0)) for name in ("chipmunk", *PEERS, DEFAULTS)}
        contest = Contest(session, engines)
        for one in given:
            yield from contest.rows(one)
            if one.name == LARGEST:
                yield from peak(session, one)
            if one.name == USUAL:
                with engine("chipmunk", session, 1, "chipmunk on another core") as second:
                    yield from cores(session, [engines["chipmunk"], second], one)


@dataclass
class Contest:
    """Everyone on the same core, in turns."""

    session: Session
    engines: dict[str, Engine]

    def rows(self, given: Input) -> Iterator[Row]:
        shares: list[float] = []

        def chipmunk(times: int) -> float:
            answer = self.engines["chipmunk"].ladders(given, times=times)
            shares.append(answer["first"] / answer["seconds"])
            return times / float(answer["seconds"])

        ways = {"chipmunk": self.repeated(chipmunk)}
        for name in given.readers:
            ways[name] = self.repeated(partial(self.peer, name, given, self.fastest(name, given)))
        if given.family == "jpeg":
            ways[DEFAULTS] = self.repeated(partial(self.peer, DEFAULTS, given, "defaults"))
        shares.clear()
        figures = in_turns(ways, self.session.rounds, self.session.say)
        seen = Likeness(given, self.engines)
        yield from self.at_equal_effort(given, figures, seen)
        if given.family == "jpeg":
            yield from self.at_defaults(given, figures, seen)
            yield alone(GROUP, f"{given.name}: rungs 1 to 3, of the ladder's time", "share", shares, at_most(0.3))

    def peer(self, name: str, given: Input, way: str, times: int) -> float:
        return times / float(self.engines[name].ladders(given, way, times)["seconds"])

    def fastest(self, name: str, given: Input) -> str:
        """Of the two ways that the peer could go about it: each rung from the file, or from the rung above."""
        if given.animated or self.session.smoke:
            return WAYS[0]
        best = max(WAYS, key=lambda way: max(self.peer(name, given, way, 1) for _ in range(2)))
        self.session.say(f"{given.name}: {name} is fastest by {best}")
        return best

    def repeated(self, run: Callable[[int], float]) -> Callable[[], float]:
        """As many ladders at a time as take about a fifth of a measurement's seconds; warm."""
        if self.session.smoke:
            return lambda: run(1)
        run(1)
        times = max(1, math.ceil(self.session.seconds / 5 * run(1)))
        return lambda: run(times)

    def at_equal_effort(self, given: Input, figures: Figures, seen: Likeness) -> Iterator[Row]:
        ours = figures["chipmunk"]
        if not given.readers:
            yield alone(GROUP, f"{given.name} (the peers' builds read none)", UNIT, ours, None, seen.note("chipmunk"))
        for name in given.readers:
            target = at_least(1.15 if given.family == "jpeg" else 0.95)
            note = f"{seen.note('chipmunk')}; {seen.note(name)}"
            yield beside(GROUP, f"{given.name}, {name} at equal effort", UNIT, ours, figures[name], target, note)

    def at_defaults(self, given: Input, figures: Figures, seen: Likeness) -> Iterator[Row]:
        name, note = f"{given.name}, {DEFAULTS}", f"{seen.note('chipmunk')}; {seen.note(DEFAULTS)}"
        yield beside(GROUP, name, UNIT, figures["chipmunk"], figures[DEFAULTS], at_least(1.6), note)
        if not given.same_colours:
            return
        ours, peers = (float(sum(seen.bytes[who])) for who in ("chipmunk", DEFAULTS))
        yield beside(GROUP, f"{name}: bytes of all rungs", "bytes", [ours], [peers], at_most(1.05))
        behind = seen.overall(DEFAULTS) - seen.overall("chipmunk")
        rungs = " ".join(f"{a - b:+.4f}" for a, b in zip(seen.ssim[DEFAULTS], seen.ssim["chipmunk"], strict=True))
        yield alone(
            GROUP, f"{name}: SSIM behind it, by pixel", "SSIM", [behind], at_most(0.003), f"rung 1 to 6: {rungs}"
        )


class Likeness:
    """Bytes and SSIM of the rungs that each has left behind."""

    def __init__(self, given: Input, engines: dict[str, Engine]) -> None:
        reference = Reference(given.path)
        names = ["chipmunk", *given.readers, *([DEFAULTS] if given.family == "jpeg" else [])]
        self.bytes = {name: engines[name].bytes() for name in names}
        self.ssim = {name: reference.ssim(engines[name].rungs()) for name in names}
        with Image.open(engines["chipmunk"].rungs()[-1]) as top:
            self.pixels = [r.width * r.height for r in plan(*top.size, square=False)]

    def overall(self, name: str) -> float:
        """The mean over all pixels of all rungs."""
        return sum(s * p for s, p in zip(self.ssim[name], self.pixels, strict=True)) / sum(self.pixels)

    def note(self, name: str) -> str:
        return f"{name}: {sum(self.bytes[name]):,} bytes, SSIM {self.overall(name):.4f}"


def cores(session: Session, both: list[Engine], given: Input) -> Iterator[Row]:
    """Ladders of two processes at once, each on a core of its own, beside those of one."""

    def rate(engines: list[Engine]) -> float:
        times = max(1, math.ceil(session.seconds))
        with ThreadPoolExecutor(len(engines)) as pool:
            answers = list(pool.map(lambda one: one.ladders(given, times=times), engines))
        return sum(times / float(answer["seconds"]) for answer in answers)

    rate(both)
    figures = in_turns({"two": lambda: rate(both), "one": lambda: rate(both[:1])}, session.rounds, session.say)
    yield beside(GROUP, f"two cores beside one, {given.name}", UNIT, figures["two"], figures["one"], at_least(1.9))


def peak(session: Session, given: Input) -> Iterator[Row]:
    """What a process has at most over what it has at rest, beside the pixels at the scale that serves the top rung."""
    with Image.open(given.path) as image:
        image.draft(None, tuple(max(1, side * RUNGS[-1] // max(image.size)) for side in image.size))  # type: ignore[arg-type]
        needed = 4.0 * image.width * image.height
    grown = []
    for number in range(session.rounds):
        with engine("chipmunk", session, 0, f"chipmunk for memory {number}") as fresh:
            answer = fresh.ladders(given)
            grown.append(float(answer["peak"] - answer["resting"]))
    note = f"{needed / 1e6:.1f} MB decoded; the process in all {answer['peak'] / 1e6:.0f} MB"
    name = f"peak memory over a process at rest, {given.name}"
    yield beside(
        GROUP, name, "bytes", grown, [needed] * len(grown), at_most(1.2), f"{note}; median {median(grown):,.0f}"
    )
