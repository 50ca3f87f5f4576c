"""Plug-ins of the tests, installed as packages are: with an entry point."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chipmunk.hooks import GROUP

HERE = Path(__file__).parent


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, cls: str, source: str) -> None:
    """Lays a module of that name and its entry point into a folder that Python finds packages in."""
    told = folder / f"{name}-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}:{cls}\n")
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))


def install_kindly(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    install(monkeypatch, folder, "kindly", "Kindly", (HERE / "plugins" / "kindly.py").read_text())


def install_colours(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    install(monkeypatch, folder, "colours", "Colours", (HERE / "plugins" / "colours.py").read_text())


def install_hostile(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    install(monkeypatch, folder, "hostile", "Hostile", (HERE / "plugins" / "hostile.py").read_text())


def processes() -> set[int]:
    """Those of plug-ins that this process has started."""
    every = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return {pid for pid in every if b"plugged.child" in Path(f"/proc/{pid}/cmdline").read_bytes()}
