"""Libraries of which others load half of what is installed, and use none of it here, are loaded as though that were not there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

# structlog colours tracebacks for terminals, redis measures itself: 8 MB in each process, with all that those load.
WITHOUT = {"structlog": ("rich",), "redis.asyncio": ("opentelemetry",)}


def load() -> None:
    """To be called before anything else imports these. What cannot do without is loaded with all of it, later."""
    for library, others in WITHOUT.items():
        with suppress(ImportError), absent(*others):
            import_module(library)


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Has imports of these fail as though they were not installed; what is loaded already stays so."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
