"""S3 on bad days: a real Ceph Object Gateway that is gone, refuses, or lies behind a bad network."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import botocore.auth
import pytest

from chipmunk.storage import Missing, StoreUnavailable
from chipmunk.storage.linter import read
from chipmunk.storage.linter_remote import lint_remote
from chipmunk.storage.s3 import S3Store
from chipmunk.storage.s3_client import Pace
from tests.chipmunk.storage.conftest import Opened
from tests.servers.ceph import Rgw, User
from tests.servers.certificates import Authority
from tests.servers.faults import Proxy

MEBIBYTE = 1024 * 1024
STEADY = Pace(connect=2, idle=10, deadline=20, first_pause=0.02, longest_pause=0.2, part_bytes=5 * MEBIBYTE)
PATIENT = replace(STEADY, tries=12, read_tries=12, first_pause=0.1, longest_pause=1)


def error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'.encode()


ERRORS = {503: error("SlowDown"), 403: error("AccessDenied"), 500: error("InternalError")}


@pytest.fixture
async def proxy(rgw: Rgw) -> AsyncIterator[Proxy]:
    async with Proxy(rgw.url, ERRORS) as proxy:
        yield proxy


@pytest.fixture
def large(tmp_path: Path) -> Path:
    (tmp_path / "large").write_bytes(os.urandom(15 * MEBIBYTE))
    return tmp_path / "large"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "small").write_bytes(b"small")
    return tmp_path / "small"


async def refuses_everything(store: S3Store, small: Path, sentence: str) -> None:
    """Also what a missing object would answer: nothing that could be taken for `it is not there`."""
    for call in (
        store.check(), store.put("a", small), read(store, "a"), store.stat("a"), store.delete("a"), store.delete("a/"),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable) as told:
            await call
        assert str(told.value) == sentence


async def test_the_store_keeps_the_contract_across_a_bad_network(
    rgw: Rgw, opened: Opened, proxy: Proxy, tmp_path: Path
) -> None:
    store = opened(at=proxy.url, pace=replace(STEADY, idle=1, deadline=2.5))
    secrets = [rgw.access_key, rgw.secret_key, "X-Amz", proxy.url]
    assert await lint_remote(store, tmp_path, proxy, seconds=12, secrets=secrets) == []


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
async def test_credentials_that_are_wrong_are_told_of(rgw: Rgw, opened: Opened, small: Path, wrong: str) -> None:
    given = {**rgw.user.secret, wrong: "wrong" * 4}
    store = opened(user=User("x", **given), pace=STEADY)
    await refuses_everything(store, small, "The S3 store does not accept the credentials.")


async def test_credentials_without_the_right_are_told_of(rgw: Rgw, opened: Opened, small: Path) -> None:
    store = opened(user=rgw.make_user(), pace=STEADY)
    await refuses_everything(store, small, "The S3 store does not let these credentials do this.")


async def test_a_clock_that_is_wrong_is_told_of(opened: Opened, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = opened(pace=STEADY), botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: clock() - datetime.timedelta(minutes=20))
    sentence = "The clock of this machine and that of the S3 store differ too much."
    await refuses_everything(store, small, sentence)


async def test_a_bucket_that_is_gone_is_told_of_and_is_not_an_empty_one(rgw: Rgw, opened: Opened, small: Path) -> None:
    store = opened(pace=STEADY)
    await store.put("a", small)
    rgw.client().delete_object(Bucket=store.address.bucket, Key="a")
    rgw.client().delete_bucket(Bucket=store.address.bucket)
    await refuses_everything(store, small, "The S3 bucket is not there.")
    with pytest.raises(StoreUnavailable):
        [key async for key, _ in store.listed()]


async def test_encryption_that_the_server_does_not_do_is_told_of(opened: Opened) -> None:
    """This server takes the header and keeps the bytes as they are."""
    with pytest.raises(StoreUnavailable, match="does not encrypt as the backend says"):
        await opened(encryption="AES256").check()


async def test_a_server_that_is_gone_is_told_of_until_it_is_back(rgw: Rgw, opened: Opened, small: Path) -> None:
    store = opened(pace=STEADY)
    await store.put("b", small)
    rgw.kill()
    try:
        await refuses_everything(store, small, "The S3 endpoint cannot be reached.")
    finally:
        rgw.restart()
    await store.check()
    assert await read(store, "b") == b"small"


async def test_a_put_and_a_read_outlive_a_server_that_is_killed(rgw: Rgw, opened: Opened, large: Path) -> None:
    store = opened(pace=PATIENT)
    await store.put("before", large)

    async def kill() -> None:
        await asyncio.sleep(0.1)
        rgw.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(rgw.restart)

    async def read_slowly() -> bytes:
        parts = []
        async for chunk in store.open("before"):
            parts.append(chunk)
            await asyncio.sleep(0.005)
        return b"".join(parts)

    _, _, found = await asyncio.gather(kill(), store.put("during", large), read_slowly())
    assert found == large.read_bytes()
    assert await read(store, "during") == large.read_bytes()


async def test_a_put_that_a_killed_server_ends_leaves_nothing(rgw: Rgw, opened: Opened, large: Path) -> None:
    store = opened(pace=STEADY)
    await store.check()
    put = asyncio.ensure_future(store.put("a", large))
    await asyncio.sleep(0.05)
    rgw.kill()
    try:
        with pytest.raises(StoreUnavailable):
            await put
    finally:
        rgw.restart()
    assert await store.stat("a") is None
    await store.abort_stale(datetime.timedelta(0))
    assert [key async for key, _ in store.listed()] == []


async def test_a_part_that_breaks_is_sent_again_alone(opened: Opened, proxy: Proxy, large: Path) -> None:
    store = opened(at=proxy.url, pace=STEADY)
    await proxy.cut(3 * MEBIBYTE, 1, on=b"partNumber=2")
    await store.put("a", large)
    assert await read(store, "a") == large.read_bytes()
    sent = [n for line in proxy.lines for n in "123" if line.startswith("PUT") and f"partNumber={n}" in line]
    assert sorted(sent) == ["1", "2", "2", "3"]


@pytest.mark.parametrize("size", [MEBIBYTE, 12 * MEBIBYTE])
async def test_bytes_that_change_on_the_way_are_sent_again(
    opened: Opened, proxy: Proxy, tmp_path: Path, size: int
) -> None:
    store = opened(at=proxy.url, pace=STEADY)
    (tmp_path / "f").write_bytes(data := os.urandom(size))
    await proxy.damage(500_000, 1, on=b"PUT")
    await store.put("a", tmp_path / "f")
    assert await read(store, "a") == data
    assert len([line for line in proxy.lines if line.startswith("PUT")]) > -(-size // STEADY.part_bytes)


async def test_a_file_that_never_arrives_as_it_was_is_not_kept(opened: Opened, proxy: Proxy, large: Path) -> None:
    store = opened(at=proxy.url, pace=STEADY)
    await proxy.damage(500_000, on=b"partNumber=3")
    with pytest.raises(StoreUnavailable, match="not what was sent"):
        await store.put("a", large)
    await proxy.heal()
    assert await store.stat("a") is None
    assert await store.abort_stale(datetime.timedelta(0)) == 0


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.2])
async def test_a_put_that_is_given_up_leaves_no_parts(opened: Opened, large: Path, seconds: float) -> None:
    store = opened(pace=STEADY)
    await store.check()
    put = asyncio.ensure_future(store.put("a", large))
    await asyncio.sleep(seconds)
    put.cancel()
    await asyncio.gather(put, return_exceptions=True)
    assert await store.stat("a") is None or await read(store, "a") == large.read_bytes()
    assert await store.abort_stale(datetime.timedelta(0)) == 0


async def test_an_answer_that_was_lost_does_not_lose_the_object(opened: Opened, proxy: Proxy, large: Path) -> None:
    """The parts are one object already, and the second try finds no upload any more."""
    store = opened(at=proxy.url, pace=STEADY)
    await proxy.deafen(1, on=b"POST /" + store.address.bucket.encode() + b"/a?uploadId")
    await store.put("a", large)
    assert await read(store, "a") == large.read_bytes()
    assert len([line for line in proxy.lines if line.startswith("POST") and "?uploadId" in line]) == 2


async def test_a_read_never_goes_on_in_another_object(opened: Opened, proxy: Proxy, large: Path, small: Path) -> None:
    store = opened(at=proxy.url, pace=STEADY)
    await store.put("a", large)
    chunks = store.open("a")
    await anext(chunks)
    await store.put("a", small)
    await proxy.gone()
    await proxy.heal()
    with pytest.raises(StoreUnavailable, match="replaced while it was read"):
        async for _ in chunks:
            pass


async def test_a_read_that_breaks_after_its_object_went_says_so(opened: Opened, proxy: Proxy, large: Path) -> None:
    store = opened(at=proxy.url, pace=STEADY)
    await store.put("a", large)
    chunks = store.open("a")
    await anext(chunks)
    await store.delete("a")
    await proxy.gone()
    await proxy.heal()
    with pytest.raises((Missing, StoreUnavailable)):
        async for _ in chunks:
            pass


async def test_only_certificates_that_are_trusted_will_do(
    rgw: Rgw, opened: Opened, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    async with Proxy(rgw.url, tls=authority.server("127.0.0.1")) as proxy:
        sentence = "The certificate of the S3 endpoint is not one that is trusted here."
        await refuses_everything(opened(at=proxy.url, pace=STEADY), small, sentence)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        store = opened(at=proxy.url, pace=STEADY)
        await store.check()
        await store.put("a", small)
        assert await read(store, "a") == b"small"
