"""Programs of Node that tests run: installed once, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def missing() -> list[str]:
    return [program for program in ("node", "npm") if shutil.which(program) is None]


def installed(name: str, packages: Mapping[str, Any], *flags: str) -> Path:
    """A folder with these packages in it."""
    words = json.dumps(packages)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "chipmunk-tests" / f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            (folder / "package.json").write_text(words)
            command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *flags]
            subprocess.run(command, cwd=folder, check=True)
            (folder / "made").touch()
    return folder
