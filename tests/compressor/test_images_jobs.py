"""Jobs of many images: how each ends, what is told of it, and what a crash, a cancel and a retry make of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chipmunk import events, images_jobs, jobs
from chipmunk.config import Settings
from chipmunk.events import Event, Position
from chipmunk.jobs import Job
from compressor import worker
from compressor.sweep import Sweeper
from tests.compressor.conftest import House, photo, working
from tests.compressor.site import Site, site, told
from tests.compressor.test_presigned import begun, send

STEPS = ["image_fetch", "image_transform", "image_persist", "image_done"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"fetch_allow": ("127.0.0.1",), "fetch_seconds": 5})


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_delay", lambda tries: timedelta(0))


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site() as made:
        for n in range(12):
            made.pages[f"/{n}.jpg"] = told(photo(seed=n))
        made.pages["/broken.jpg"] = told(photo()[:200])
        made.pages["/text.jpg"] = told(b"no picture" * 20)
        yield made


async def start(house: House, urls: Any, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"job_type_str": "process_extern_images", "client_type_str": "test", "imgs_urls_str": urls, "user": "ann"}
    return await house.http.post("/images/jobs/start", json={**body, **fields}, headers=headers)


async def started(house: House, urls: Any, **fields: Any) -> tuple[UUID, list[dict[str, str]]]:
    answer = await start(house, urls, **fields)
    assert answer.status_code == 200, answer.text
    return UUID(hex=answer.json()["running_job_id_str"]), answer.json()["job_expected_outputs_lst"]


async def found(house: House, job: UUID) -> Job:
    async with house.database.connection() as connection:
        return await jobs.get(connection, house.app_id, job, house.keys["ann"])


async def ended(house: House, job: UUID, seconds: float = 30) -> Job:
    async with asyncio.timeout(seconds):
        while (now := await found(house, job)).state in ("queued", "running"):
            await asyncio.sleep(0.02)
    return now


async def heard(house: House, job: UUID) -> list[Event]:
    async with house.database.connection() as connection:
        return await events.of_job(connection, job, Position(), 10_000)


async def images(house: House, job: UUID) -> list[images_jobs.Image]:
    async with house.database.connection() as connection:
        return await images_jobs.images(connection, job, -1, 10_000)


async def test_every_image_gets_the_id_and_the_links_that_were_told_first(house: House, here: Site) -> None:
    urls = [here.url(f"/{n}.jpg") for n in range(9)]
    pages = [f"https://a.example/{n}" for n in range(9)]
    job, expected = await started(house, urls, imgs_origin_pages_urls_str=pages, flows_names_lst=["general"])
    assert [one["image_source_url_str"] for one in expected] == urls
    async with working(house.parts):
        now = await ended(house, job)
        for one, page in zip(expected, pages, strict=True):
            media = await house.until("ready", one["image_id_str"])
            assert media.token is not None
            link = house.parts.links.sign(media.token)
            assert one["thumbnail_small_relative_url_str"] == f"/{link}/3/"
            assert one["thumbnail_medium_relative_url_str"] == f"/{link}/5/"
            assert one["thumbnail_large_relative_url_str"] == f"/{link}/6/"
            assert media.origin == {"url": one["image_source_url_str"], "page": page}
    assert (now.state, now.progress) == ("completed", {"total": 9, "done": 9, "failed": 0})
    assert [image.state for image in await images(house, job)] == ["stored"] * 9
    used, kept, count = await house.standing()
    assert (used, kept, count) == (house.bytes_on_disk(), 0, 9)


async def test_the_steps_of_each_are_told_in_order_and_the_end_last(house: House, here: Site) -> None:
    urls = [here.url("/0.jpg"), here.url("/missing.jpg"), here.url("/text.jpg"), here.url("/1.jpg")]
    job, expected = await started(house, urls)
    async with working(house.parts):
        now = await ended(house, job)
    assert now.state == "failed_partial"
    assert now.progress == {"total": 4, "done": 2, "failed": 2}
    told = await heard(house, job)
    assert [event.kind for event in told][-1] == "job"
    assert told[-1].data["state"] == "failed_partial"
    assert [event.kind for event in told].count("job") == 1
    steps = {
        one["image_id_str"]: [
            (event.data["step"], "error" in event.data)
            for event in told
            if event.kind == "image" and event.data["media"] == one["image_id_str"]
        ]
        for one in expected
    }
    right = [(step, False) for step in STEPS]
    wrong = [("image_fetch", True)]
    assert list(steps.values()) == [right, wrong, wrong, right]
    errors = [event.data["error"] for event in told if "error" in event.data]
    assert any("404" in error for error in errors)
    assert [image.state for image in await images(house, job)] == ["stored", "failed", "failed", "stored"]
    assert (await house.standing())[1:] == (0, 2)


async def test_a_job_of_which_nothing_could_be_done_has_failed(house: House, here: Site) -> None:
    job, _ = await started(house, [here.url("/missing.jpg"), here.url("/text.jpg")])
    async with working(house.parts):
        assert (await ended(house, job)).state == "failed"
    assert await house.nothing()


async def test_lists_may_be_one_text_with_each_url_encoded(house: House, here: Site) -> None:
    text = ",".join(here.url(f"/{n}.jpg?a=1%2C2").replace(":", "%3A").replace("/", "%2F") for n in range(2))
    _, expected = await started(house, text)
    assert [one["image_source_url_str"] for one in expected] == [here.url(f"/{n}.jpg?a=1,2") for n in range(2)]


async def test_what_is_wrong_with_a_job_is_told_at_once_and_nothing_is_begun(house: House, here: Site) -> None:
    await house.flow("closed")
    token = {"authorization": f"Bearer {await house.token('ann')}"}
    viewer = {"authorization": f"Bearer {await house.token('ann', ('view',))}"}
    url = here.url("/0.jpg")
    for urls, headers, fields, status, code in (
        ([url], token, {"user": "bob"}, 403, "forbidden"),
        ([url], viewer, {}, 403, "scope_missing"),
        ([url], token, {"flows_names_lst": ["closed"]}, 422, "unknown_flow"),
        ([url], None, {"user": None}, 400, "bad_request"),
        ([url], None, {"user": "nobody"}, 422, "unknown_user"),
        ([], None, {}, 422, "unprocessable"),
        ("", None, {}, 422, "unprocessable"),
        ([url, "http://10.0.0.1/"], None, {}, 422, "url_refused"),
        ([url], None, {"imgs_origin_pages_urls_str": ["https://a.example", "https://b.example"]}, 422, "unprocessable"),
        ([url], None, {"job_type_str": "mine_coins"}, 422, "unprocessable"),
        ([url], None, {"job_type_str": "classify_images"}, 501, "not_installed"),
        ([url] * 5001, None, {}, 422, "unprocessable"),
        (["http://a.example/" + "a" * 1500] * 2000, None, {}, 413, "too_large"),
    ):  # fmt: skip
        answer = await start(house, urls, headers, **fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (fields, answer.text)
    assert here.asked == []
    assert (await house.one("select count(*) from jobs"))[0] == 0


async def test_a_user_has_so_many_images_waiting_and_no_more(
    house: House, here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compressor.images.MOST_IN_JOBS", 10)
    answers = await asyncio.gather(*(start(house, [here.url("/0.jpg")] * 4) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    assert {a.json()["code"] for a in answers if a.status_code == 429} == {"too_many_uploads"}


async def test_long_jobs_take_turns(house: House, here: Site) -> None:
    first, _ = await started(house, [here.url(f"/{n % 12}.jpg") for n in range(60)])
    second, _ = await started(house, [here.url("/1.jpg")])
    async with working(house.parts):
        await ended(house, second)
        progress = await images(house, first)
    assert len([image for image in progress if image.state == "waiting"]) > 20


async def test_a_cancelled_job_begins_no_more_and_keeps_what_it_has(house: House, here: Site) -> None:
    job, _ = await started(house, [here.url(f"/{n % 12}.jpg") for n in range(40)])
    async with working(house.parts):
        async with asyncio.timeout(20):
            while not [image for image in await images(house, job) if image.state == "stored"]:
                await asyncio.sleep(0.02)
        async with house.database.transaction() as connection:
            await jobs.cancel(connection, house.app_id, job, None)
            await images_jobs.cancel(connection, job)
        await asyncio.sleep(0.5)
    states = {image.state for image in await images(house, job)}
    assert states == {"stored", "cancelled"}
    assert (await heard(house, job))[-1].data["state"] == "cancelled"
    stored = len([image for image in await images(house, job) if image.state == "stored"])
    _, kept, count = await house.standing()
    assert (kept, count) == (0, stored)
    assert (await house.one("select count(*) from jobs where state in ('queued', 'running') and kind = 'fetch'"))[
        0
    ] == 0


async def test_a_retry_takes_up_what_failed_under_the_ids_it_has(house: House, here: Site) -> None:
    job, expected = await started(house, [here.url("/0.jpg"), here.url("/late.jpg")])
    async with working(house.parts):
        assert (await ended(house, job)).state == "failed_partial"
        here.pages["/late.jpg"] = told(photo(seed=99))
        async with house.database.transaction() as connection:
            assert await images_jobs.retry(connection, job) == 1
        now = await ended(house, job)
        await house.until("ready", expected[1]["image_id_str"])
    assert (now.state, now.progress) == ("completed", {"total": 2, "done": 2, "failed": 0})
    assert [event.data["state"] for event in await heard(house, job) if event.kind == "job"] == [
        "failed_partial", "completed",
    ]  # fmt: skip
    assert (await house.standing())[2] == 2


async def test_a_job_whose_worker_died_before_it_could_go_on_is_taken_up_by_the_sweep(
    house: House, here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object) -> None:
        return None

    job, _ = await started(house, [here.url(f"/{n}.jpg") for n in range(6)])
    monkeypatch.setattr(worker.Worker, "_go_on", dies)
    async with working(house.parts):
        async with asyncio.timeout(20):
            while len([i for i in await images(house, job) if i.state == "stored"]) < images_jobs.AT_ONCE:
                await asyncio.sleep(0.02)
        assert (await found(house, job)).state == "running"
        monkeypatch.undo()
        await Sweeper(house.parts)._jobs()
        assert (await ended(house, job)).state == "completed"


async def test_an_image_that_is_added_alone_is_told_of_in_the_same_way(house: House, here: Site) -> None:
    body = {"image_extern_url_str": here.url("/3.jpg"), "user": "ann"}
    added = (await house.http.post("/v1/images/flows/add_img", json=body)).json()
    job = UUID(hex=added["images_job_id_str"])
    async with working(house.parts):
        await ended(house, job)
    told = await heard(house, job)
    assert [event.data["step"] for event in told if event.kind == "image"] == STEPS
    assert {event.data["media"] for event in told if event.kind == "image"} == {added["image_id_str"]}
    assert told[-1].data["state"] == "completed"
    async with house.database.connection() as connection:
        mine = await events.of_user(connection, house.keys["ann"], Position(), 100)
    assert [event.position for event in mine if event.job == job] == [event.position for event in told]


async def test_a_job_of_a_user_who_goes_ends(house: House, here: Site) -> None:
    job, _ = await started(house, [here.url(f"/{n % 12}.jpg") for n in range(20)])
    await house.run("update jobs set user_id = null where user_id = $1", house.keys["ann"])
    async with working(house.parts), asyncio.timeout(30):
        while (await house.one("select state from jobs where id = $1", job))[0] == "running":
            await asyncio.sleep(0.05)
    assert (await house.one("select state from jobs where id = $1", job))[0] == "failed"
    assert await house.nothing()


async def test_uploads_that_were_sent_are_taken_in_by_one_job(house: House) -> None:
    await house.user("bob")
    infos = [await begun(house, imgn=f"{n}.jpg") for n in range(4)]
    foreign = await begun(house, user="bob")
    for n, info in enumerate(infos[:3]):
        assert (await send(house, info, photo(seed=n))).status_code == 200
    named = [info["upload_gf_image_id_str"] for info in infos]
    uploaded = {"job_type_str": "process_uploaded_images", "user": None}
    token = {"authorization": f"Bearer {await house.token('ann')}"}
    for urls, headers, fields, status, code in (
        ([*named, foreign["upload_gf_image_id_str"]], None, {}, 422, "mismatch"),
        (named, None, {"user": "bob"}, 422, "mismatch"),
        ([foreign["upload_gf_image_id_str"]], token, {}, 404, "not_found"),
        (["x"], None, {}, 404, "not_found"),
        (named[:1] * 2, None, {}, 400, "bad_request"),
        (named, None, {"flows_names_lst": ["general"]}, 400, "bad_request"),
    ):  # fmt: skip
        answer = await start(house, urls, headers, **{**uploaded, **fields})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    job, expected = await started(house, named, **uploaded)
    async with working(house.parts):
        now = await ended(house, job)
        for n, one in enumerate(expected[:3]):
            media = await house.until("ready", one["image_id_str"])
            assert (media.id.hex, media.filename) == (named[n], f"{n}.jpg")
            assert media.token is not None
            assert one["thumbnail_small_relative_url_str"] == f"/{house.parts.links.sign(media.token)}/3/"
    assert (now.state, now.progress) == ("failed_partial", {"total": 4, "done": 3, "failed": 1})
    reasons = [image.reason for image in await images(house, job)]
    assert reasons[:3] == [None] * 3
    assert "Nothing has been sent" in str(reasons[3])
    again = await start(house, named[:1], **uploaded)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert (await house.standing())[1:] == (0, 3)
