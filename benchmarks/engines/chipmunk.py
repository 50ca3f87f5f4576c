"""Ladders by what the product runs in its decoding processes; one order a line on stdin, one answer a line on stdout."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from chipmunk import config
from compressor import tasks
from compressor.ladder import animated_cap, still_cap
from compressor.limits import Limits
from compressor.sniff import HEAD_BYTES, sniff


def ladder(path: Path, out: Path) -> tuple[float, float]:
    """Seconds of what an upload waits for, and of the job after it. The original lies in a folder of its own."""
    kind = sniff(path.read_bytes()[:HEAD_BYTES])
    if kind is None:
        raise ValueError(path)
    length = path.stat().st_size
    began = time.perf_counter()
    begun = tasks.begin(path, kind, path.parent, False, still_cap(length))
    answered = time.perf_counter()
    cap = animated_cap(length) if begun.frames > 1 else still_cap(length)
    tasks.finish(path, kind, out, None, cap - sum(r.bytes for r in begun.rungs))
    return answered - began, time.perf_counter() - answered


def memory(name: str) -> int:
    """VmRSS or VmHWM in bytes."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    tasks.prepare(Limits.of(config.load({})))
    for line in sys.stdin:
        order = json.loads(line)
        path, out = Path(order["path"]), Path(order["out"])
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now
        resting, spent = memory("VmRSS"), []
        for _ in range(order["times"]):
            for left in (*path.parent.glob("*.webp"), *out.glob("*.webp")):
                left.unlink()
            spent.append(ladder(path, out))
        for number in (1, 2, 3):
            path.with_name(f"{number}.webp").rename(out / f"{number}.webp")
        first, rest = (sum(column) for column in zip(*spent, strict=True))
        answer = {"seconds": first + rest, "first": first, "resting": resting, "peak": memory("VmHWM")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
