"""classify, as a worker asks plug-ins: beside the model or in its place; and the API, which knows of them by a setting."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client import REGISTRY

from chipmunk import hooks
from chipmunk.config import Settings, load
from chipmunk.errors import SettingsError
from chipmunk.hooks import BadAnswer, Seen
from compressor import worker
from compressor.classifying import merged
from compressor.plugged import pool
from gateway.api.app import create
from tests import models
from tests.compressor.conftest import API_KEY, house_of, settings_of, working
from tests.compressor.plugs import install_colours, install_kindly
from tests.compressor.test_classifying import ended, found, look, picture
from tests.models import COLOURS
from tests.pictures import BLUE, GREEN, RED

Given = Callable[..., Settings]


@pytest.fixture
def given(tmp_path: Path, database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Given:
    install_colours(monkeypatch, tmp_path / "packages" / "one")
    install_kindly(monkeypatch, tmp_path / "packages" / "other")
    monkeypatch.setattr(worker, "LONGEST_DELAY", timedelta(seconds=0.5))
    monkeypatch.setattr(pool, "LONGEST_PAUSE", 0.5)

    def made(options: dict[str, Any] | None = None, **fields: Any) -> Settings:
        told = {"plugins": ("colours",), "plugin_options": json.dumps({"colours": options or {}}), **fields}
        return settings_of(tmp_path / "data", database, redis_url, **{"decoders": 1, **told})

    return made


@asynccontextmanager
async def api_of(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create(settings)
    async with app.router.lifespan_context(app):
        transport, headers = httpx.ASGITransport(app=app), {"authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers, timeout=60) as api:
            yield api


def retries() -> float:
    """How often such jobs were handed back in this process."""
    return REGISTRY.get_sample_value("chipmunk_jobs_total", {"kind": "classify", "outcome": "retried"}) or 0


async def classified(api: httpx.AsyncClient, media: str) -> httpx.Response:
    return await api.post("/v1/images/classify", json={"client_type_str": "test", "images_ids_lst": [media]})


async def test_what_one_sees_without_any_model_is_kept_found_and_holds_and_while_it_dies_the_look_alone_waits(
    given: Given, tmp_path: Path
) -> None:
    dying = tmp_path / "dying"
    dying.touch()
    before = retries()
    settings = given({"dies_while_file": str(dying)}, plugins_tell=("classes", "unsafe"), unsafe_threshold=0.7)
    async with house_of(settings) as house, api_of(settings) as api:
        await house.user()
        assert (await api.put("/v1/flows/wall", json={"unsafe": "hold"})).status_code == 201
        red, green = [(await house.stored(picture(c), flow="wall"))["id"] for c in (RED, GREEN)]
        async with working(house.parts):
            async with asyncio.timeout(10):
                while retries() - before < 3:
                    await asyncio.sleep(0.05)
            assert (await house.until("ready", red)).review == "held"
            other = await house.stored(picture(BLUE))
            assert (await house.until("ready", other["id"])).review is None
            assert (await house.until("ready", green)).classes is None
            dying.unlink()
            answer = await classified(api, green)
            assert answer.json()["classes_lst"] == ["much green", "much blue"]
            async with asyncio.timeout(10):
                while await house.many("select 1 from jobs where finished_at is null"):
                    await asyncio.sleep(0.05)
        safe, unsafe = await house.until("ready", green), await house.until("ready", red)
        assert (safe.review, unsafe.review, safe.unsafe) == (None, "held", 0)
        assert unsafe.unsafe is not None
        assert unsafe.unsafe > 0.7
        assert await found(house, tags=("much red",)) == [red]
        states = await house.many("select distinct state from jobs")
        assert [row["state"] for row in states] == ["completed"]


async def test_it_and_the_model_see_the_same_frames_and_the_worst_counts(given: Given, tmp_path: Path) -> None:
    colours = [BLUE, GREEN, BLUE, RED]
    frames = [Image.new("RGB", (200, 150), colour) for colour in colours]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=100)
    settings = given(classifier=models.colours(tmp_path))
    async with house_of(settings) as house:
        await house.user()
        media = (await house.stored(out.getvalue(), filename="a.gif"))["id"]
        async with working(house.parts):
            assert (await ended(house, await look(house, media))).state == "completed"
            seen = await house.until("ready", media)
    assert seen.classes is not None
    scores = {one["class"]: one["score"] for one in seen.classes}
    assert (len(scores), scores[COLOURS[2]]) == (5, pytest.approx(0.5, abs=0.1))
    means = {
        name: sum(c[n] for c in colours) / 4 / 255 for n, name in enumerate(("much red", "much green", "much blue"))
    }
    assert {name: scores[name] for name in means} == pytest.approx(means, abs=0.03)
    assert seen.unsafe == pytest.approx((RED[0] - RED[2]) / 255, abs=0.03)


async def test_the_api_takes_what_the_setting_says_and_a_job_that_none_takes_part_in_fails(given: Given) -> None:
    settings = given(plugins=("kindly",), plugins_tell=("classes",))
    async with house_of(settings) as house, api_of(settings) as api, api_of(given()) as deaf:
        await house.user()
        media = (await house.stored(picture(RED)))["id"]
        assert (await api.put("/v1/flows/wall", json={"unsafe": "flag"})).status_code == 501
        assert (await classified(deaf, media)).status_code == 501
        async with working(house.parts):
            answer = await classified(api, media)
        assert (answer.status_code, "no plug-in that classifies" in answer.text) == (422, True)
        assert (await house.until("ready", media)).classes is None


def test_settings_that_tell_of_nothing_stop_the_start() -> None:
    for told, said in (({"PLUGINS_TELL": "classes"}, "CHIPMUNK_PLUGINS beside it"),
                       ({"PLUGINS_TELL": "age", "PLUGINS": "faces"}, "only classes and unsafe")):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            load({f"CHIPMUNK_{name}": value for name, value in told.items()})


def test_of_several_answers_the_best_of_each_class_and_the_worst_score_stay() -> None:
    one = Seen((("cat", 0.4), ("dog", 0.09), ("cow", 0.3)), None)
    other = Seen((("cat", 0.7), ("sea", 0.5), ("sky", 0.2), ("sun", 0.15), ("rain", 0.11)), 0.2)
    best = (("cat", 0.7), ("sea", 0.5), ("cow", 0.3), ("sky", 0.2), ("sun", 0.15))
    assert merged([one, other, Seen(unsafe=0.1)]) == Seen(best, 0.2)
    assert merged([one]) == Seen((("cat", 0.4), ("cow", 0.3)))
    assert merged([]) == Seen()


def test_a_score_may_be_what_numpy_has_for_a_number() -> None:
    assert json.dumps(hooks.told(hooks.CLASSIFY, Seen((("cat", np.float32(0.25)),), 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        {"classes": [["x", 0.5]] * 33},
        {"classes": [["x" * 65, 0.5]]},
        {"classes": [["x\0", 0.5]]},
        {"classes": [[" ", 0.5]]},
        {"classes": [["x"]]},
        {"classes": "x5"},
        {"classes": [["x", "0.5"]]},
        {"classes": [["x", 1.01]]},
        {"unsafe": math.nan},
        {"unsafe": True},
        {"unsafe": 10**400},
        {"unsafe": -0.1},
        {"certain": 1},
    ],
)
def test_an_answer_that_is_none_is_not_believed(answer: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        hooks.heard(hooks.CLASSIFY, {"Seen": answer})
