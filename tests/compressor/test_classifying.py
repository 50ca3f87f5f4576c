"""What a model sees in media: kept apart from what people say, found by words and tags, in a queue and a process of its own."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from PIL import Image, ImageDraw

from chipmunk import classes, jobs, search, tagging, words
from chipmunk.config import Settings
from chipmunk.errors import SettingsError, Unavailable, Unprocessable
from chipmunk.jobs import Job
from compressor.classifier import Classifier, installed
from compressor.decoders import Decoders
from compressor.look import Look
from tests import models
from tests.compressor.conftest import House, working
from tests.models import COLOURS, SIDE
from tests.pictures import BLUE, GREEN, RED, wav


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (400, 300), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("networks")
    return {"classifier": models.colours(folder), "unsafe_classifier": models.red_is_unsafe(folder)}


@pytest.fixture
def settings(settings: Settings, networks: dict[str, str]) -> Settings:
    return settings.model_copy(update=networks)


async def look(house: House, media: str) -> UUID:
    async with house.database.transaction() as connection:
        return await jobs.enqueue(
            connection, jobs.CLASSIFY, app=house.app_id, user=house.keys["ann"], media=UUID(hex=media)
        )


async def ended(house: House, job: UUID) -> Job:
    async with asyncio.timeout(30):
        while True:
            async with house.database.connection() as connection:
                now = await jobs.find(connection, job)
            assert now is not None
            if now.state not in ("queued", "running"):
                return now
            await asyncio.sleep(0.02)


async def found(house: House, **wanted: Any) -> list[str]:
    async with house.database.connection() as connection:
        page = await search.page(connection, house.app_id, None, search.Filters(**wanted), before=None, limit=50)
    return [one.id.hex for one in page.media]


async def start(house: House, media: list[str], **fields: Any) -> httpx.Response:
    body = {"job_type_str": "classify_images", "imgs_urls_str": media, **fields}
    return await house.http.post("/images/jobs/start", json=body)


async def test_classes_are_seen_kept_and_found_and_no_persons_tag_is_touched(house: House) -> None:
    media = [(await house.stored(picture(RED)))["id"], (await house.stored(picture(GREEN, (90, 400))))["id"]]
    async with house.database.transaction() as connection:
        await tagging.change(connection, house.app_id, UUID(hex=media[0]), None, {"tags": ["mine", "green things"]})
    async with working(house.parts):
        assert [(await ended(house, await look(house, one))).state for one in media] == ["completed"] * len(media)
        first = await house.until("ready", media[0])
        last = await house.until("ready", media[-1])
    assert first.tags == ["mine", "green things"]
    assert first.classes is not None
    assert last.classes is not None
    assert first.classes[0]["class"] == COLOURS[0]
    assert last.classes[0]["class"] == COLOURS[1]
    assert first.classes[0]["score"] > 0.9
    assert first.unsafe is not None
    assert last.unsafe is not None
    assert first.unsafe > 0.9 > 0.6 > last.unsafe
    assert await found(house, tags=("red things",)) == media[:1]
    assert await found(house, asked=words.asked("things red mine")) == media[:1]
    assert await found(house, tags=("green things",)) == [media[-1], media[0]]
    async with house.database.transaction() as connection:
        await tagging.change(connection, house.app_id, UUID(hex=media[0]), None, {"tags": []})
    assert await found(house, tags=("red things",)) == media[:1]
    assert await found(house, tags=("green things",)) == [media[-1]]
    shown = (await house.stored(picture(RED)))["classes"]
    assert shown is None


async def test_a_flow_judges_by_the_score_that_comes_while_it_waits_for_the_row(house: House) -> None:
    await house.flow("wall")
    media = UUID(hex=(await house.stored(picture(BLUE), flow="wall"))["id"])
    await house.run("update flows set unsafe = 'hold' where name = 'wall'")

    async def judge() -> None:
        async with house.database.transaction() as connection:
            await classes.judge(connection, media, 0.8)

    async with house.database.transaction() as connection:
        assert await classes.keep(connection, media, [], 0.1, 0.8)
        waiting = asyncio.create_task(judge())
        async with asyncio.timeout(10):
            while not await house.one("select 1 from pg_locks where not granted"):
                await asyncio.sleep(0.02)
    await waiting
    row = await house.one("select review, unsafe from media where id = $1", media)
    assert (row["review"], round(row["unsafe"], 3)) == (None, 0.1)


async def test_a_job_of_many_looks_at_each_and_ends_partly_failed_where_one_is_gone(house: House) -> None:
    media = [(await house.stored(picture(colour)))["id"] for colour in (RED, GREEN, BLUE)]
    async with working(house.parts):
        for one in media:
            await house.until("ready", one)
    answer = await start(house, media, user="ann")
    assert answer.status_code == 200, answer.text
    job = UUID(hex=answer.json()["running_job_id_str"])
    assert [one["image_id_str"] for one in answer.json()["job_expected_outputs_lst"]] == media
    await house.run(
        "update media set state = 'trashed', restores_to = 'ready', trashed_at = now(), purge_at = now() where id = $1",
        UUID(hex=media[1]),
    )
    async with working(house.parts):
        assert (await ended(house, job)).state == "failed_partial"
        blue = await house.until("ready", media[2])
    assert blue.classes is not None
    assert blue.classes[0]["class"] == COLOURS[2]
    steps = await house.many("select data from events where job_id = $1 and kind = 'image' order by id", job)
    assert sorted((s[0]["media"], s[0]["step"], "error" in s[0]) for s in steps) == sorted(
        [(media[0], "image_done", False), (media[1], "image_transform", True), (media[2], "image_done", False)]
    )


async def test_only_who_may_change_all_of_the_images_has_them_classified(house: House) -> None:
    media = (await house.stored(picture(RED)))["id"]
    await house.user("bob")
    theirs = {"authorization": f"Bearer {await house.token('bob')}"}
    body = {"job_type_str": "classify_images", "imgs_urls_str": [media]}
    assert (await house.http.post("/images/jobs/start", json=body, headers=theirs)).status_code == 404
    weak = {"authorization": f"Bearer {await house.token('ann', ('view', 'upload'))}"}
    assert (await house.http.post("/images/jobs/start", json=body, headers=weak)).status_code == 403
    assert (await start(house, [media, "no id"])).status_code == 404
    assert (await start(house, [media], user="bob")).status_code == 422
    assert (await house.one("select count(*) from jobs where kind in ('images', 'classify')"))[0] == 0


async def test_without_a_picture_there_is_nothing_to_see(house: House) -> None:
    media = (await house.stored(wav(), filename="a.wav"))["id"]
    async with working(house.parts):
        assert (await ended(house, await look(house, media))).state == "completed"
        seen = await house.until("ready", media)
    assert (seen.classes, seen.unsafe) == ([], None)


async def test_the_worst_frame_of_an_animation_counts(house: House) -> None:
    frames = [Image.new("RGB", (200, 150), colour) for colour in (BLUE, BLUE, BLUE, RED)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=100)
    media = (await house.stored(out.getvalue(), filename="a.gif"))["id"]
    async with working(house.parts):
        assert (await ended(house, await look(house, media))).state == "completed"
        seen = await house.until("ready", media)
    assert seen.classes is not None
    assert seen.unsafe is not None
    assert seen.classes[0]["class"] == COLOURS[2]
    assert seen.unsafe > 0.9


def square(colour: tuple[int, int, int]) -> Look:
    pixels = bytes(colour) * (SIDE * SIDE)
    return Look(pixels, pixels)


async def test_one_process_sees_many_at_once_stays_and_is_replaced_where_it_dies(settings: Settings) -> None:
    classifier = Classifier(settings)
    try:
        assert await classifier.sides() == (SIDE, SIDE)
        before = process_of(classifier)
        seen = await asyncio.gather(*(classifier.seen([square(c)]) for c in (RED, GREEN, BLUE) * 9))
        assert [one.classes[0][0] for one in seen] == [*COLOURS] * 9
        assert process_of(classifier) == before
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(20):
            again = None
            while again is None:
                with suppress(Unavailable):
                    again = await classifier.seen([square(GREEN)])
        assert again.classes[0][0] == COLOURS[1]
        assert process_of(classifier) != before
    finally:
        await classifier.close()


def process_of(classifier: Classifier) -> int:
    """The one process of its pool, which holds onnxruntime."""
    [worker] = classifier._pool._pool_manager.worker_manager.workers.values()
    assert any("onnxruntime" in one.path for one in psutil.Process(worker.pid).memory_maps())
    return int(worker.pid)


async def test_a_model_that_cannot_be_used_fails_the_look_and_nothing_else(
    house: House, settings: Settings, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    broken.with_suffix(".txt").write_text("a\nb\n")
    classifier = Classifier(settings.model_copy(update={"classifier": str(broken)}))
    with pytest.raises(Unprocessable):
        await classifier.sides()
    await classifier.close()


def test_settings_that_name_no_model_stop_the_start(settings: Settings, tmp_path: Path) -> None:
    given = Path(settings.classifier)
    installed.check(settings)
    for change, said in (
        ({"classifier": str(tmp_path / "none.onnx")}, "no such file"),
        ({"unsafe_classifier": str(given)}, "none of its labels is unsafe"),
    ):
        with pytest.raises(SettingsError, match=said):
            installed.check(settings.model_copy(update=change))
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(given.read_bytes())
    with pytest.raises(SettingsError, match="labels"):
        installed.check(settings.model_copy(update={"classifier": str(alone)}))


def crossword() -> Image.Image:
    image = Image.new("RGB", (640, 480), "white")
    for x, y in product(range(8), range(6)):
        if (x + y) % 2:
            image.paste("black", (x * 80, y * 80, x * 80 + 80, y * 80 + 80))
    return image


def traffic_light() -> Image.Image:
    image = Image.new("RGB", (640, 480), (120, 170, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle((240, 40, 400, 440), fill=(20, 20, 20))
    for n, colour in enumerate(((255, 40, 30), (250, 200, 40), (40, 220, 80))):
        draw.ellipse((265, 60 + n * 125, 375, 170 + n * 125), fill=colour)
    return image


async def test_the_models_of_packages_know_what_they_see(settings: Settings, tmp_path: Path) -> None:
    given = {"classifier": installed.LITE0, "unsafe_classifier": installed.OPEN_NSFW}
    settings = settings.model_copy(update=given)
    installed.check(settings)
    classifier = Classifier(settings)
    try:
        async with Decoders(settings) as decoders:
            for name, drawn in (("crossword", crossword()), ("traffic light", traffic_light())):
                path = tmp_path / "5.webp"
                drawn.save(path, lossless=True)
                seen = await classifier.seen(await decoders.squares(path, await classifier.sides()))
                assert seen.classes[0][0] == name
                assert seen.unsafe is not None
                assert 0 <= seen.unsafe < 0.1
    finally:
        await classifier.close()


def test_nothing_of_it_is_loaded_where_no_picture_is_looked_at() -> None:
    heavy = "{'numpy', 'onnx', 'onnxruntime'}"
    script = f"import sys, compressor.worker, compressor.app; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
