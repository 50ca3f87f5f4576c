"""What a browser may do with a presigned request on a real Ceph Object Gateway, and what it may not."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from chipmunk.storage import Missing, Presigned
from chipmunk.storage.linter import read
from chipmunk.storage.s3 import S3Store
from tests.chipmunk.storage.conftest import Opened
from tests.servers.ceph import KMS_KEY

MINUTE = timedelta(minutes=1)
ORIGIN = "https://app.example"
PNG = "image/png"


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def send(browser: aiohttp.ClientSession, request: Presigned, body: bytes, **changed: str) -> int:
    headers = {**request.headers, **{name.replace("_", "-"): value for name, value in changed.items()}}
    async with browser.request(
        request.method, request.url, headers=headers, data=io.BytesIO(body), skip_auto_headers=["Content-Type"]
    ) as answer:
        return answer.status


async def post(browser: aiohttp.ClientSession, request: Presigned, body: bytes, **changed: str) -> str:
    """The code of the error; nothing where the form was taken."""
    form = aiohttp.FormData()
    for name, value in {**request.fields, **{n.replace("_", "-"): v for n, v in changed.items()}}.items():
        form.add_field(name, value)
    form.add_field("file", body, filename="x.png", content_type="application/octet-stream")
    async with browser.request(request.method, request.url, data=form) as answer:
        error = re.search("<Code>(.*)</Code>", await answer.text())
        assert (error is None) == answer.ok
        return error[1] if error else ""


async def mime(store: S3Store, browser: aiohttp.ClientSession, key: str) -> str:
    async with browser.get((await store.presign_get(key, MINUTE)).url) as answer:
        return answer.headers["Content-Type"]


async def test_a_put_keeps_just_what_it_was_signed_for(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    request = await store.presign_put("a/b", PNG, MINUTE, 5)
    assert await send(browser, request, b"12345", Content_Type="text/html") == 403
    assert await send(browser, request, b"123456") == 403
    assert await send(browser, request, b"1234") == 403
    elsewhere = Presigned("PUT", request.url.replace("a/b", "a/c"), request.headers, {})
    assert await send(browser, elsewhere, b"12345") == 403
    assert await store.stat("a/b") is None
    assert await send(browser, request, b"12345") == 200
    assert await read(store, "a/b") == b"12345"
    assert await mime(store, browser, "a/b") == PNG


async def test_a_put_of_no_stated_length_takes_any(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    assert await send(browser, await store.presign_put("a", PNG, MINUTE), b"x" * 70_000) == 200
    assert await read(store, "a") == b"x" * 70_000


async def test_a_form_keeps_just_what_its_policy_says(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    request = await store.presign_post("a/b", PNG, MINUTE, 10)
    assert await post(browser, request, b"12345678901") == "EntityTooLarge"
    assert await post(browser, request, b"") == "EntityTooSmall"
    assert await post(browser, request, b"1234", Content_Type="text/html") == "AccessDenied"
    assert await post(browser, request, b"1234", key="a/c") == "AccessDenied"
    assert await store.stat("a/b") is None
    assert await post(browser, request, b"1234567890") == ""
    assert await read(store, "a/b") == b"1234567890"
    assert await mime(store, browser, "a/b") == PNG


async def test_a_request_that_has_expired_does_nothing(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    second = timedelta(seconds=1)
    put, form = await store.presign_put("a", PNG, second), await store.presign_post("a", PNG, second, 10)
    get = await store.presign_get("a", second)
    await asyncio.sleep(2.1)
    assert await send(browser, put, b"x") == 403
    assert await post(browser, form, b"x") == "AccessDenied"
    assert await send(browser, get, b"") == 403
    assert await store.stat("a") is None


async def test_parts_become_one_object(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    first, second = os.urandom(5 * 1024 * 1024), os.urandom(1000)
    upload = await store.begin_parts("a/b", PNG)
    with pytest.raises(Missing):
        await store.finish_parts("a/b", upload)
    assert await send(browser, await store.presign_part("a/b", upload, 2, MINUTE), second) == 200
    assert await send(browser, await store.presign_part("a/b", upload, 1, MINUTE), first) == 200
    assert await store.stat("a/b") is None
    await store.finish_parts("a/b", upload)
    assert await read(store, "a/b") == first + second
    assert await mime(store, browser, "a/b") == PNG


async def test_parts_that_were_dropped_make_nothing(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    upload = await store.begin_parts("a/b", PNG)
    part = await store.presign_part("a/b", upload, 1, MINUTE)
    assert await send(browser, part, b"x") == 200
    await store.abort_parts("a/b", upload)
    await store.abort_parts("a/b", upload)
    assert await send(browser, part, b"x") == 404
    with pytest.raises(Missing):
        await store.finish_parts("a/b", upload)


async def test_a_read_is_of_one_object(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened("", addressing="path")
    for key in ("a", "b"):
        assert await send(browser, await store.presign_put(key, PNG, MINUTE), key.encode()) == 200
    request = await store.presign_get("a", MINUTE)
    assert await send(browser, request, b"") == 200
    assert await send(browser, Presigned("GET", request.url.replace("/a?", "/b?"), {}, {}), b"") == 403


async def test_only_pages_of_the_origins_may_send(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened()
    others = {
        "ID": "theirs",
        "AllowedOrigins": ["https://other.example"],
        "AllowedMethods": ["GET"],
        "AllowedHeaders": ["*"],
    }
    await store._client.call("put_bucket_cors", CORSConfiguration={"CORSRules": [others]})

    async def preflight(origin: str, method: str) -> aiohttp.ClientResponse:
        asked = {"Origin": origin, "Access-Control-Request-Method": method}
        asked["Access-Control-Request-Headers"] = "content-type"
        url = (await store.presign_put("a", PNG, MINUTE)).url
        async with browser.options(url, headers=asked) as answer:
            return answer

    for origins in ([ORIGIN, "https://second.example"], [ORIGIN]):
        await store.cors(origins)
        answer = await preflight(ORIGIN, "PUT")
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
        assert "Access-Control-Allow-Origin" in (await preflight(ORIGIN, "POST")).headers
    assert "Access-Control-Allow-Origin" not in (await preflight("https://second.example", "PUT")).headers
    assert "Access-Control-Allow-Origin" not in (await preflight(ORIGIN, "DELETE")).headers
    assert "Access-Control-Allow-Origin" in (await preflight("https://other.example", "GET")).headers
    request = await store.presign_put("a", PNG, MINUTE)
    async with browser.put(request.url, headers={**request.headers, "Origin": ORIGIN}, data=b"x") as sent:
        assert "ETag" in sent.headers["Access-Control-Expose-Headers"]
    await store.cors([])
    assert "Access-Control-Allow-Origin" not in (await preflight(ORIGIN, "PUT")).headers


async def test_what_a_browser_sends_is_encrypted_too(opened: Opened, browser: aiohttp.ClientSession) -> None:
    store = opened(encryption="aws:kms", kms_key=KMS_KEY)
    assert await send(browser, await store.presign_put("put", PNG, MINUTE), b"x") == 200
    assert await post(browser, await store.presign_post("post", PNG, MINUTE, 10), b"x") == ""
    upload = await store.begin_parts("parts", PNG)
    assert await send(browser, await store.presign_part("parts", upload, 1, MINUTE), b"x") == 200
    await store.finish_parts("parts", upload)
    for key in ("put", "post", "parts"):
        found = await store._client.call("head_object", Key=key)
        assert found["ServerSideEncryption"] == "aws:kms", key
        assert await read(store, key) == b"x"
