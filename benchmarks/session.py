"""One run of the benchmarks: how long, how often, where, and what it says meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Session:
    """`smoke` shows that everything runs: one round, moments, a twentieth of the things. Its figures mean nothing."""

    folder: Path
    smoke: bool = False
    rounds: int = 5
    seconds: int = 4  # whole ones: wrk takes no others
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.smoke:
            self.rounds, self.seconds = 1, 1

    def count(self, whole: int) -> int:
        return max(whole // 20, 1) if self.smoke else whole

    def say(self, words: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f} s  {words}", flush=True)
