"""What is measured: one figure beside a peer's, taken in turns, so that both meet the same machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

Measured = Mapping[str, list[float]]


@dataclass(frozen=True)
class Target:
    """`at_least` or `at_most`, of the ratio or, where a row has no peer, of the figure itself."""

    bound: float
    at_least: bool = True

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound


def at_least(bound: float) -> Target:
    return Target(bound)


def at_most(bound: float) -> Target:
    return Target(bound, at_least=False)


@dataclass(frozen=True)
class Row:
    """`ratio` is median / peer_median; `spread` is (most - least) / median of the rounds; all None without a peer."""

    group: str
    name: str
    unit: str
    median: float
    peer_median: float | None = None
    spread: float = 0.0
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.median / self.peer_median if self.peer_median else None

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.target.met(self.median if self.ratio is None else self.ratio)

    def as_json(self) -> dict[str, object]:
        return {
            "group": self.group,
            "name": self.name,
            "ratio": rounded(self.ratio),
            "target": None if self.target is None else str(self.target),
            "met": self.met,
            "median": rounded(self.median),
            "peer_median": rounded(self.peer_median),
            "spread": rounded(self.spread),
            "unit": self.unit,
            "note": self.note,
        }


def rounded(figure: float | None) -> float | None:
    """To four significant digits."""
    return None if figure is None else float(f"{figure:.4g}")


def spread(figures: list[float]) -> float:
    """The distance between the most and the least, as a share of the median."""
    return (max(figures) - min(figures)) / median(figures) if median(figures) else 0.0


def in_turns(
    ways: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Each way once per round, in an order that turns with every round."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            figures[name].append(ways[name]())
            say(f"round {number + 1} of {rounds}: {name}: {figures[name][-1]:,.4g}")
    return figures


def beside(
    group: str,
    name: str,
    unit: str,
    ours: list[float],
    peers: list[float],
    target: Target | None = None,
    note: str = "",
) -> Row:
    """The row of a figure beside a peer's; the spread is that of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, peers, strict=True)]
    return Row(group, name, unit, median(ours), median(peers), spread(ratios), target, note)


def alone(group: str, name: str, unit: str, ours: list[float], target: Target | None = None, note: str = "") -> Row:
    return Row(group, name, unit, median(ours), None, spread(ours), target, note)
