"""What servers are started from: wheels that carry them, and the environment that a foreign program gets."""

from __future__ import annotations

import compileall
import os
from importlib.util import find_spec
from pathlib import Path

from chipmunk.config import PREFIX
from solo.refusal import Refusal

PROJECT = Path(__file__).resolve().parent.parent


def folder_of(package: str) -> Path:
    """Where a package lies, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Refusal(f"The package {package} is not installed: start with scripts/run, which installs it.")
    return Path(next(iter(spec.submodule_search_locations)))


def compile_ours() -> None:
    """Keeps our modules compiled beside their source, where an account that may only read them cannot."""
    for package in ("chipmunk", "gateway", "compressor", "nginx", "migrations"):
        compileall.compile_dir(PROJECT / package, quiet=2)


def plain_environment() -> dict[str, str]:
    """Ours, without Chipmunk's settings and their secrets, and without what steers PostgreSQL's programs."""
    return {k: v for k, v in os.environ.items() if not k.startswith((PREFIX, "PG"))}
