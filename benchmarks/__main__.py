"""`python -m benchmarks`: measures everything beside its peers, and writes results, table and plot."""

from __future__ import annotations

import argparse

from benchmarks import cost, growth, ladder, report, searching, uploading, viewing
from benchmarks.session import Session
from tests.harness import scratch

GROUPS = {group.GROUP: group.measure for group in (viewing, ladder, uploading, growth, searching, cost)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures Chipmunk beside its peers.")
    parser.add_argument(
        "--only", action="append", choices=sorted(GROUPS), help="measure this group alone (may be repeated)"
    )
    parser.add_argument("--smoke", action="store_true", help="one short round of everything, written nowhere")
    given = parser.parse_args()
    rows = []
    for name in given.only or GROUPS:
        with scratch() as folder:
            session = Session(folder, smoke=given.smoke)
            session.say(f"--- {name}")
            for row in GROUPS[name](session):
                rows.append(row)
                session.say(report.line(row))
    if not given.smoke:
        report.write(rows, only=given.only)


if __name__ == "__main__":
    main()
