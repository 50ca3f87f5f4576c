"""S3 on a day when all is well, on a real Ceph Object Gateway."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chipmunk.storage import s3
from chipmunk.storage.linter import lint, read
from chipmunk.storage.s3_client import Pace
from tests.chipmunk.storage.conftest import Opened
from tests.servers.ceph import KMS_KEY, Rgw

MEBIBYTE = 1024 * 1024
SMALL_PARTS = Pace(part_bytes=5 * MEBIBYTE)
AT_ONCE = timedelta(0)


@pytest.fixture
def names_of_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """`<bucket>.localhost` is this machine, as it is to browsers."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return lookup("127.0.0.1" if str(host).endswith(".localhost") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_the_store_keeps_the_contract_with_large_objects_in_parts(opened: Opened, tmp_path: Path) -> None:
    assert await lint(opened(), tmp_path, large=129 * MEBIBYTE + 11) == []


async def test_the_store_keeps_the_contract_below_a_prefix(rgw: Rgw, opened: Opened, tmp_path: Path) -> None:
    assert await lint(opened(f"{rgw.make_bucket()}/a/b", pace=SMALL_PARTS), tmp_path) == []


@pytest.mark.usefixtures("names_of_localhost")
async def test_the_store_keeps_the_contract_with_a_host_for_each_bucket(
    rgw: Rgw, opened: Opened, tmp_path: Path
) -> None:
    store = opened(at=f"http://localhost:{rgw.port}", addressing="virtual")
    assert await lint(store, tmp_path) == []
    url = (await store.presign_get("a", timedelta(minutes=1))).url
    assert url.startswith(f"http://{store.address.bucket}.localhost:{rgw.port}/a?")


async def test_the_store_keeps_the_contract_with_encryption_at_rest(opened: Opened, tmp_path: Path) -> None:
    assert await lint(opened(encryption="aws:kms", kms_key=KMS_KEY, pace=SMALL_PARTS), tmp_path) == []


async def test_what_the_server_encrypts_does_not_lie_there_as_it_is(rgw: Rgw, opened: Opened, tmp_path: Path) -> None:
    words, key = os.urandom(20).hex().encode(), f"sealed-{uuid4().hex}"
    (tmp_path / "f").write_bytes(words * 10)
    store = opened(encryption="aws:kms", kms_key=KMS_KEY)
    await store.put(key, tmp_path / "f")
    assert await read(store, key) == words * 10
    lies = await asyncio.to_thread(rgw.kept, key)
    assert len(lies) >= 400
    assert words not in lies
    await opened().put(key, tmp_path / "f")
    assert words in await asyncio.to_thread(rgw.kept, key)


async def test_several_buckets_and_prefixes_are_stores_apart(rgw: Rgw, opened: Opened, tmp_path: Path) -> None:
    bucket = rgw.make_bucket()
    stores = [opened(), opened(), opened(f"{bucket}/a"), opened(f"{bucket}/a2"), opened(bucket)]
    for number, store in enumerate(stores):
        (tmp_path / "f").write_text(f"{number}")
        await store.put("k", tmp_path / "f")
    assert [await read(store, "k") for store in stores] == [b"0", b"1", b"2", b"3", b"4"]
    listed = [{key async for key, _ in store.listed()} for store in stores]
    assert listed == [{"k"}, {"k"}, {"k"}, {"k"}, {"k", "a/k", "a2/k"}]
    await stores[4].delete("a/")
    assert await stores[2].stat("k") is None
    assert await stores[3].stat("k") is not None


