"""Several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence


async def side_by_side(work: Sequence[Coroutine[None, None, None]]) -> None:
    """Runs all of it; where one fails the others end too, and its error is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
