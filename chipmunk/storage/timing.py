"""How long a store takes, as a metric, and as spans of traces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from time import monotonic
from typing import Any, cast

from chipmunk import metrics, traces
from chipmunk.errors import NotFound
from chipmunk.storage import Store

TIMED = ("put", "stat", "delete", "check", "finish_parts")


def timed(store: Store, backend: str) -> Store:
    """The same store, whose calls are timed from now on; of reading, the time to the first bytes."""
    for name in TIMED:
        if hasattr(store, name):
            setattr(store, name, _timed(getattr(store, name), backend, name))
    store.open = _opened(store.open, backend)  # type: ignore[method-assign]
    return store


def _observe(backend: str, operation: str, began: float, error: BaseException | None) -> None:
    outcome = "done" if error is None else "missing" if isinstance(error, NotFound) else "failed"
    metrics.STORE_SECONDS.labels(backend, operation, outcome).observe(monotonic() - began)


def _timed(method: Callable[..., Any], backend: str, operation: str) -> Callable[..., Any]:
    async def call(*given: Any, **named: Any) -> Any:
        began, error = monotonic(), cast(BaseException | None, None)
        try:
            with traces.span(f"store {operation}", backend=backend):
                return await method(*given, **named)
        except BaseException as e:
            error = e
            raise
        finally:
            _observe(backend, operation, began, error)

    return call


def _opened(method: Callable[..., AsyncIterator[bytes]], backend: str) -> Callable[..., AsyncIterator[bytes]]:
    async def parts(*given: Any, **named: Any) -> AsyncIterator[bytes]:
        began, first = monotonic(), True
        try:
            async with aclosing(cast(Any, method(*given, **named))) as reading:
                async for part in reading:
                    if first:
                        first = False
                        _observe(backend, "open", began, None)
                    yield part
        except Exception as e:
            if first:
                _observe(backend, "open", began, e)
            raise

    return parts
