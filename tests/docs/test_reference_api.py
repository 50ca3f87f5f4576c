"""The commands of the reference are run as they stand, in order, by a shell against the whole system."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import photo
from tests.docs.pages import REFERENCE, commands
from tests.harness import System, scratch

STRICT = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; }\n'


@pytest.fixture
def alone() -> Iterator[System]:
    """A system of this page's own: its users have plain names."""
    with scratch() as folder, System(folder / "data") as system:
        yield system


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_command_of_the_api_page_works(alone: System, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo())
    keys = tmp_path / "var" / "keys"
    keys.mkdir(parents=True)
    (keys / "api.key").write_text(alone.api_key + "\n")
    (keys / "operator.key").write_text(alone.operator_key + "\n")
    script = STRICT + "\n".join(commands(REFERENCE / "api.md")).replace("http://127.0.0.1:8080", alone.url)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert (tmp_path / "small.webp").read_bytes()[8:12] == b"WEBP"
