"""Runs an ASGI app on a unix socket or a port until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvicorn

GRACE_SECONDS = 6
TICK_SECONDS = 0.5
KEEPALIVE_SECONDS = 75  # longer than nginx keeps its side open, so that nginx never writes into a closed connection
BACKLOG = 2048


def listen(address: str) -> socket.socket:
    """A listening socket at `unix:/path` or `host:port`; a stale socket file is replaced in one step."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_server((host.strip("[]"), int(port)), backlog=BACKLOG, reuse_port=False)
    path = Path(address.removeprefix("unix:"))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(new))
    new.chmod(0o660)
    server.listen(BACKLOG)
    new.rename(path)
    return server


class Server(uvicorn.Server):
    """Looks twice a second whether it is to end, where uvicorn does ten times: that is most of what an idle process costs."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - a signal sets it, and wakes nobody
            await asyncio.sleep(TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Has the app end by itself what would never end."""
        stop = getattr(getattr(self.config.app, "state", None), "stop", None)
        if stop is not None:
            stop()
        await super().shutdown(sockets)


def serve(app: Any, address: str, http: Any = "httptools") -> None:
    """Serves until SIGTERM or SIGINT, then lets what is under way finish for 6 s. `http` is uvicorn's: a protocol or its name."""
    server = Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=http,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEPALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
        )
    )
    server.run(sockets=[listen(address)])
