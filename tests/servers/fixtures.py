"""Servers from outside, for every test that names them: real ones, started once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.harness import scratch
from tests.servers import ceph


@pytest.fixture(scope="session")
def rgw() -> Iterator[ceph.Rgw]:
    """S3: a Ceph Object Gateway. A test makes a bucket of its own."""
    if (missing := ceph.missing()) and os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install radosgw ceph-mon ceph-osd ceph-common")
    with scratch() as folder, ceph.Rgw(folder) as gateway:
        yield gateway
