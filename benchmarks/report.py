"""What was measured, as JSON, as the table of docs/benchmarks.md and as its plot."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from solo.packages import PROJECT

RESULTS, PAGE = PROJECT / "benchmarks" / "results.json", PROJECT / "docs" / "benchmarks.md"
PLOT = PROJECT / "docs" / "benchmarks.png"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def line(row: Row) -> str:
    """A row as the terminal shows it."""
    ratio = f"{row.ratio:.3f} of {row.peer_median:,.4g}" if row.ratio is not None else ""
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return f"==> {row.name}: {row.median:,.4g} {row.unit} {ratio} ±{row.spread:.0%} {row.target or ''} {verdict} {row.note}"


def machine() -> str:
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def write(rows: Sequence[Row], only: Sequence[str] | None) -> None:
    """Replaces the rows of the groups that were measured, keeps those of the others, and draws both."""
    kept: list[dict[str, Any]] = []
    fresh = {(row.group, row.name) for row in rows}  # one of viewing is measured with growth
    if only and RESULTS.exists():
        before = json.loads(RESULTS.read_text())["rows"]
        kept = [r for r in before if r["group"] not in only and (r["group"], r["name"]) not in fresh]
    table = kept + [row.as_json() for row in rows]
    results = {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "rows": table}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{as_table(results)}{END}{after}")
    plot(table)


def as_table(results: dict[str, Any]) -> str:
    """The part of docs/benchmarks.md that is written by a run."""
    lines = [f"{results['machine']}; {results['date']}.", ""]
    for group in dict.fromkeys(row["group"] for row in results["rows"]):
        lines += [f"### {group.capitalize()}", "", "| what | ours | peer | ratio | spread | target | met |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
        lines += [as_cells(row) for row in results["rows"] if row["group"] == group] + [""]
    return "\n".join(lines)


def as_cells(row: dict[str, Any]) -> str:
    def shown(figure: float | None) -> str:
        return "" if figure is None else f"{figure:,.10g}"

    ours = f"{shown(row['median'])} {row['unit']}"
    name = f"{row['name']} ({row['note']})" if row["note"] else row["name"]
    met = {None: "", True: "yes", False: "**no**"}[row["met"]]
    cells = [
        name,
        ours,
        shown(row["peer_median"]),
        shown(row["ratio"]),
        f"{row['spread']:.0%}",
        row["target"] or "",
        met,
    ]
    return f"| {' | '.join(cells)} |"


def plot(table: Sequence[dict[str, Any]]) -> None:
    """Each ratio on a logarithmic axis, with its target as a tick."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in table if row["ratio"] is not None][::-1]
    figure, axes = pyplot.subplots(figsize=(11, 0.3 * len(rows) + 1.2), layout="constrained")
    colours = {None: "#8a8f98", True: "#2f7d4f", False: "#b3402a"}
    axes.barh(range(len(rows)), [row["ratio"] for row in rows], color=[colours[row["met"]] for row in rows], height=0.6)
    for place, row in enumerate(rows):
        if row["target"]:
            axes.plot([float(row["target"].split()[1])] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
    axes.set_yticks(range(len(rows)), [f"{row['group']}: {row['name']}" for row in rows], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="#8a8f98", linewidth=0.8)
    axes.set_xlabel("ratio to the peer; the tick is the target")
    figure.savefig(PLOT, dpi=110)
    pyplot.close(figure)
