"""A process of the write side that is killed at its n-th step on the disk or in the database.

`python dying.py upload N USER KEY` uploads a picture and prints `201 <id>` where that was answered.
`python dying.py ladder N JOB` makes one attempt at a job and prints `done` where it came to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from chipmunk import config, jobs
from compressor.parts import assembled
from compressor.worker import Worker
from tests.compressor.conftest import API_KEY, house_of, photo


class Doom:
    """Kills this process before or after its n-th step, counted from when it is armed."""

    def __init__(self, step: int) -> None:
        self._left = step
        self.armed = False

    def _reached(self) -> None:
        if self.armed:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        if asyncio.iscoroutinefunction(plain):

            async def doomed_async(*args: Any, **named: Any) -> Any:
                self._reached()
                done = await plain(*args, **named)
                self._reached()
                return done

            setattr(owner, name, doomed_async)
            return

        def doomed(*args: Any, **named: Any) -> Any:
            self._reached()
            done = plain(*args, **named)
            self._reached()
            return done

        setattr(owner, name, doomed)


def prepare(doom: Doom) -> None:
    for owner, names in (
        (os, ("fsync", "link", "write")),
        (Path, ("rename", "mkdir", "unlink")),
        (asyncpg.connection.Connection, ("execute", "fetch", "fetchrow", "fetchval")),
        (asyncpg.transaction.Transaction, ("commit",)),
    ):
        for name in names:
            doom.around(owner, name)


async def upload(doom: Doom, user: str, key: str) -> None:
    async with house_of(config.load()) as house:
        doom.armed = True
        headers = {"authorization": f"Bearer {API_KEY}", **({"idempotency-key": key} if key else {})}
        answer = await house.http.put("/v1/media", params={"user": user}, content=photo(), headers=headers)
        print(answer.status_code, answer.json().get("id"), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


async def ladder(doom: Doom, job: str) -> None:
    class Entry:
        payload, attempts, entrypoint = job.encode(), 0, jobs.LADDER

    async with assembled(config.load()) as parts:
        doom.armed = True
        await Worker(parts, asyncio.Event()).attempt(Entry())  # type: ignore[arg-type]
        print("done", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    what, number, *more = sys.argv[1:]
    end: Callable[..., Any] = upload if what == "upload" else ladder
    fate = Doom(int(number))
    prepare(fate)
    asyncio.run(end(fate, *more))
