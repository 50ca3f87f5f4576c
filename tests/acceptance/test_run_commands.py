"""What `scripts/run` prints to paste does what it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx

from tests.client import photo
from tests.harness import System, until


def test_the_pasted_commands_show_a_photo_in_a_browser(system: System, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo())
    commands = "\n".join(line for line in system.output.splitlines() if line.startswith("  "))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    address = ran.stdout.splitlines()[-1]
    assert address.startswith(f"{system.url}/enter/")

    with httpx.Client(follow_redirects=True) as browser:
        entered = browser.get(address)
        seen = str(entered.url)
        assert seen.startswith(system.url)
        assert seen.endswith("/5/")
        until(lambda: browser.get(seen).headers.get("Cache-Control") != "no-store", 20, "the fifth rung")
        answer = browser.get(seen)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/webp"
