"""The plug-ins that are switched on, and what the service does by what they answer, or where they do not.

Nothing of a plug-in is imported here: entry points are read as text, and its process says what it takes part in.
"""

from __future__ import annotations

import asyncio
import json
import os
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chipmunk import hooks, jobs
from chipmunk.config import Settings
from chipmunk.db import Connection
from chipmunk.errors import SettingsError
from chipmunk.hooks import (
    Arrival,
    Handed,
    Ingested,
    Looked,
    PluginUnavailable,
    Refused,
    RefusedByPlugin,
    Rendering,
    Seen,
    Sharing,
    Tagged,
)
from chipmunk.media import Media
from chipmunk.storing import New
from compressor import ladder
from compressor.plugged.pool import Pool
from compressor.plugged.process import Failed, Terms

OURS = {
    "virus_scan": "plugins.virus_scan:VirusScan",
    "watermark": "plugins.watermark:Watermark",
    "faces": "plugins.faces:Faces",
}  # those of pyproject.toml, for where nothing is installed


class Plugged:
    """`async with Plugged(settings) as plugged`; false where no plug-in is switched on."""

    def __init__(self, settings: Settings) -> None:
        self._pools = [_pool(settings, name) for name in settings.plugins]

    def __bool__(self) -> bool:
        return bool(self._pools)

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(pool.start() for pool in self._pools))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.gather(*(pool.stop() for pool in self._pools))

    async def before_ingest(self, arrival: Arrival, file: Path) -> None:
        """Raises RefusedByPlugin, or PluginUnavailable: what cannot be looked at is not taken."""
        await self._permitted(hooks.BEFORE_INGEST, arrival, file)

    async def before_share(self, sharing: Sharing) -> None:
        """As `before_ingest`."""
        await self._permitted(hooks.BEFORE_SHARE, sharing, None)

    async def _permitted(self, hook: str, handed: Arrival | Sharing, file: Path | None) -> None:
        for name in self.concerned(hook, handed.kind, handed.flows):
            answer = await self._ask(name, hook, handed, file)
            if isinstance(answer, Refused):
                raise RefusedByPlugin(answer.reason, plugin=name)

    async def render(self, found: Media, folder: Path) -> list[Path]:
        """The overlays of its rungs 4 to 6, lowest first, written below the folder; PluginUnavailable as above: what is
        to have one is not made without."""
        if not self._pools or found.width is None or found.height is None:
            return []
        top = ladder.plan(found.width, found.height, found.square)[-1]
        flows = tuple(found.flows)
        rendering = Rendering(found.id.hex, found.kind, found.mime, top.width, top.height, flows)
        overlays = []
        for name in self.concerned(hooks.RENDER, found.kind, flows):
            out = folder / f"{name}.png"
            if await self._ask(name, hooks.RENDER, rendering, out) is not None:
                overlays.append(out)
        return overlays

    async def after_ingest(self, name: str, ingested: Ingested, file: Path) -> tuple[str, ...]:
        """The tags that it gives; PluginUnavailable where it does not answer."""
        if name not in self.concerned(hooks.AFTER_INGEST, ingested.kind, ingested.flows):
            return ()
        answer = await self._ask(name, hooks.AFTER_INGEST, ingested, file)
        return answer.tags if isinstance(answer, Tagged) else ()

    async def classify(self, looked: Looked, file: Path) -> list[Seen]:
        """What each of those concerned sees; PluginUnavailable where one of them does not answer."""
        names = self.concerned(hooks.CLASSIFY, looked.kind, looked.flows)
        answers = [await self._ask(name, hooks.CLASSIFY, looked, file) for name in names]
        return [answer for answer in answers if isinstance(answer, Seen)]

    def takes(self, hook: str) -> bool:
        """Whether any takes part in it."""
        return any(pool.takes(hook) for pool in self._pools)

    async def enqueue(self, connection: Connection, new: New, flows: tuple[str, ...]) -> None:
        """In the transaction that makes a media: a job for each plug-in that is to be asked about it afterwards."""
        for name in self.concerned(hooks.AFTER_INGEST, new.kind, flows):
            await jobs.enqueue(
                connection, jobs.AFTER_INGEST, app=new.app_id, user=new.owner_id, media=new.id, payload={"plugin": name}
            )

    def concerned(self, hook: str, kind: str, flows: tuple[str, ...]) -> list[str]:
        """The names of those that are to be asked, in the order of the setting."""
        return [pool.name for pool in self._pools if pool.concerned(hook, kind, flows)]

    async def _ask(self, name: str, hook: str, handed: Handed, file: Path | None) -> hooks.Answer:
        pool = next(p for p in self._pools if p.name == name)
        try:
            return await pool.ask(hook, handed, file)
        except Failed:
            raise PluginUnavailable(plugin=name) from None


def checked(settings: Settings) -> Settings:
    """These settings, or SettingsError where they name a plug-in that there is not."""
    Plugged(settings)
    return settings


def _pool(settings: Settings, name: str) -> Pool:
    found = {point.name: point.value for point in entry_points(group=hooks.GROUP)}
    entry = found.get(name) or OURS.get(name)
    if entry is None:
        known = ", ".join(sorted({*found, *OURS}))
        raise SettingsError(f"CHIPMUNK_PLUGINS: there is no plug-in {name!r}; there are {known}.")
    options: dict[str, Any] = dict(json.loads(settings.plugin_options or "{}").get(name, {}))
    flows = options.pop("flows", None)
    terms = Terms(name, entry, options, settings.plugin_memory_bytes, settings.plugin_seconds)
    most = settings.decoders or os.cpu_count() or 1
    return Pool(terms, None if flows is None else frozenset(flows), most)
