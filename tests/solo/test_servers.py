from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis

from chipmunk import config
from solo.packages import PROJECT
from solo.servers import embedded, environment, with_servers
from tests.harness import Solo, scratch, until


def ask(url: str, query: str) -> object:
    async def answer() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(answer())


def url_of(solo: Solo) -> str:
    solo.wait_for("CHIPMUNK_REDIS_URL=")
    return next(line for line in solo.output.splitlines() if "DATABASE_URL" in line).partition("=")[2]


def refused(command: str, data_dir: Path, **more: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "solo", command],
        cwd=PROJECT,
        env=os.environ | {"CHIPMUNK_DATA_DIR": str(data_dir), **more},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 1, ran
    assert ran.stderr.startswith("chipmunk: "), ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_a_migrated_database_of_its_own(database: str, number: int) -> None:
    assert ask(database, "with x as (insert into apps (name) values ('a') returning 1) select count(*) from apps") == 1
    assert ask(database, "select count(*) from apps") == 2


def test_valkey_is_bounded_and_keeps_nothing(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(64 * 1024 * 1024)
        assert client.config_get("save")["save"] == ""
        assert client.config_get("port")["port"] == "0"


def test_postgres_listens_on_no_port_and_checks_its_pages(postgres_url: str) -> None:
    assert ask(postgres_url, "show listen_addresses") == ""
    assert ask(postgres_url, "show data_checksums") == "on"
    assert ask(postgres_url, "select datcollate from pg_database where datname = 'chipmunk'") == "C"


def test_a_data_directory_is_found_again_moved_and_with_a_space_in_its_name() -> None:
    with scratch() as folder:
        with Solo("servers", folder / "here") as solo:
            ask(url_of(solo), "create table kept as select 7 as seven")
            assert solo.stop() == 0
        (folder / "here").rename(folder / "there too")
        with Solo("servers", folder / "there too") as solo:
            assert ask(url_of(solo), "select seven from kept") == 7
            assert solo.stop() == 0


def test_killed_while_making_the_cluster_it_is_made_anew() -> None:
    with scratch() as folder:
        with Solo("servers", folder / "data") as solo:
            until((folder / "data" / "postgres.new" / "PG_VERSION").exists)
            solo.process.kill()
            solo.process.wait()
        with Solo("servers", folder / "data") as solo:
            assert ask(url_of(solo), "select 1") == 1


def test_killed_with_a_child_that_does_not_hear_the_next_start_cleans_up() -> None:
    with scratch() as folder:
        with Solo("servers", folder / "data") as solo:
            ask(url_of(solo), "create table kept as select 7 as seven")
            stopped = solo.pids()["postgres"]
            os.kill(stopped, signal.SIGSTOP)
            solo.process.kill()
            solo.process.wait()
        with Solo("servers", folder / "data") as solo:
            assert ask(url_of(solo), "select seven from kept") == 7
            assert solo.pids()["postgres"] != stopped


def test_a_second_start_on_the_same_data_is_refused() -> None:
    with scratch() as folder, Solo("servers", folder / "data") as solo:
        url_of(solo)
        assert "already runs on" in refused("servers", folder / "data")


def test_a_cluster_of_another_major_version_is_refused() -> None:
    with scratch() as folder:
        with Solo("servers", folder / "data") as solo:
            url_of(solo)
        (folder / "data" / "postgres" / "PG_VERSION").write_text("15\n")
        assert "was made by PostgreSQL 15" in refused("servers", folder / "data")


def test_a_data_directory_that_cannot_be_written_is_refused() -> None:
    assert "cannot be written" in refused("servers", Path("/proc/chipmunk"))


def test_a_wrong_setting_is_refused() -> None:
    with scratch() as folder:
        assert "CHIPMUNK_PRT is not a setting" in refused("run", folder / "data", CHIPMUNK_PRT="1")


def test_servers_that_settings_name_are_used_and_none_started() -> None:
    settings = config.load({}, database_url="postgresql://db/x", redis_url="redis://cache")
    assert embedded(settings) == []
    assert with_servers(settings) == settings


def test_a_process_of_ours_is_told_what_was_set_and_others_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("CHIPMUNK_API_KEY_FILE", "/not/for/us")
    given = {"CHIPMUNK_ORIGINS": "https://a.example,https://b.example", "CHIPMUNK_API_KEY": "cmk_given-to-ours"}
    settings = with_servers(config.load(given, data_dir=Path("/tmp/x")))
    told = environment(settings)
    assert config.load(told) == settings
    assert "PGHOST" not in told
    assert not any(
        "cmk_given-to-ours" in value for service in embedded(settings) for value in service.environment.values()
    )
