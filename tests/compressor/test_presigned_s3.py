"""Presigned uploads to a real bucket, and what its bad days leave of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chipmunk import backends
from chipmunk.storage.s3 import S3Store
from chipmunk.storage.s3_client import Pace
from compressor import incoming_sweep
from tests.compressor.conftest import House, photo, working
from tests.compressor.test_presigned import begun, complete, ended, pass_by, row
from tests.servers.ceph import Rgw

PHOTO = photo()
MIB = 1024 * 1024


@pytest.fixture
async def bucket(house: House, rgw: Rgw) -> AsyncIterator[S3Store]:
    """Where the flow `general` lies; it is given up on at once where it does not answer."""
    url = f"s3+{rgw.url}/{rgw.make_bucket()}"
    store = S3Store(url, {}, rgw.user.secret, pace=Pace(deadline=5, tries=2, first_pause=0.05))
    async with house.database.transaction() as connection:
        await connection.execute("update backends set role = null")
        key, changed = await connection.fetchrow(
            "insert into backends (name, url, role) values ('bucket', $1, 'primary') returning id, changed_at", url
        )
    house.parts.stores._opened[key] = (changed, store)
    house.parts.stores._read_at = float("-inf")
    yield store
    await store.close()


async def send(url: str, data: bytes, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient(timeout=30) as http:
        return (await http.put(url, content=data, headers=headers)).status_code


async def sent(house: House, **query: Any) -> dict[str, Any]:
    info = await begun(house, **query)
    data = bytes(6 * MIB) if "parts" in query else PHOTO
    assert await send(info["presigned_url_str"], data, info["headers"]) == 200
    return info


async def lying(store: S3Store) -> list[str]:
    return [key async for key, _ in store.listed("incoming/")]


async def unfinished(store: S3Store) -> int:
    """Uploads in parts that the bucket still holds parts of."""
    return len((await store._client.call("list_multipart_uploads")).get("Uploads", []))


async def test_what_is_never_completed_goes_once_its_store_is_back(house: House, bucket: S3Store, rgw: Rgw) -> None:
    whole, parts = await sent(house), await sent(house, parts=1, size=20 * MIB)
    assert (len(await lying(bucket)), await unfinished(bucket)) == (1, 1)
    for info in (whole, parts):
        await pass_by(house, info, 2 * house.settings.presigned_seconds)
    rgw.kill()
    try:
        assert await incoming_sweep.expired(house.parts) == 0
        assert [(await row(house, info))["state"] for info in (whole, parts)] == ["failed", "failed"]
    finally:
        rgw.restart()
    house.parts.stores._down.clear()
    assert await incoming_sweep.expired(house.parts) == 2
    assert await lying(bucket) == []
    assert await unfinished(bucket) == 0
    assert [await row(house, info) for info in (whole, parts)] == [None, None]
    assert await house.nothing()


async def test_what_is_sent_when_nobody_expects_it_any_more_is_taken(house: House, bucket: S3Store) -> None:
    done, open_, unknown = await sent(house), await sent(house), await sent(house)
    answer = await complete(house, done)
    async with working(house.parts):
        job = await ended(house, answer.json()["images_job_id_str"])
        await house.until("ready", done["upload_gf_image_id_str"])
    assert job.state == "completed"
    assert await send(done["presigned_url_str"], photo(seed=2), done["headers"]) == 200
    await house.run("delete from uploads where id = $1", (await row(house, unknown))["id"])
    assert len(await lying(bucket)) == 3
    assert await incoming_sweep.stray(house.parts) == 2
    assert await lying(bucket) == [f"incoming/{open_['upload_gf_image_id_str']}"]


async def test_an_upload_in_parts_that_nobody_may_begin_leaves_none(house: House, bucket: S3Store) -> None:
    house.parts.settings.__dict__["presigned_uploads"] = 1
    await begun(house)
    params = {"imgf": "jpeg", "user": "ann", "parts": 1, "size": 20 * MIB}
    answer = await house.http.get("/v1/images/upload_init", params=params)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_uploads")
    assert await unfinished(bucket) == 0


async def test_a_backend_that_uploads_go_to_cannot_be_taken(house: House, bucket: S3Store) -> None:
    info = await sent(house)
    async with house.database.transaction() as connection:
        await connection.execute("update backends set role = null")
        await connection.execute("update backends set role = 'primary' where name = 'local'")
        with pytest.raises(backends.BackendInUse):
            await backends.delete(connection, "bucket")
    assert await row(house, info) is not None


async def test_a_store_that_is_known_to_be_away_is_sent_nothing(house: House, bucket: S3Store) -> None:
    await house.run("update backends set up = false where name = 'bucket'")
    house.parts.stores._read_at = float("-inf")
    assert "/v1/images/direct/" in (await begun(house))["presigned_url_str"]
