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
    """Replaces the rows of the groups that were measured, and keeps those of the others."""
    kept: list[dict[str, Any]] = []
    if only and RESULTS.exists():
        kept = [r for r in json.loads(RESULTS.read_text())["rows"] if r["group"] not in only]
    table = kept + [row.as_json() for row in rows]
    results = {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "rows": table}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
