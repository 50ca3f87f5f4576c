"""`python -m solo run`: everything, on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys

from chipmunk import config
from chipmunk.errors import SettingsError
from solo.refusal import Refusal
from solo.system import run, run_servers

COMMANDS = {"run": run, "servers": run_servers}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m solo", description="Chipmunk on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="PostgreSQL, Valkey, nginx, gateway, compressor and workers, until Ctrl-C")
    commands.add_parser("servers", help="PostgreSQL and Valkey alone; prints their addresses")
    command = parser.parse_args().command
    try:
        COMMANDS[command](config.load())
    except (Refusal, SettingsError) as e:
        sys.exit(f"chipmunk: {e}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
