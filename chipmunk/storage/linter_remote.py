"""The contract of a store across a network, for when that or the server misbehaves.

for problem in await lint_remote(store, scratch_folder, faults): print(problem)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from time import monotonic
from typing import Protocol

from chipmunk.storage import Checking, Missing, Store, StoreUnavailable
from chipmunk.storage.linter_bench import Bench, read

BYTES = 3_000_000


class Faults(Protocol):
    """What stands between the store and its server. Each holds for so many requests, or for all until `heal`."""

    async def answer(self, status: int, times: int | None = None) -> None:
        """Requests get this status, and never reach the server."""
        ...

    async def cut(self, after: int, times: int | None = None) -> None:
        """The connection breaks once so many bytes of the request, or of the answer, have gone through."""
        ...

    async def stall(self, after: int, times: int | None = None) -> None:
        """Nothing moves any more once so many bytes have."""
        ...

    async def gone(self) -> None:
        """Nobody listens."""
        ...

    async def heal(self) -> None: ...


async def lint_remote(
    store: Store, scratch: Path, faults: Faults, *, seconds: float = 60, secrets: Collection[str] = ()
) -> list[str]:
    """As `lint`. The store reaches its server through `faults`; `seconds` is what a call that is of no use may take.
    None of `secrets` may stand in an error."""
    found: list[str] = []
    checks = (_throttled, _failing, _broken_puts, _broken_reads, _hopeless, _stalled, _interrupted, _back_again)
    for check in checks:
        bench = Bench(store, scratch)
        try:
            found += await check(bench, faults, Patience(seconds, secrets))
        except Exception as e:
            found.append(f"{check.__name__[1:]}: raised {type(e).__name__}: {e}")
        await faults.heal()
        await bench.clear()
    return found


class Patience:
    """How long a call may take until it says that the store is not to be used, and what it may not say."""

    def __init__(self, seconds: float, secrets: Collection[str]) -> None:
        self._seconds = seconds
        self._secrets = secrets

    async def gives_up(self, what: str, call: Awaitable[object], *, or_gives: bytes = b"") -> list[str]:
        began = monotonic()
        try:
            async with asyncio.timeout(self._seconds * 2):
                given = await call
        except StoreUnavailable as e:
            said = [f"the error of {what} tells a secret"] if any(s in str(e) for s in self._secrets) else []
            late = (
                [f"{what} took {monotonic() - began:.0f} s to give up"] if monotonic() - began > self._seconds else []
            )
            return said + late
        except TimeoutError:
            return [f"{what} never gives up"]
        except Exception as e:
            return [f"{what} raises {type(e).__name__}, not StoreUnavailable"]
        return [] if or_gives and given == or_gives else [f"{what} says that all is well"]


async def _throttled(bench: Bench, faults: Faults, _: Patience) -> list[str]:
    return [*await _goes_on(bench, faults, 503, 2), *await _goes_on(bench, faults, 429, 2)]


async def _failing(bench: Bench, faults: Faults, _: Patience) -> list[str]:
    return [*await _goes_on(bench, faults, 500, 1), *await _goes_on(bench, faults, 502, 1)]


async def _goes_on(bench: Bench, faults: Faults, status: int, times: int) -> list[str]:
    """Every call succeeds although its first tries do not."""
    data, what, found = os.urandom(1000), f"{status}", []
    await faults.answer(status, times)
    key = await bench.put(what, data)
    await faults.answer(status, times)
    if await read(bench.store, key) != data:
        found.append(f"after {what} other bytes were read")
    await faults.answer(status, times)
    if await bench.store.stat(key) is None:
        found.append(f"after {what} the object is not there")
    await faults.answer(status, times)
    await bench.store.delete(key)
    if await bench.store.stat(key) is not None:
        found.append(f"after {what} a deleted object is there")
    return found


async def _broken_puts(bench: Bench, faults: Faults, _: Patience) -> list[str]:
    found = []
    for after in (0, 100, 500_000, BYTES - 1000):
        data = os.urandom(BYTES)
        await faults.cut(after, 1)
        if await read(bench.store, await bench.put(f"{after}", data)) != data:
            found.append(f"a put that broke after {after} bytes kept others")
    return found


async def _broken_reads(bench: Bench, faults: Faults, _: Patience) -> list[str]:
    data, found = os.urandom(BYTES), []
    key = await bench.put("r", data)
    for after in (0, 100, 500_000, BYTES - 1000):
        for start, end in ((0, None), (70_000, BYTES - 5)):
            await faults.cut(after, 1)
            if await read(bench.store, key, start, end) != data[start:end]:
                found.append(f"a read that broke after {after} bytes gave others")
            await faults.heal()
    return found


async def _hopeless(bench: Bench, faults: Faults, patience: Patience) -> list[str]:
    key = await bench.put("h", b"hopeless")
    found = []
    for what, misbehave in {
        "answered 503": lambda: faults.answer(503),
        "answered 403": lambda: faults.answer(403),
        "cut": lambda: faults.cut(0),
        "stalled": lambda: faults.stall(0),
        "gone": faults.gone,
    }.items():
        await misbehave()
        for said in await asyncio.gather(
            *(patience.gives_up(f"{name}, {what},", call()) for name, call in _calls(bench, key).items())
        ):
            found += said
        await faults.heal()
    return found


async def _stalled(bench: Bench, faults: Faults, patience: Patience) -> list[str]:
    data = os.urandom(BYTES)
    key = await bench.put("s", data)
    await faults.stall(2_000_000)
    read_on, put = await asyncio.gather(
        patience.gives_up("open, stalled half way,", read(bench.store, key), or_gives=data),
        patience.gives_up("put, stalled half way,", bench.put("t", data)),
    )
    return read_on + put


def _calls(bench: Bench, key: str) -> dict[str, Callable[[], Awaitable[object]]]:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: bench.put("n", b"new"),
        "open": lambda: read(bench.store, key),
        "stat": lambda: bench.store.stat(key),
        "delete": lambda: bench.store.delete(key),
    }
    if isinstance(bench.store, Checking):
        calls["check"] = bench.store.check
    return calls


async def _interrupted(bench: Bench, faults: Faults, _: Patience) -> list[str]:
    """The server goes away in the middle of a put that is given up then."""
    data, found = os.urandom(BYTES), []
    await bench.put("whole", b"whole")
    for after in (100, 1_000_000, BYTES):
        await faults.stall(after)
        task = asyncio.ensure_future(bench.put(f"i{after}", data))
        await asyncio.sleep(0.3)
        await faults.gone()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await faults.heal()
        if bench.keeps_names and await bench.store.stat(f"{bench.prefix}/i{after}") is not None:
            try:
                half = await read(bench.store, f"{bench.prefix}/i{after}") != data
            except Missing:
                half = True
            found += ["an interrupted put left half an object"] if half else []
    return found


async def _back_again(bench: Bench, faults: Faults, _: Patience) -> list[str]:
    """The same store works once the server is back."""
    data = os.urandom(BYTES)
    key = await bench.put("b", data)
    await faults.gone()
    try:
        await read(bench.store, key)
        return ["open does without a server"]
    except StoreUnavailable:
        await faults.heal()
    if isinstance(bench.store, Checking):
        await bench.store.check()
    return [] if await read(bench.store, key) == data else ["after the server came back the bytes are others"]
