"""S3 as it should be, on a real Ceph Object Gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chipmunk.storage.linter import lint, read
from chipmunk.storage.s3 import S3Store
from tests.servers.ceph import Rgw


@pytest.fixture
async def opened(rgw: Rgw) -> AsyncIterator[Callable[..., S3Store]]:
    """Opens stores, each on a bucket of its own unless told, and closes them."""
    stores: list[S3Store] = []

    def open_store(path: str = "", **options: Any) -> S3Store:
        url = f"s3+{rgw.url}/{path or rgw.make_bucket()}"
        stores.append(S3Store(url, options, rgw.user.secret))
        return stores[-1]

    yield open_store
    for store in stores:
        await store.close()


async def test_the_store_keeps_the_contract(opened: Callable[..., S3Store], tmp_path: Path) -> None:
    assert await lint(opened(), tmp_path) == []
