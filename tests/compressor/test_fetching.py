"""`add_img`, and the job that it makes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from chipmunk import ids, jobs, storing
from chipmunk.config import Settings
from chipmunk.jobs import Job
from compressor import fetching, worker
from tests.compressor.conftest import House, photo, working
from tests.compressor.site import Site, endless, moved, site, told

PHOTO = photo()
PAGE = "https://a.example/page"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"fetch_allow": ("127.0.0.1",), "fetch_seconds": 5})


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_delay", lambda tries: timedelta(0))


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site() as made:
        made.pages["/a/photo.jpg"] = told(PHOTO)
        yield made


async def add(house: House, url: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {
        "image_extern_url_str": url,
        "image_origin_page_url_str": PAGE,
        "client_type_str": "gchrome_ext",
        "user": "ann",
    }
    headers = {"content-type": "application/json", **(headers or {})}
    return await house.http.post("/v1/images/flows/add_img", content=json.dumps({**body, **fields}), headers=headers)


async def added(house: House, url: str, **fields: Any) -> dict[str, str]:
    answer = await add(house, url, **fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def job_of(house: House, told: dict[str, str]) -> Job:
    async with house.database.connection() as connection:
        return await jobs.get(connection, house.app_id, UUID(hex=told["images_job_id_str"]), house.keys["ann"])


async def ended(house: House, told: dict[str, str], seconds: float = 15) -> Job:
    async with asyncio.timeout(seconds):
        while (job := await job_of(house, told)).state in ("queued", "running"):
            await asyncio.sleep(0.02)
    return job


async def test_the_media_has_the_id_and_the_address_that_were_told_first(house: House, here: Site) -> None:
    await house.flow("trips")
    told = await added(house, here.url("/a/photo.jpg"), flows_names_lst=["trips", "general"])
    assert set(told) == {"images_job_id_str", "running_job_id_str", "thumbnail_small_relative_url_str", "image_id_str"}
    assert told["images_job_id_str"] == told["running_job_id_str"]
    assert await house.standing() == (0, 0, 0)
    async with working(house.parts):
        job = await ended(house, told)
        found = await house.until("ready", told["image_id_str"])
    assert (job.state, job.media_id, job.progress) == (
        "completed",
        found.id,
        {"done_bytes": len(PHOTO), "total_bytes": len(PHOTO)},
    )
    assert found.token is not None
    assert f"/{house.parts.links.sign(found.token)}/3/" == told["thumbnail_small_relative_url_str"]
    assert (found.filename, found.flows, found.owner) == ("photo.jpg", ["general", "trips"], "ann")
    assert found.origin == {"url": here.url("/a/photo.jpg"), "page": PAGE}
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)


async def test_a_user_adds_what_is_their_own_where_they_may(house: House, here: Site) -> None:
    await house.flow("closed")
    token = {"authorization": f"Bearer {await house.token('ann')}"}
    viewer = {"authorization": f"Bearer {await house.token('ann', ('view',))}"}
    url = here.url("/a/photo.jpg")
    assert (await add(house, url, token, user=None)).status_code == 200
    for headers, fields, status, code in (
        (token, {"user": "bob"}, 403, "forbidden"),
        (viewer, {}, 403, "scope_missing"),
        (token, {"flows_names_lst": ["closed"]}, 422, "unknown_flow"),
        (None, {"user": "nobody"}, 422, "unknown_user"),
        (None, {"user": None}, 400, "bad_request"),
        ({"authorization": "Bearer cmk_wrong"}, {}, 401, "unauthorized"),
        (None, {"image_extern_url_str": "http://10.0.0.1/"}, 422, "url_refused"),
        (None, {"image_extern_url_str": "http://\ud800/"}, 422, "unprocessable"),
        (None, {"image_origin_page_url_str": "javascript:alert(1)"}, 422, "unprocessable"),
        (None, {"image_origin_page_url_str": "http://\ud800/"}, 422, "unprocessable"),
        (None, {"flows_names_lst": "general"}, 422, "unprocessable"),
        (None, {"more": 1}, 422, "unprocessable"),
    ):  # fmt: skip
        answer = await add(house, url, headers, **fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code), fields
    assert here.asked == []
    assert (await house.one("select count(*) from jobs"))[0] == 1


async def test_the_user_may_stand_in_the_query_and_the_page_may_be_left_out(house: House, here: Site) -> None:
    body = {"image_extern_url_str": here.url("/a/photo.jpg"), "image_origin_page_url_str": ""}
    answer = await house.http.post("/v1/images/flows/add_img", params={"user": "ann"}, json=body)
    assert answer.status_code == 200, answer.text
    assert (await job_of(house, answer.json())).payload["page"] is None
    answer = await house.http.post("/v1/images/flows/add_img", params={"user": "bob"}, json={**body, "user": "ann"})
    assert answer.json()["code"] == "mismatch"


async def test_who_has_no_room_at_all_is_told_at_once(house: House, here: Site) -> None:
    await house.user("eve", quota=1000)
    assert (await add(house, here.url("/a/photo.jpg"), user="eve")).json()["code"] == "quota_exceeded"
    assert (await house.one("select count(*) from jobs"))[0] == 0


@pytest.mark.parametrize(
    ("page", "asked", "reason"),
    [
        (told(b"", "404 Not Found"), 1, "404"),
        (told(b"", "503 Later"), 6, "503"),
        (told(b"<html>"), 1, "format"),
        (moved("http://10.0.0.1/"), 1, "Nothing is fetched"),
        (told(b"", Content_Length=str(10**9)), 1, "quota"),
    ],
    ids=["404", "503", "page", "inside", "large"],
)
async def test_what_cannot_be_had_fails_with_a_reason_after_a_few_tries_at_most(
    house: House, here: Site, page: bytes, asked: int, reason: str
) -> None:
    here.pages["/x"] = page
    told_first = await added(house, here.url("/x"))
    async with working(house.parts):
        job = await ended(house, told_first)
    assert job.state == "failed"
    assert reason in (job.reason or "")
    assert len(here.asked) == asked
    assert await house.nothing()


async def test_what_passes_is_tried_again(house: House, here: Site) -> None:
    here.pages["/x"] = told(b"", "503 Later")
    told_first = await added(house, here.url("/x"))
    async with working(house.parts):
        while len(here.asked) < 2:
            await asyncio.sleep(0.01)
        here.pages["/x"] = told(PHOTO)
        assert (await ended(house, told_first)).state == "completed"
        await house.until("ready", told_first["image_id_str"])


async def test_it_says_how_far_it_has_come_and_stops_when_it_is_cancelled(house: House, here: Site) -> None:
    here.pages["/x"] = endless(bytes(200_000), 0.1, first=PHOTO)
    told_first = await added(house, here.url("/x"))
    async with working(house.parts):
        async with asyncio.timeout(10):
            while not (job := await job_of(house, told_first)).progress:
                await asyncio.sleep(0.05)
        assert job.progress is not None
        assert job.progress["done_bytes"] > len(PHOTO)
        async with house.database.connection() as connection:
            await jobs.cancel(connection, house.app_id, job.id, None)
        async with asyncio.timeout(4):
            while not await house.nothing():
                await asyncio.sleep(0.05)
    assert (await job_of(house, told_first)).state == "cancelled"


async def test_a_user_who_may_no_longer_post_there_gets_no_media(house: House, here: Site) -> None:
    await house.flow("open", posting="users")
    token = {"authorization": f"Bearer {await house.token('ann')}"}
    answers = [await add(house, here.url("/a/photo.jpg"), token, flows_names_lst=["open"]) for _ in range(2)]
    await house.flow("open", posting="editors")
    async with working(house.parts):
        assert (await ended(house, answers[0].json())).state == "failed"
    assert here.asked == []
    assert await house.nothing()


async def started(house: House, told_first: dict[str, str]) -> Job:
    """The job, as a worker gets it."""
    async with house.database.connection() as connection:
        job = await jobs.start(connection, UUID(hex=told_first["images_job_id_str"]))
    assert job is not None
    return job


async def test_a_job_that_is_done_twice_makes_one_media(house: House, here: Site) -> None:
    told_first = await added(house, here.url("/a/photo.jpg"))
    job = await started(house, told_first)
    await fetching.fetch(house.parts, job)
    standing = await house.standing()
    await fetching.fetch(house.parts, job)
    assert len(here.asked) == 1
    assert await house.standing() == standing
    assert (await job_of(house, told_first)).state == "completed"


async def test_what_a_worker_left_that_died_before_the_commit_is_no_hindrance(house: House, here: Site) -> None:
    told_first = await added(house, here.url("/a/photo.jpg"))
    left = house.folder(told_first["image_id_str"])
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"half")
    await fetching.fetch(house.parts, await started(house, told_first))
    assert (left / "0").read_bytes() == PHOTO


async def test_a_worker_that_was_overtaken_stores_nothing(
    house: House, here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_first = await added(house, here.url("/a/photo.jpg"))
    job = await started(house, told_first)
    settled, waiting, going = jobs.complete, asyncio.Event(), asyncio.Event()

    async def late(connection: Any, identifier: UUID, holder: UUID) -> bool:
        if not waiting.is_set():
            waiting.set()
            await going.wait()
        return await settled(connection, identifier, holder)

    monkeypatch.setattr(jobs, "complete", late)
    first = asyncio.create_task(fetching.fetch(house.parts, job))
    await asyncio.wait_for(waiting.wait(), 10)
    async with house.database.connection() as connection:
        assert await jobs.hold(connection, job.id, uuid4())
    going.set()
    await asyncio.wait_for(first, 10)
    assert await house.nothing()
    await fetching.fetch(house.parts, job)
    assert (await job_of(house, told_first)).state == "completed"
    assert (await house.standing())[2] == 1


async def test_a_worker_killed_at_any_line_leaves_one_media_in_the_end(
    house: House, here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed: nothing that it would do on its way out is done."""
    told_first = await added(house, here.url("/a/photo.jpg"))

    class Killed(BaseException):
        pass

    async def undone(hold: Any) -> None:
        return None

    async def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    for owner, name in ((storing, "insert"), (type(house.parts.store), "place"), (type(house.parts.fetcher), "fetch")):
        with monkeypatch.context() as patch:
            patch.setattr("compressor.holding.Hold.undo", undone)
            patch.setattr(owner, name, killed)
            with pytest.raises(Killed):
                await fetching.fetch(house.parts, await started(house, told_first))
    await fetching.fetch(house.parts, await started(house, told_first))
    assert (await house.standing())[2] == 1
    assert ids.parse_id(told_first["image_id_str"]) is not None
    assert (Path(house.folder(told_first["image_id_str"])) / "0").read_bytes() == PHOTO
    async with working(house.parts):
        await house.until("ready", told_first["image_id_str"])
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)
