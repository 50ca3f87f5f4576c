"""What somebody who means harm sends to the doors."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chipmunk.errors import Unavailable
from chipmunk.storage.local import sync_file
from compressor import filenames, finishing, names
from compressor.tus_state import RECORD_BYTES
from tests.compressor import tus
from tests.compressor.conftest import House, house_of, photo, settings_of
from tests.compressor.test_presigned import begun, complete, send

PHOTO = photo()


@pytest.mark.parametrize(
    "header",
    [
        b"attachment; filename*=a; filename*0=b",
        b"attachment; filename*" + b"9" * 5000 + b"=a",
        b"form-data; name*=a; name*0=b",
    ],
)
async def test_a_disposition_that_contradicts_itself_names_nothing(house: House, header: bytes) -> None:
    assert filenames.disposition(header) == (None, None)
    answer = await house.http.put(
        "/v1/media", params={"user": "ann"}, content=PHOTO, headers={b"content-disposition": header}
    )
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/images/upload_init"),
        ("POST", "/v1/images/upload_complete"),
        ("POST", "/v1/images/flows/add_img"),
        ("POST", tus.PATH),
        ("PUT", "/v1/media"),
    ],
)
async def test_a_query_that_is_no_text_is_a_bad_request(house: House, method: str, path: str) -> None:

    async def app(scope: Any, receive: Any, do_send: Any) -> None:
        await transport.app({**scope, "query_string": b"user=ann&x=\xff"}, receive, do_send)

    transport: Any = house.http._transport
    house.http._transport = type(transport)(app=app)
    headers = {**tus.TUS, "upload-length": "5"} if path == tus.PATH else {}
    content: Any = b"" if path == tus.PATH else b"12345"
    if "add_img" in path:
        content = json.dumps({"image_extern_url_str": "http://a.example/"})
    kind = {"content-type": "application/json"} if "images" in path else {}
    answer = await house.http.request(method, path, content=content, headers={**headers, **kind})
    assert answer.status_code == 400, answer.text


async def test_a_url_with_half_a_character_is_refused(house: House) -> None:
    body = '{"url": "http://a.example/\\ud800", "user": "ann"}'
    answer = await house.http.post("/v1/media", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert await house.nothing()


async def test_a_part_that_is_being_made_part_of_a_whole_cannot_be_taken_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = len(PHOTO) // 2
    parts = []
    for data in (PHOTO[:half], PHOTO[half:]):
        where = await tus.created(house, len(data), headers={"upload-concat": "partial"})
        assert (await tus.patch(house, where, data)).status_code == 204
        parts.append(where)

    async def dies(*_: Any) -> None:
        raise Unavailable()

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "finish", dies)
        final = await tus.create(house, headers={"upload-concat": "final;" + " ".join(parts)})
        assert final.status_code == 503
    assert (await house.http.delete(parts[1], headers=tus.TUS)).status_code == 423
    again = await tus.create(house, headers={"upload-concat": "final;" + " ".join(parts)})
    assert again.status_code == 201, again.text
    assert (await tus.head(house, again.headers["location"])).headers["chipmunk-media"]


async def test_no_row_is_locked_while_a_large_body_is_written_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, locked = asyncio.get_running_loop(), []

    def slowly(path: Path) -> None:
        asked = house.many("select id from uploads for update skip locked")
        locked.append(not asyncio.run_coroutine_threadsafe(asked, loop).result(5))
        sync_file(path)

    monkeypatch.setattr("compressor.incoming.sync_file", slowly)
    info = await begun(house)
    assert (await send(house, info, PHOTO)).status_code == 200
    assert locked == [False]


async def test_names_that_nobody_answers_for_stop_no_work_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def silent(*_: Any, **__: Any) -> list[Any]:
        answered.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    asking = [asyncio.ensure_future(names.resolved(f"{n}.example", 80)) for n in range(64)]
    try:
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(asyncio.to_thread(int, "1"), 2) == 1
    finally:
        answered.set()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_meta_has_a_depth_that_everybody_can_read(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert (await complete(house, info, meta={"a": deep})).status_code == 422
    assert (await complete(house, info, meta={"a": [[[{"b": 1}]]]})).status_code == 200


async def test_a_body_that_takes_longer_than_its_place_lasts_keeps_it(
    tmp_path: Path, database: str, redis_url: str
) -> None:
    async with house_of(settings_of(tmp_path / "data", database, redis_url, upload_seconds=2)) as house:
        await house.user()
        where = await tus.created(house, None, headers={"upload-defer-length": "1"})

        async def slowly() -> AsyncIterator[bytes]:
            for _ in range(5):
                await asyncio.sleep(1)
                yield bytes(RECORD_BYTES)

        headers = {**tus.TUS, **tus.BYTES, "upload-offset": "0"}
        assert (await house.http.patch(where, headers=headers, content=slowly())).status_code == 204
        row = await house.one("select expires_at > now() + interval '1 second' from reservations")
        assert row[0]


async def test_of_a_suspended_user_nothing_is_finished(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(*_: Any) -> None:
        raise Unavailable()

    where = await tus.created(house, len(PHOTO))
    with monkeypatch.context() as patched:
        patched.setattr(finishing, "finish", dies)
        assert (await tus.patch(house, where, PHOTO)).status_code == 503
    await house.run("update users set suspended = true")
    assert (await tus.head(house, where)).status_code == 403
    assert await house.nothing()
