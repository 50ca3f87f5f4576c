"""`python -m gateway authorizer`, `… api`, or both as two processes that live and die together."""

from __future__ import annotations

import signal
import subprocess
import sys

from chipmunk import config, lean
from chipmunk.errors import SettingsError

PARTS = ("authorizer", "api")


def run(part: str) -> None:
    settings = config.load()
    lean.load()
    if part == "authorizer":
        from gateway.authorizer import main as authorizer

        authorizer(settings)
    else:
        from gateway.api.app import main as api

        api(settings)


def run_both() -> int:
    """Runs both; when one ends, so does the other. The exit code is that of the first to end."""
    children = [subprocess.Popen([sys.executable, "-m", "gateway", part]) for part in PARTS]

    def end(*_: object) -> None:
        for child in children:
            child.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while True:
        for child in children:
            try:
                code = child.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            end()
            for other in children:
                other.wait()
            return code


def main() -> None:
    try:
        match sys.argv[1:]:
            case []:
                sys.exit(run_both())
            case [part] if part in PARTS:
                run(part)
            case _:
                sys.exit("usage: python -m gateway [authorizer|api]")
    except SettingsError as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
