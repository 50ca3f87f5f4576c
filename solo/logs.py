"""Log files of bounded size, one for each child, and one for what happens to them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

LARGEST_BYTES = 10 * 1024 * 1024
LAST_BYTES = 4096


class Logs:
    """Each log is one file and one older one, `<name>.log` and `<name>.log.1`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def open(self, name: str) -> IO[bytes]:
        return self.path(name).open("ab")

    def event(self, event: str, **facts: object) -> None:
        """One JSON line, in solo.log and on stderr."""
        line = json.dumps({"event": event, **facts, "timestamp": datetime.now(UTC).isoformat()})
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)
        with contextlib.suppress(OSError), self.open("solo") as log:
            log.write(line.encode() + b"\n")

    def last_line(self, name: str) -> str:
        """The last thing that a child said, for a person who is told that it failed."""
        try:
            with self.path(name).open("rb") as log:
                log.seek(max(0, self.path(name).stat().st_size - LAST_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            return "(nothing)"
        return next((line.strip() for line in reversed(lines) if line.strip()), "(nothing)")

    def bound(self) -> None:
        """Moves aside what has grown too large. Children hold their files open, so these are cut, not renamed."""
        for path in self._folder.glob("*.log"):
            if path.stat().st_size > LARGEST_BYTES:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)

    def turn(self) -> None:
        """Starts new files, keeping those of the run before."""
        for path in self._folder.glob("*.log"):
            path.replace(path.with_suffix(".log.1"))
