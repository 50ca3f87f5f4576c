"""The tus clients of browsers and Node as they are shipped: tus-js-client and Uppy, installed once and kept."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.servers import npm

HERE = Path(__file__).parent
PACKAGES = {
    "private": True,
    "type": "module",
    "dependencies": {
        "tus-js-client": "4.3.1",
        "@uppy/core": "6.3.1",
        "@uppy/tus": "6.0.0",
        "esbuild": "0.28.2",
    },
}


class Clients:
    """`upload` runs tus-js-client in Node; `bundle` is Uppy for a page."""

    def __init__(self) -> None:
        self._folder = npm.installed("tus", PACKAGES)
        shutil.copyfile(HERE / "tus_uploads.mjs", self._folder / "tus_uploads.mjs")

    def start(self, endpoint: str, uploads: list[dict[str, Any]], **given: Any) -> subprocess.Popen[str]:
        """Begins uploads of files, so many at once. Each is {path, metadata, options, …}."""
        asked = json.dumps({"endpoint": endpoint, "uploads": uploads, "atOnce": 4, **given})
        process = subprocess.Popen(
            ["node", self._folder / "tus_uploads.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write(asked)
        process.stdin.close()
        process.stdin = None
        return process

    def upload(self, endpoint: str, uploads: list[dict[str, Any]], **given: Any) -> list[dict[str, Any]]:
        """How each ended: {url, media, status} or {error}; and how often it was asked what."""
        process = self.start(endpoint, uploads, **given)
        try:
            told, _ = process.communicate(timeout=90)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 0, told
        return list(json.loads(told))

    def bundle(self, script: str | None = None) -> str:
        """A script for a page, with the clients that it imports; without one, that of the tests' own page."""
        words = (HERE / "uppy_page.mjs").read_text() if script is None else script
        options = ["--bundle", "--format=esm", "--log-level=error"]
        command = [self._folder / "node_modules" / ".bin" / "esbuild", *options]
        return subprocess.run(command, cwd=self._folder, input=words, capture_output=True, text=True, check=True).stdout
