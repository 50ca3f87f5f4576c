"""`python -m compressor`: the write side, until SIGTERM."""

from __future__ import annotations

import os
import sys

from chipmunk import lean

lean.load()

from chipmunk import config, logs, metrics, traces
from chipmunk.errors import SettingsError
from chipmunk.serving import serve
from compressor.niceness import UPLOADS, step_back
from compressor.plugged.switched import checked


def main() -> None:
    os.umask(0o077)
    step_back(UPLOADS)
    try:
        settings = checked(config.load())
    except SettingsError as e:
        sys.exit(str(e))
    metrics.setup(settings)
    traces.setup(settings, "compressor")
    logs.configure(settings, "compressor")
    from compressor.app import create

    serve(create(settings), settings.address("compressor"))


if __name__ == "__main__":
    main()
