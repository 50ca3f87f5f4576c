from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chipmunk.storage.s3 import S3Store
from chipmunk.storage.s3_client import Pace
from tests.servers.ceph import Rgw, User

Opened = Callable[..., S3Store]


@pytest.fixture
async def opened(rgw: Rgw) -> AsyncIterator[Opened]:
    """Opens stores, each on a bucket of its own unless told where, and closes them."""
    stores: list[S3Store] = []

    def open_store(
        path: str = "", *, pace: Pace | None = None, at: str = "", user: User | None = None, **options: Any
    ) -> S3Store:
        url = f"s3+{at or rgw.url}/{path or rgw.make_bucket()}"
        stores.append(S3Store(url, options, (user or rgw.user).secret, pace=pace))
        return stores[-1]

    yield open_store
    for store in stores:
        await store.close()
