"""The pool of decoding processes. What goes wrong in one ends that task alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as TaskTimeout
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from pebble import ProcessExpired, ProcessPool
from pebble.common.types import CONSTS

from chipmunk import metrics, renditions, traces
from chipmunk.config import Settings
from chipmunk.errors import DecodeFailed
from compressor.begun import Begun
from compressor.elsewhere import Elsewhere
from compressor.ladder import RungFile
from compressor.limits import Limits
from compressor.look import MIME, Look, Sides
from compressor.sniff import Kind

if TYPE_CHECKING:
    from compressor import looking, tasks
    from compressor.tasks import Stamps
else:
    looking, tasks = Elsewhere("compressor.looking"), Elsewhere("compressor.tasks")

# What each process would load by itself, and have memory of its own for, were it not there when it is forked.
PRELOADED = [
    "compressor.tasks",
    "pebble",
    *(f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Ppm", "Png")),
]
LOOK_SECONDS = 0.5  # how often the pool looks for processes that died or take too long; answers come at once
P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _timed(stage: str, kind: Kind) -> Iterator[None]:
    began = monotonic()
    try:
        with traces.span(f"decode {stage}", kind=kind.kind, mime=kind.mime):
            yield
    finally:
        metrics.DECODE_SECONDS.labels(stage, kind.kind).observe(monotonic() - began)


def _count(made: list[RungFile]) -> None:
    for rung in made:
        metrics.RUNG_SECONDS.labels(renditions.label(rung.quality)).observe(rung.seconds)


class Decoders:
    """`async with Decoders(settings) as decoders`: warm processes, one a core unless settings say otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._limits = Limits.of(settings)
        self._count = settings.decoders or os.cpu_count() or 1
        self._pool: Any = None

    async def __aenter__(self) -> Self:
        self._pool = self._new_pool()
        await asyncio.gather(*(self._run(tasks.nap, 0.01) for _ in range(self._count)))
        return self

    def _new_pool(self) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        CONSTS.sleep_unit = LOOK_SECONDS
        return ProcessPool(
            max_workers=self._count, initializer=tasks.prepare, initargs=(self._limits,), context=context
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._pool.stop()
        await asyncio.to_thread(self._pool.join)

    async def begin(self, path: Path, kind: Kind, out: Path, square: bool, cap: int) -> Begun:
        """Looks into the file and writes rungs 1 to 3 into `out`, together at most `cap` bytes.

        Raises CorruptImage, TooManyPixels, or DecodeFailed where memory or time ran out or the process died.
        """
        with _timed("first", kind):
            begun = await self._run(tasks.begin, path, kind, out, square, cap)
        _count(begun.rungs)
        return begun

    async def finish(
        self, path: Path, kind: Kind, out: Path, crop: float | None, cap: int, overlays: Sequence[Path] = ()
    ) -> list[RungFile]:
        """Writes rungs 4 to 6 into `out`, and preview frames of what moves, with the overlays (PNG) on them, together at most
        `cap` bytes.

        Raises as `begin` does.
        """
        with _timed("rest", kind):
            made = await self._run(tasks.finish, path, kind, out, crop, cap, tuple(overlays))
        _count(made)
        return made

    async def edit(
        self, path: Path, kind: Kind, out: Path, text: str, format: str | None = None, stamps: Stamps | None = None
    ) -> None:
        """Makes the file `out`, by these edits, in this format (webp, jpeg, avif) or in that of a new original; raises as `begin`
        does, and BadEdits where they do not fit the picture."""
        with _timed("edit", kind):
            await self._run(tasks.edit, path, kind, out, text, format, stamps or {})

    async def look(self, path: Path) -> tuple[list[int], int | None]:
        """The colours and the hash of a rendition; raises as `begin` does, or OSError where it is not there."""
        return await self._run(tasks.look, path)

    async def squares(self, rung: Path, sides: Sides) -> list[Look]:
        """Squares of some frames of a rung, of these sides; raises as `begin` does."""
        with _timed("squares", Kind("image", MIME, "webp")):
            return await self._run(looking.looks, rung, sides)

    async def pixels(self, rung: Path, out: Path) -> tuple[int, int, int]:
        """Writes the pixels of some frames of a rung into the file `out`; width, height, frames. Raises as `look` does."""
        with _timed("pixels", Kind("image", MIME, "webp")):
            return await self._run(looking.pixels, rung, out)

    async def _run(self, task: Callable[P, R], *args: P.args, **_: P.kwargs) -> R:
        if not self._pool.active:  # broken for good, as when the process that forks the others was killed
            self._pool = self._new_pool()
        future = self._pool.schedule(task, args=args, timeout=self._limits.seconds)
        try:
            return await asyncio.wrap_future(future)
        except TaskTimeout:
            raise DecodeFailed("Decoding the file takes longer than the service allows.") from None
        except ProcessExpired:
            raise DecodeFailed("The file crashed its decoder.") from None
        except MemoryError:
            raise DecodeFailed("Decoding the file needs more memory than the service allows.") from None
