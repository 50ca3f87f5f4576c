"""Functions that other processes run: named here, loaded there alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Named:
    """A function by its name; it can be sent, and is loaded where it is called."""

    module: str
    name: str

    def __call__(self, *args: Any) -> Any:
        return getattr(import_module(self.module), self.name)(*args)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Stands for a module whose functions are called in other processes only."""

    module: str

    def __getattr__(self, name: str) -> Named:
        return Named(self.module, name)
