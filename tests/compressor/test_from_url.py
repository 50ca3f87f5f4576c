"""Uploads by URL through the JSON door, from servers of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chipmunk.config import Settings
from chipmunk.errors import FetchFailed, UrlRefused
from compressor import ladder
from tests.compressor.conftest import House, house_of, photo
from tests.compressor.site import Site, chunked, endless, moved, site, told

PHOTO = photo()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"fetch_allow": ("127.0.0.1",), "fetch_seconds": 2})


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site() as made:
        made.pages["/a/photo.jpg"] = told(PHOTO)
        yield made


async def post(house: House, url: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return await house.http.post("/v1/media", json={"user": "ann", "url": url, **fields}, headers=headers)


async def test_a_url_becomes_a_media_that_says_where_it_came_from(house: House, here: Site) -> None:
    await house.flow("trips")
    answer = await post(house, here.url("/a/photo.jpg"), flow=["trips", "general"])
    assert answer.status_code == 201, answer.text
    media = answer.json()
    assert (media["filename"], media["bytes"], media["flows"]) == ("photo.jpg", len(PHOTO), ["general", "trips"])
    assert media["origin"] == {"url": here.url("/a/photo.jpg"), "page": None}
    assert (house.folder(media["id"]) / "0").read_bytes() == PHOTO
    assert answer.headers["location"] == f"/v1/media/{media['id']}"
    used, reserved, count = await house.standing()
    assert (used, count) == (media["total_bytes"], 1)
    assert used + reserved == len(PHOTO) + ladder.still_cap(len(PHOTO))


async def test_other_media_have_no_origin(house: House) -> None:
    assert (await house.stored())["origin"] is None


async def test_the_name_that_is_given_beats_the_servers_and_that_the_urls(house: House, here: Site) -> None:
    here.pages["/x.bin"] = told(PHOTO, Content_Disposition='attachment; filename="../theirs.jpg"')
    assert (await post(house, here.url("/x.bin"), filename="mine.jpg")).json()["filename"] == "mine.jpg"
    assert (await post(house, here.url("/x.bin"))).json()["filename"] == "theirs.jpg"
    here.pages["/"] = told(PHOTO)
    assert (await post(house, here.url("/"))).json()["filename"] == "image.jpg"


@pytest.mark.parametrize("by", ["query", "body"])
async def test_a_file_that_does_not_say_its_length_is_charged_exactly(house: House, here: Site, by: str) -> None:
    data = PHOTO + bytes(3_000_000)
    here.pages["/x"] = chunked(data)
    body = {"url": here.url("/x")} | ({"user": "ann"} if by == "body" else {})
    answer = await house.http.post("/v1/media", json=body, params={"user": "ann"} if by == "query" else {})
    assert answer.status_code == 201, answer.text
    used, reserved, _ = await house.standing()
    assert used + reserved == len(data) + ladder.still_cap(len(data))


@pytest.mark.parametrize(
    ("page", "status", "code"),
    [
        (told(b"", "404 Not Found"), 422, "fetch_failed"),
        (told(b"<html>"), 415, "unsupported_type"),
        (told(b""), 422, "empty_file"),
        (told(PHOTO[:2000]), 422, "corrupt_image"),
        (told(b"", Content_Length=str(10**12)), 413, "too_large"),
        (told(b"", Content_Length=str(10**9)), 413, "quota_exceeded"),
        (endless(bytes(200_000), first=PHOTO), 413, "quota_exceeded"),
        (endless(b"\0", 0.1, first=PHOTO), 422, "fetch_failed"),
        (moved("http://169.254.169.254/"), 422, "url_refused"),
    ],
    ids=["404", "page", "empty", "cut", "huge", "long", "endless", "drip", "inside"],
)
@pytest.mark.parametrize("by", ["query", "body"])
async def test_what_is_refused_leaves_no_bytes_and_no_quota(
    house: House, here: Site, page: Any, status: int, code: str, by: str
) -> None:
    here.pages["/x"] = page
    body = {"url": here.url("/x")} | ({"user": "ann"} if by == "body" else {})
    query = {"user": "ann"} if by == "query" else {}
    answer = await house.http.post("/v1/media", json=body, params=query, headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await house.nothing()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2/", "http://10.0.0.1/", "http://no-such-host.invalid/", "file:///etc/passwd"]
)
async def test_the_inside_looks_like_nothing_at_all(house: House, url: str) -> None:
    answer = await post(house, url)
    assert answer.status_code == 422
    assert {**answer.json(), "code": "url_refused", "detail": UrlRefused.sentence} == answer.json()
    assert set(answer.json()) == {"type", "title", "status", "code", "detail"}
    assert await house.nothing()


async def test_of_the_far_side_the_status_is_told_and_no_more(house: House, here: Site) -> None:
    here.pages["/x"] = told(b"stack trace of the inside", "500 Oops: secret")
    answer = (await post(house, here.url("/x"))).json()
    assert (answer["code"], answer["upstream_status"]) == (FetchFailed.code, 500)
    assert "secret" not in str(answer)
    assert set(answer) == {"type", "title", "status", "code", "detail", "upstream_status"}


async def test_a_small_quota_takes_what_fits_exactly_though_no_length_was_said(house: House, here: Site) -> None:
    data = PHOTO + bytes(2_500_000)
    here.pages["/x"] = chunked(data)
    await house.user("bob", quota=len(data) + ladder.still_cap(len(data)))
    await house.user("eve", quota=len(data) + ladder.still_cap(len(data)) - 1)
    assert (await post(house, here.url("/x"), user="eve")).json()["code"] == "quota_exceeded"
    assert (await post(house, here.url("/x"), user="bob")).status_code == 201
    assert await house.standing("eve") == (0, 0, 0)


async def test_under_a_key_it_is_fetched_once_whatever_it_is_by_then(house: House, here: Site) -> None:
    url, key = here.url("/a/photo.jpg"), {"idempotency-key": "k"}
    first = await post(house, url, key)
    here.pages["/a/photo.jpg"] = told(photo(seed=2))
    again = await post(house, url, key)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
    assert len(here.asked) == 1
    assert (await post(house, here.url("/b"), key)).json()["code"] == "idempotency_key_reused"
    assert (await post(house, url, key, filename="other")).json()["code"] == "idempotency_key_reused"
    assert (await house.standing())[2] == 1


async def test_of_two_at_once_under_a_key_one_fetches(house: House, here: Site) -> None:
    going = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await going.wait()
        writer.write(told(PHOTO))

    here.pages["/x"] = slow
    key = {"idempotency-key": "k"}
    first = asyncio.create_task(post(house, here.url("/x"), key))
    async with asyncio.timeout(5):
        while not here.asked:
            await asyncio.sleep(0.01)
    second = await post(house, here.url("/x"), key)
    assert (second.status_code, second.json()["code"]) == (409, "upload_running")
    going.set()
    assert (await first).status_code == 201
    assert len(here.asked) == 1


async def test_it_stops_once_nobody_waits_for_it_any_more(house: House, here: Site) -> None:
    """nginx says so by `/-/done`, which takes the place."""
    here.pages["/x"] = endless(bytes(300_000), 0.2, first=PHOTO)
    asking = {
        "authorization": house.http.headers["authorization"], "x-original-method": "POST", "x-original-uri": "/v1/media?user=ann",
        "x-original-length": "60", "x-original-type": "application/json",
    }  # fmt: skip
    ticket = (await house.http.get("/-/precheck", headers=asking)).headers["x-ticket"]
    body = {"url": here.url("/x")}
    running = asyncio.create_task(
        house.http.post("/v1/media", params={"user": "ann"}, json=body, headers={"x-ticket": ticket})
    )
    while not here.asked:
        await asyncio.sleep(0.01)
    await house.http.get("/-/done", headers={"x-ticket": ticket})
    answer = await asyncio.wait_for(running, 4)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert await house.nothing()


@pytest.mark.parametrize("body", [{"user": "ann"}, {"user": "ann", "data": "", "url": "http://a.example/"}])
async def test_there_is_one_of_data_and_url(house: House, body: dict[str, str]) -> None:
    answer = await house.http.post("/v1/media", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_nothing_is_fetched_for_who_may_not_upload(house: House, here: Site) -> None:
    await house.user("bob")
    await house.flow("closed")
    token = {"authorization": f"Bearer {await house.token('bob')}"}
    for headers, fields, status in (
        (None, {"user": "nobody"}, 422), (token, {"user": "ann"}, 403), (token, {"user": "bob", "flow": "closed"}, 422),
        ({"authorization": "Bearer cmk_no"}, {}, 401),
    ):  # fmt: skip
        assert (await post(house, here.url("/a/photo.jpg"), headers, **fields)).status_code == status
    assert here.asked == []


async def test_no_name_of_the_inside_is_reached_unless_it_is_listed(settings: Settings, here: Site) -> None:
    async with house_of(settings.model_copy(update={"fetch_allow": ()})) as house:
        await house.user()
        answer = await post(house, here.url("/a/photo.jpg"))
        assert (answer.status_code, answer.json()["code"]) == (422, "url_refused")
        assert here.connections == 0
