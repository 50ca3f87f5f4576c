"""Uploads are counted once: by their pre-check, or by the door where there was none."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from redis.asyncio import Redis

from chipmunk.config import Settings
from tests.compressor.conftest import House, house_of, photo

PHOTO = photo(60, 40)
RESERVED = "select 1 from reservations"


@pytest.fixture(autouse=True)
async def full_buckets(redis_url: str) -> None:
    """Users of other tests' databases had the same rows."""
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()


@pytest.fixture
def limited(settings: Settings) -> Settings:
    return settings.model_copy(update={"user_uploads_per_minute": 3, "key_uploads_per_minute": 3})


async def session(house: House, name: str) -> dict[str, str]:
    await house.user(name)
    return {"authorization": f"Bearer {await house.token(name)}"}


async def test_a_door_without_nginx_counts_tells_and_refuses_before_it_stores(limited: Settings) -> None:
    async with house_of(limited) as house:
        headers = await session(house, "ann")
        answers = [await house.put(PHOTO, None, headers=headers) for _ in range(4)]
        assert [a.status_code for a in answers] == [201, 201, 201, 429]
        assert [a.headers["ratelimit"][:13] for a in answers] == [f'"uploads";r={n}' for n in (2, 1, 0, 0)]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 20
        assert (await house.one("select media_count from users"))[0] == len(await house.many(RESERVED)) == 3


async def test_what_its_precheck_counted_is_not_counted_again_with_or_without_a_ticket(limited: Settings) -> None:
    async with house_of(limited) as house:
        headers = {**await session(house, "bob"), "content-type": "application/json"}
        asked = {"x-original-method": "POST", "x-original-uri": "/v1/media", "x-original-type": headers["content-type"]}
        checked = await house.http.get("/-/precheck", headers={**headers, **asked, "x-original-length": "9000"})
        assert checked.headers["ratelimit"].startswith('"uploads";r=2')
        body = {"data": base64.b64encode(PHOTO).decode()}
        for more in ({"x-ticket": checked.headers["x-ticket"]}, {}):
            counted = {**headers, "x-counted": checked.headers["ratelimit"], **more}
            answer = await house.http.post("/v1/media", json=body, headers=counted)
            assert answer.status_code == 201, answer.text
            assert "ratelimit" not in answer.headers
        answer = await house.http.post("/v1/media", json=body, headers=headers)
        assert answer.headers["ratelimit"].startswith('"uploads";r=1')


async def test_a_refused_precheck_says_so_to_nginx_and_reserves_nothing(limited: Settings) -> None:
    async with house_of(limited) as house:
        asked = {"x-original-method": "PUT", "x-original-length": "9000", **await session(house, "eve")}
        answers: list[Any] = [await house.http.get("/-/precheck", headers=asked) for _ in range(4)]
        assert [a.status_code for a in answers] == [204, 204, 204, 403]
        last = answers[3].headers
        assert (last["x-status"], last["ratelimit-policy"]) == ("429", '"uploads";q=3;w=60')
        assert last["ratelimit"] == f'"uploads";r=0;t={last["x-retry-after"]}'
        assert len(await house.many(RESERVED)) == 3


async def test_a_deletion_is_a_call(settings: Settings) -> None:
    async with house_of(settings.model_copy(update={"user_calls_per_minute": 2})) as house:
        headers = await session(house, "joe")
        answers = [await house.http.delete(f"/v1/media/{n:032x}", headers=headers) for n in range(3)]
        assert [a.status_code for a in answers] == [404, 404, 429]
        assert [a.headers["ratelimit"][:11] for a in answers] == [f'"calls";r={n}' for n in (1, 0, 0)]
