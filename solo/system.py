"""The whole system, from nothing to ready, and back to nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from chipmunk.config import Settings
from solo import place, servers
from solo.keys import with_keys
from solo.logs import Logs
from solo.packages import PROJECT, compile_ours
from solo.privileges import account, become, open_the_way
from solo.processes import Ledger
from solo.screen import Screen
from solo.supervisor import Supervisor

OURS = ("authorizer", "api", "compressor", "worker")
STOP = ((("nginx",), 2.0), (OURS, 4.0), (("valkey", "postgres"), 1.5))  # below 10 s in all, killing included
BOUND_LOGS_SECONDS = 10.0

Start = Callable[[Supervisor], Awaitable[None]]


def run(settings: Settings) -> None:
    """Everything, in the foreground, until a signal ends it."""
    with Screen() as screen, place.hold(settings.data_dir):
        _ledger(settings).end_leftovers()
        sockets = place.listen(settings.host, settings.port)
        _settle(settings)
        embedded = servers.embedded(settings)
        settings, fresh = with_keys(servers.with_servers(settings))
        web = servers.nginx(settings, sockets)

        async def start(supervisor: Supervisor) -> None:
            screen.step("Starting PostgreSQL and Valkey")
            await supervisor.start(*embedded)
            screen.step("Migrating the database")
            await supervisor.once(servers.migrate(settings))
            screen.step("Starting gateway, compressor and workers")
            await supervisor.start(*servers.ours(settings))
            screen.step("Starting nginx")
            await supervisor.start(web)
            screen.ready(settings, fresh)

        asyncio.run(_live(settings, start, sockets))


def run_servers(settings: Settings) -> None:
    """PostgreSQL and Valkey alone, for tests and for work on one part; prints their addresses."""
    with place.hold(settings.data_dir):
        _ledger(settings).end_leftovers()
        _settle(settings)

        async def start(supervisor: Supervisor) -> None:
            await supervisor.start(*servers.embedded(settings))
            known = servers.with_servers(settings)
            print(f"CHIPMUNK_DATABASE_URL={known.database_url}")
            print(f"CHIPMUNK_REDIS_URL={known.redis_url}", flush=True)

        asyncio.run(_live(settings, start, ()))


def _ledger(settings: Settings) -> Ledger:
    return Ledger(settings.data_dir / "run" / "children.json")


def _settle(settings: Settings) -> None:
    """Gives root up where there is any, and leaves the data directory ready to be lived in."""
    if (who := account(settings.user)) is not None:
        place.give(settings.data_dir, who)
        programs = [Path(sys.executable), servers.nginx_binary(settings)]
        homes = [PROJECT, settings.data_dir, Path(sys.prefix), Path(sys.base_prefix)]
        open_the_way(who, [*homes, *(program.parent for program in programs)])
        compile_ours()
        become(who, settings.data_dir)
    os.umask(0o077)
    place.furnish(settings.data_dir)
    place.clear(settings)
    Logs(settings.log_dir).turn()


async def _live(settings: Settings, start: Start, sockets: Sequence[socket.socket]) -> None:
    """Starts, waits for a signal, stops; a second signal hurries the stopping."""
    logs, told = Logs(settings.log_dir), asyncio.Event()
    supervisor = Supervisor(logs, _ledger(settings))
    _on_signals(supervisor, told)
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
        place.forget_decisions(settings)


def _on_signals(supervisor: Supervisor, told: asyncio.Event) -> None:
    def signalled() -> None:
        if told.is_set():
            supervisor.hurry()
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN):  # nohup
            asyncio.get_running_loop().add_signal_handler(number, signalled)


async def _bound(logs: Logs) -> None:
    while True:
        await asyncio.sleep(BOUND_LOGS_SECONDS)
        logs.bound()
