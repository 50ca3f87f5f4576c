"""`python -m chipmunk migrate`: brings the database to the newest schema."""

from __future__ import annotations

import asyncio
import sys

from chipmunk import config
from chipmunk.errors import SettingsError
from chipmunk.migrate import migrate


def main() -> None:
    if sys.argv[1:] != ["migrate"]:
        sys.exit("usage: python -m chipmunk migrate")
    try:
        applied = asyncio.run(migrate(config.load()))
    except (SettingsError, OSError) as e:
        sys.exit(str(e))
    print(f"{len(applied)} migrations applied" if applied else "nothing to migrate")


if __name__ == "__main__":
    main()
