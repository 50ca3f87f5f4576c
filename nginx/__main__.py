"""`python -m nginx FOLDER`: renders nginx.conf into the folder, with the settings of the environment."""

from __future__ import annotations

import sys
from pathlib import Path

from chipmunk import config
from chipmunk.errors import SettingsError
from nginx.render import render


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m nginx FOLDER")
    try:
        text = render(config.load())
    except SettingsError as e:
        sys.exit(str(e))
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / "nginx.conf.new"
    new.write_text(text)
    new.rename(folder / "nginx.conf")


if __name__ == "__main__":
    main()
