"""What nginx keeps on disk of rungs that lie elsewhere, and how it goes when their media does.

nginx finds a file of its cache by the MD5 of the name that it keeps it under, and takes one that is not there for one that it
never had.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog

from chipmunk.edits import FORMATS, LAST_VARIANT
from chipmunk.ids import folder
from chipmunk.renditions import PREVIEWS, REEL, RUNGS
from gateway.subscription import ASLEEP_SECONDS

# What is kept of a media, by the tags that name it; only of those that have variants comes the second.
FILES: dict[str, tuple[int | str, ...]] = {
    "media": (*RUNGS, *PREVIEWS, REEL),
    "variants": tuple(f"v{number}.{format}" for number in range(1, LAST_VARIANT + 1) for format in FORMATS),
}
Named = tuple[str, UUID]
# Seconds after a revocation: at once, and again for what was on its way to nginx just then. The API's process lets no rung
# out whose media was deleted while it was read, so that nothing comes later.
LOOKS = (0.0, 0.6, 1.6)
GATHER_SECONDS = 0.05
AWAKE_SECONDS = 1.0
log = structlog.get_logger()


def path(kept: Path, media: UUID, file: int | str) -> Path:
    """Where nginx keeps it, a rung or what a variant is called: `levels=1:2`, `proxy_cache_key $away/$q`."""
    name = hashlib.md5(f"/{folder(media)}/{file}".encode(), usedforsecurity=False).hexdigest()
    return kept / name[-1] / name[-3:-1] / name


class Kept:
    """Forgets media that tags name; `keep_forgetting` has to run for that. Times are those of `clock`, in seconds."""

    def __init__(self, kept: Path, clock: Callable[[], float]) -> None:
        self._kept = kept
        self._clock = clock
        self._due: dict[Named, tuple[float, int]] = {}
        self._woken = asyncio.Event()

    def anything(self) -> bool:
        """Whether nginx has kept anything since it was emptied."""
        with suppress(OSError):
            return any(self._kept.iterdir())
        return False

    def patience(self) -> float:
        """Seconds that may pass until a revocation is heard of while nobody looks at anything."""
        return AWAKE_SECONDS if self.anything() else ASLEEP_SECONDS

    def forget(self, tags: Iterable[str]) -> None:
        """What these tags name is looked for soon, and then again for a while."""
        now = self._clock()
        for tag in tags:
            kind, _, identifier = tag.partition(":")
            if kind in FILES:
                self._due[kind, UUID(hex=identifier)] = (now, 0)
                self._woken.set()

    async def keep_forgetting(self) -> None:
        while True:
            soonest = min((at for at, _ in self._due.values()), default=None)
            with suppress(TimeoutError):
                wait = None if soonest is None else max(0.0, soonest - self._clock())
                await asyncio.wait_for(self._woken.wait(), wait)
            self._woken.clear()
            await asyncio.sleep(GATHER_SECONDS)
            await asyncio.to_thread(self._unlink, self._taken(self._clock()))

    def _taken(self, now: float) -> list[Named]:
        """Those whose time has come; each comes again until all looks are done."""
        due = [named for named, (at, _) in self._due.items() if at <= now]
        for named in due:
            at, look = self._due[named]
            if look + 1 < len(LOOKS):
                self._due[named] = (at - LOOKS[look] + LOOKS[look + 1], look + 1)
            else:
                del self._due[named]
        return due

    def _unlink(self, due: Iterable[Named]) -> None:
        if not self.anything():
            return
        for kind, media in due:
            for file in FILES[kind]:
                try:
                    path(self._kept, media, file).unlink(missing_ok=True)
                except OSError as e:
                    log.error("what nginx keeps cannot be deleted", media=media.hex, error=type(e).__name__)
