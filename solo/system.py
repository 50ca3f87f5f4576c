"""The whole system, from nothing to ready, and back to nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from chipmunk.config import Settings
from solo import place, servers
from solo.keys import with_keys
from solo.logs import Logs
from solo.packages import PROJECT
from solo.privileges import account, become, open_the_way
from solo.processes import Ledger
from solo.screen import Screen
from solo.supervisor import Supervisor

STOP = (
    (("nginx",), 2.0),
    (("authorizer", "api", "compressor", "worker"), 4.0),
    (("valkey", "postgres"), 1.5),
)
BOUND_LOGS_SECONDS = 10.0

Start = Callable[[Supervisor], Awaitable[None]]


def run(settings: Settings) -> None:
    """Everything, in the foreground, until a signal ends it."""
    with Screen() as screen, place.hold(settings.data_dir):
        sockets = place.listen(settings.host, settings.port)
        _settle(settings)
        embedded, settings = servers.embedded(settings), servers.with_servers(settings)
        settings, fresh = with_keys(settings)

        async def start(supervisor: Supervisor) -> None:
            screen.step("Starting PostgreSQL and Valkey")
            await supervisor.start(*embedded)
            screen.step("Migrating the database")
            await supervisor.once(servers.migrate(settings))
            screen.step("Starting gateway, compressor and workers")
            await supervisor.start(*servers.ours(settings))
            screen.step("Starting nginx")
            await supervisor.start(servers.nginx(settings, sockets))
            screen.ready(settings, fresh)

        asyncio.run(_live(settings, start, sockets))


def run_servers(settings: Settings) -> None:
    """PostgreSQL and Valkey alone, for tests and for working on one part; prints their addresses."""
    with Screen() as screen, place.hold(settings.data_dir):
        _settle(settings)

        async def start(supervisor: Supervisor) -> None:
            await supervisor.start(*servers.embedded(settings))
            known = servers.with_servers(settings)
            print(
                f"CHIPMUNK_DATABASE_URL={known.database_url}\nCHIPMUNK_REDIS_URL={known.redis_url}",
                flush=True,
            )

        asyncio.run(_live(settings, start, ()))


def _settle(settings: Settings) -> None:
    """Ends what an earlier run left, gives root up, and leaves the data directory ready to be lived in."""
    _ledger(settings).end_leftovers()
    if (who := account(settings.user)) is not None:
        place.give(settings.data_dir, who)
        needed = [PROJECT, settings.data_dir, Path(sys.prefix), Path(sys.base_prefix)]
        open_the_way(
            who,
            [
                *needed,
                Path(sys.executable).parent,
                *([Path(settings.nginx).parent] if settings.nginx else []),
            ],
        )
        become(who, settings.data_dir)
    place.furnish(settings.data_dir)
    place.clear(settings)
    Logs(settings.log_dir).turn()


def _ledger(settings: Settings) -> Ledger:
    return Ledger(settings.data_dir / "run" / "children.json")


async def _live(settings: Settings, start: Start, sockets: Sequence[socket.socket]) -> None:
    """Starts, waits for a signal, stops; a second signal hurries the stopping."""
    logs, told = Logs(settings.log_dir), asyncio.Event()
    supervisor = Supervisor(logs, _ledger(settings))

    def signalled() -> None:
        if told.is_set():
            supervisor.hurry()
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    starting, waiting = asyncio.ensure_future(start(supervisor)), asyncio.create_task(told.wait())
    bounding = asyncio.create_task(_bound(logs))
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await waiting
    finally:
        starting.cancel()
        bounding.cancel()
        await asyncio.wait({starting, bounding})
        for taken in sockets:
            taken.close()
        await supervisor.stop(*STOP)


async def _bound(logs: Logs) -> None:
    while True:
        await asyncio.sleep(BOUND_LOGS_SECONDS)
        logs.bound()
