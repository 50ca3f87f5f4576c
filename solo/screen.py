"""What a person sees: progress and the first steps on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from chipmunk.config import Settings

STEPS = r"""
Paste these: they make a user, upload a picture of yours, and print an address that shows it in a browser.

  KEY=$(cat {key}) URL={url}
  curl -w '\n' -X PUT $URL/v1/users/alice -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d '{{}}'
  curl -w '\n' -T photo.jpg "$URL/v1/media?user=alice&filename=photo.jpg" -H "Authorization: Bearer $KEY" | tee uploaded.json
  curl -s $URL/v1/sessions -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
    -d '{{"user": "alice", "ttl_seconds": 3600}}' | python3 -c 'import json, sys; \
    print(json.load(sys.stdin)["enter_url"] + "?next=" + json.load(open("uploaded.json"))["url"] + "5/")'
"""


class Screen:
    """Used as a context: the spinner is gone when it ends."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self._began = time.monotonic()
        self._status: Any = None

    def __enter__(self) -> Screen:
        if self.is_terminal:
            from rich.console import Console

            self._status = Console().status("")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def step(self, text: str) -> None:
        """What is being done now."""
        if self._status:
            self._status.update(text)
        else:
            print(text, flush=True)

    def ready(self, settings: Settings, fresh: dict[str, str]) -> None:
        """The address, where the keys are, and commands to paste; the keys themselves once, on a terminal."""
        self.__exit__(None, None, None)
        seconds = time.monotonic() - self._began
        print(f"\nChipmunk is ready after {seconds:.1f} s at {settings.base_url}   (Ctrl-C stops it)")
        print(f"Keys: {settings.data_dir / 'keys'}   Logs: {settings.log_dir}")
        if self.is_terminal:
            for field in fresh.keys() & {"api_key", "operator_key"}:
                print(f"{field}: {fresh[field]}   (shown this once)")
        key = settings.data_dir / "keys" / "api.key"
        print(STEPS.format(url=settings.base_url, key=key), flush=True)
