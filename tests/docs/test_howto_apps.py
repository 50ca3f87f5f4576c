"""The page on several apps: its commands make one, use it and end it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import httpx

from tests.client import problem
from tests.docs.howto import blocks
from tests.harness import System, until


def run(system: System, folder: Path, block: str) -> list[str]:
    """What each line of answer is that these commands print."""
    given = {**os.environ, "URL": system.url, "OPERATOR": system.operator_key, "JSON": "Content-Type: application/json"}
    script = "set -euo pipefail\n" + block.replace("curl ", "curl -sf -w '\\n' ")
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=given, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    return [line for line in done.stdout.splitlines() if line]


def test_the_commands_make_use_and_end_an_app(system: System, tmp_path: Path) -> None:
    make, key, use, see, end_key, end = blocks("several-apps.md", "sh")[1:]
    assert json.loads(run(system, tmp_path, make)[0])["user_quota_bytes"] == 2_000_000_000
    run(system, tmp_path, key)
    assert json.loads(run(system, tmp_path, use)[0])["quota_bytes"] == 2_000_000_000
    standing, log = map(json.loads, run(system, tmp_path, see))
    assert standing["user_count"] == 1
    assert [row["action"] for row in log["items"]] == ["user.made", "key.made", "app.made"]
    with httpx.Client(
        base_url=system.url, headers={"Authorization": f"Bearer {(tmp_path / 'shop.key').read_text().strip()}"}
    ) as backend:
        assert backend.get("/v1/users/alice").status_code == 200
        fresh = json.loads(run(system, tmp_path, end_key)[0])["key"]
        until(lambda: backend.get("/v1/users/alice").status_code == 401, 2, "the end of the key")
        backend.headers["Authorization"] = f"Bearer {fresh}"
        assert backend.get("/v1/users/alice").status_code == 200
        run(system, tmp_path, end)
        problem(backend.get("/v1/users/alice"), 401, "unauthorized")
