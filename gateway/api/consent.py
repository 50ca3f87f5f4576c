"""Asks the plug-ins whether a link may be made. This process runs none: a compressor asks them for it.

aiohttp is imported where it is used: most installations have no plug-in that has a say.
"""

from __future__ import annotations

from typing import Any

import structlog

from chipmunk import hooks, traces
from chipmunk.config import Settings
from chipmunk.hooks import PluginUnavailable, RefusedByPlugin, Sharing
from chipmunk.media import Media

PATIENCE_SECONDS = 80.0  # nginx waits for 90
UNPROCESSABLE = 422
log = structlog.get_logger()


async def to_share(settings: Settings, found: Media, audience: str) -> None:
    """Raises RefusedByPlugin, or PluginUnavailable where one of them, or the compressor, does not answer."""
    sharing = Sharing(found.id.hex, found.kind, found.mime, tuple(found.flows), audience)
    status, told = await _asked(settings, hooks.sent(sharing))
    if status == UNPROCESSABLE:
        raise RefusedByPlugin(told["detail"], plugin=told["plugin"])
    if status != 204:
        raise PluginUnavailable(**{k: v for k, v in told.items() if k == "plugin"})


async def _asked(settings: Settings, sharing: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    import aiohttp

    address, timeout = settings.address("compressor"), aiohttp.ClientTimeout(PATIENCE_SECONDS)
    unix = address.startswith("unix:")
    connector = aiohttp.UnixConnector(address.removeprefix("unix:")) if unix else aiohttp.TCPConnector()
    url = f"http://{'compressor' if unix else address}{hooks.SHARING_PATH}"
    headers = {"x-request-id": traces.request_id() or ""}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.post(url, json=sharing, headers=headers) as answer,
        ):
            return answer.status, {} if answer.status == 204 else dict(await answer.json(content_type=None))
    except (TimeoutError, aiohttp.ClientError, ValueError) as e:
        log.warning("no compressor asks the plug-ins", error=type(e).__name__)
        raise PluginUnavailable() from None
