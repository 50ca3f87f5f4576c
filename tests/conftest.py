"""Servers that every test may use: real ones, started once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from chipmunk.migrate import apply
from tests.harness import Solo, System, scratch, until
from tests.servers.fixtures import clamd, ipfs, kubo, rgw, tus_clients

__all__ = ["clamd", "ipfs", "kubo", "rgw", "tus_clients"]

NUMBERS = count(1)


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[str, str]]:
    with scratch() as folder, Solo("servers", folder / "data") as solo:
        solo.wait_for("CHIPMUNK_REDIS_URL=")
        yield dict(line.split("=", 1) for line in solo.output.splitlines() if line.startswith("CHIPMUNK_"))


@pytest.fixture(scope="session")
def postgres_url(_servers: dict[str, str]) -> str:
    """A PostgreSQL of the tests' own, which forgets when the power fails; the database is empty."""
    url = _servers["CHIPMUNK_DATABASE_URL"]
    asyncio.run(_execute(url, "alter system set fsync = off", "select pg_reload_conf()"))
    return url


@pytest.fixture(scope="session")
def redis_url(_servers: dict[str, str]) -> str:
    return _servers["CHIPMUNK_REDIS_URL"]


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> str:
    asyncio.run(_execute(postgres_url, "create database template_chipmunk"))
    asyncio.run(_migrate(_other(postgres_url, "template_chipmunk")))
    return "template_chipmunk"


@pytest.fixture
def database(postgres_url: str, _template: str) -> Iterator[str]:
    """The address of a freshly migrated database of this test's own."""
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    asyncio.run(_execute(postgres_url, f"create database {name} template {_template}"))
    yield _other(postgres_url, name)
    asyncio.run(_execute(postgres_url, f"drop database {name} with (force)"))


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """The whole system, running; one for all tests, so users and flows of a test have names of its own."""
    settings = {"origins": "https://app.example", "default_quota_bytes": 10**9}
    with scratch() as folder, System(folder / "data", **settings) as system:
        yield system
        assert system.stop() == 0, system.output


@pytest.fixture
def no_worker(system: System) -> Iterator[None]:
    """The worker stands still, so that jobs stay as they are; health is not asked for meanwhile."""
    system.kill("worker-1", signal.SIGSTOP)
    yield
    system.kill("worker-1", signal.SIGCONT)
    until(system.healthy, 20, "health again")


def _other(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await apply(connection)
    finally:
        await connection.close()
