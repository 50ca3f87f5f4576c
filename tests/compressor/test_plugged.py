"""A plug-in that sleeps, eats memory, crashes, babbles and pries; and the service, which does not notice."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chipmunk.config import Settings, load
from chipmunk.errors import SettingsError
from chipmunk.hooks import Arrival, PluginUnavailable, RefusedByPlugin
from compressor.plugged import fences, pool
from compressor.plugged.switched import Plugged
from tests.compressor.conftest import house_of, photo, settings_of
from tests.compressor.plugs import install_hostile, processes

ONE = {"plugins": ("hostile",), "plugin_seconds": 1, "plugin_memory_bytes": 256 * 1024 * 1024, "decoders": 1}


def options(**given: Any) -> str:
    return json.dumps({"hostile": given})


@pytest.fixture
def body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_hostile(monkeypatch, tmp_path / "packages")
    monkeypatch.setenv("CHIPMUNK_SECRET_KEYS", "s" * 40)
    path = tmp_path / "body"
    path.write_bytes(b"x" * 1000)
    return path


@asynccontextmanager
async def plugged_of(**given: Any) -> AsyncIterator[Plugged]:
    async with Plugged(Settings(**{**ONE, **given})) as plugged:
        yield plugged


def named(name: str, **given: Any) -> Arrival:
    return Arrival(**{"kind": "image", "mime": "image/png", "length": 1000, "sha256": "0" * 64, "filename": name,
                      "flows": ("general",), **given})  # fmt: skip


async def refusal(plugged: Plugged, name: str, body: Path) -> str:
    with pytest.raises(RefusedByPlugin) as refused:
        await plugged.before_ingest(named(name), body)
    assert refused.value.ids == {"plugin": "hostile"}
    return refused.value.detail


@pytest.mark.skipif(
    fences.libc.syscall(fences.CREATE_RULESET, None, 0, 1) < 1 or platform.machine() not in fences.MACHINES,
    reason="this kernel has no Landlock, or this machine no filter",
)
async def test_it_has_what_it_was_handed_and_nothing_else(body: Path, tmp_path: Path) -> None:
    secret = tmp_path / "packages" / "secret.txt"
    secret.write_text("key")
    places = {"passwd": "/etc/passwd", "the body's name": str(body), "beside its code": str(secret)}
    async with plugged_of(plugin_options=options(service=os.getpid(), places=places)) as plugged:
        assert await refusal(plugged, "sum", body) == "1000 image image/png 1000 ('general',)"
        assert await refusal(plugged, "attempts", body) == "nothing"
        held = await refusal(plugged, "held", body)
        assert held == "5 ['HOME', 'LANG', 'OPENBLAS_NUM_THREADS', 'PATH', 'PYTHONDONTWRITEBYTECODE'] True"
    assert not Path("/tmp/hostile").exists()


@pytest.mark.parametrize("deed", ["sleep", "spin", "eat", "crash", "exit", "flood", "forge", "raise", "kill", "stop"])
async def test_whatever_it_does_ends_in_time_and_the_next_is_answered(deed: str, body: Path) -> None:
    async with plugged_of() as plugged:
        began = time.monotonic()
        with pytest.raises(PluginUnavailable):
            await plugged.before_ingest(named(deed), body)
        assert time.monotonic() - began < 3
        assert await refusal(plugged, "sum", body)
        assert len(processes()) == 1
    assert processes() == set()


async def test_between_questions_it_stands_still(body: Path) -> None:
    async with plugged_of() as plugged:
        await plugged.before_ingest(named("later"), body)
        [pid] = processes()
        await asyncio.sleep(0.05)
        before = Path(f"/proc/{pid}/stat").read_text().split()[13]
        await asyncio.sleep(0.4)
        assert Path(f"/proc/{pid}/stat").read_text().split()[13] == before


async def test_one_that_goes_on_failing_is_left_alone_for_a_while(body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with plugged_of() as plugged:
        for _ in range(pool.FAILURES):
            with pytest.raises(PluginUnavailable):
                await plugged.before_ingest(named("exit"), body)
        assert processes() == set()
        began = time.monotonic()
        with pytest.raises(PluginUnavailable):
            await plugged.before_ingest(named("sum"), body)
        assert (processes(), time.monotonic() - began < 0.05) == (set(), True)
        await asyncio.sleep(pool.SHORTEST_PAUSE)
        assert await refusal(plugged, "sum", body)


async def test_one_that_does_not_start_refuses_and_does_not_stop_the_start(body: Path) -> None:
    async with plugged_of(plugin_options=options(at_start="exit")) as plugged:
        with pytest.raises(PluginUnavailable):
            await plugged.before_ingest(named("sum"), body)


async def test_it_is_asked_about_its_flows_only(body: Path) -> None:
    async with plugged_of(plugin_options=options(flows=["other"])) as plugged:
        await plugged.before_ingest(named("exit"), body)
        with pytest.raises(PluginUnavailable):
            await plugged.before_ingest(named("exit", flows=("general", "other")), body)


async def test_questions_wait_for_one_another_and_each_has_its_own_answer(body: Path) -> None:
    async with plugged_of(decoders=2) as plugged:
        answers = await asyncio.gather(*(refusal(plugged, "sum", body) for _ in range(20)))
        assert len(set(answers)) == 1
        assert len(processes()) <= 2


def test_a_name_that_no_package_has_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="'nothing'"):
        Plugged(Settings(plugins=("nothing",)))


@pytest.mark.parametrize("told", ["[]", "{", '{"a": 1}', '{"a": {"flows": "general"}}', '{"a": {"flows": [1]}}'])
def test_options_that_are_none_stop_the_start(told: str) -> None:
    with pytest.raises(SettingsError, match="CHIPMUNK_PLUGIN_OPTIONS"):
        load({"CHIPMUNK_PLUGIN_OPTIONS": told})


async def test_an_upload_that_it_does_not_answer_leaves_nothing_and_others_go_on(
    tmp_path: Path, database: str, redis_url: str, body: Path
) -> None:
    given = {**ONE, "plugin_options": options(flows=["watched"])}
    async with house_of(settings_of(tmp_path / "data", database, redis_url, **given)) as house:
        await house.user()
        await house.flow("watched")
        await house.user("bob")
        failing = [asyncio.create_task(house.put(photo(), flow="watched", filename=deed)) for deed in ("sleep", "eat")]
        stored = await house.stored(photo(), user="bob")
        answers = await asyncio.gather(*failing)
        assert [(a.status_code, a.json()["code"]) for a in answers] == [(503, "plugin_unavailable")] * 2
        assert all("retry-after" in a.headers for a in answers)
        assert await house.standing() == (0, 0, 0)
        refused = await house.put(photo(), flow="watched", filename="sum", headers={"idempotency-key": "once"})
        assert (refused.status_code, refused.json()["plugin"]) == (422, "hostile")
        assert await house.standing() == (0, 0, 0)
        assert {path.split("/")[-2] for path in house.files()} == {stored["id"]}