async def test_a_folder_of_more_than_a_page_goes_and_its_neighbour_stays(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server lists a hundred at once, and this store deletes fewer at once than it usually does."""
    monkeypatch.setattr(s3, "MOST_AT_ONCE", 50)
    store = opened()
    (tmp_path / "f").write_bytes(b"")
    turns = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with turns:
            await store.put(key, tmp_path / "f")

    await asyncio.gather(*(put(f"x/{n}") for n in range(205)), put("x2/0"), put("x"), put("x.y"))
    assert len([1 async for _ in store.listed("x/")]) == 205
    await store.delete("x/")
    assert {key async for key, _ in store.listed()} == {"x2/0", "x", "x.y"}


async def test_where_the_bucket_keeps_versions_a_delete_takes_them_too(
    rgw: Rgw, opened: Opened, tmp_path: Path
) -> None:
    store = opened()
    asked = {"Bucket": store.address.bucket}
    rgw.client().put_bucket_versioning(**asked, VersioningConfiguration={"Status": "Enabled"})
    (tmp_path / "f").write_bytes(b"x")
    for key in ("a/1", "a/1", "a/2", "b", "b", "bc"):
        await store.put(key, tmp_path / "f")
    rgw.client().delete_object(**asked, Key="a/2")
    await store.delete("a/")
    await store.delete("b")
    told = rgw.client().list_object_versions(**asked)
    assert [found["Key"] for found in told["Versions"]] == ["bc"]
    assert "DeleteMarkers" not in told


async def test_a_new_object_never_replaces_one(opened: Opened, tmp_path: Path) -> None:
    store = opened()
    for number in range(3):
        (tmp_path / f"{number}").write_text(f"{number}")
    first = await asyncio.gather(*(store.put_new("a", tmp_path / f"{number}") for number in range(3)))
    assert sorted(first) == [False, False, True]
    assert await read(store, "a") == f"{first.index(True)}".encode()
    await store.delete("a")
    assert await store.put_new("a", tmp_path / "2")


async def test_foreign_objects_in_the_bucket_are_not_listed(rgw: Rgw, opened: Opened, tmp_path: Path) -> None:
    store = opened()
    for name in (".chipmunk-check-1", "a b", "folder/", "é", "ours"):
        rgw.client().put_object(Bucket=store.address.bucket, Key=name, Body=b"x")
    assert [key async for key, _ in store.listed()] == ["ours"]


async def test_large_files_pass_through_little_memory(opened: Opened, tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    store = opened()
    with (tmp_path / "f").open("wb") as file:
        file.truncate(200 * MEBIBYTE)
    await store.check()
    before, most = resident(), 0
    put = asyncio.ensure_future(store.put("a", tmp_path / "f"))
    while not put.done():
        await asyncio.sleep(0.01)
        most = max(most, resident())
    async for _ in store.open("a"):
        most = max(most, resident())
    assert most - before < 48 * MEBIBYTE


async def test_uploads_in_parts_that_were_left_are_dropped(rgw: Rgw, opened: Opened) -> None:
    bucket = rgw.make_bucket()
    ours, other = opened(f"{bucket}/ours"), opened(f"{bucket}/other")
    await ours.begin_parts("a", "image/png")
    await ours.begin_parts("b", "image/png")
    await other.begin_parts("a", "image/png")
    assert await ours.abort_stale(timedelta(hours=1)) == 0
    await asyncio.sleep(1.1)
    assert await ours.abort_stale(AT_ONCE) == 2
    assert await ours.abort_stale(AT_ONCE) == 0
    assert await other.abort_stale(AT_ONCE) == 1


async def test_nothing_of_the_machines_own_aws_settings_is_used(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aws").write_text(
        "[default]\naws_access_key_id=x\naws_secret_access_key=y\nendpoint_url=http://127.0.0.1:1"
    )
    for name, value in {
        "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "SESSION_TOKEN": "z", "PROFILE": "nobody", "REGION": "nowhere",
        "CONFIG_FILE": str(tmp_path / "aws"), "SHARED_CREDENTIALS_FILE": str(tmp_path / "aws"),
        "ENDPOINT_URL": "http://127.0.0.1:1", "ENDPOINT_URL_S3": "http://127.0.0.1:1", "DEFAULT_REGION": "nowhere",
        "CA_BUNDLE": "/nowhere", "USE_FIPS_ENDPOINT": "true", "REQUEST_CHECKSUM_CALCULATION": "when_supported",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    await opened().check()


async def test_no_log_holds_a_key_or_a_signature(
    rgw: Rgw, opened: Opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = opened()
    (tmp_path / "f").write_bytes(b"x")
    await store.put("a", tmp_path / "f")
    await read(store, "a")
    signed = await store.presign_put("a", "image/png", timedelta(minutes=1))
    said = caplog.text
    assert rgw.secret_key not in said
    assert "Signature" not in said
    assert signed.url.rpartition("=")[2] not in said
