"""The store behind a bad network in front of a real node, and before servers that are no such node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chipmunk.storage import Damaged, StoreUnavailable
from chipmunk.storage.cid import measured
from chipmunk.storage.ipfs import PROBE_CID, IpfsStore
from chipmunk.storage.kubo import Pace
from chipmunk.storage.linter import read
from chipmunk.storage.linter_remote import lint_remote
from chipmunk.storage.pins import MemoryPins
from tests.servers.faults import Proxy
from tests.servers.ipfs import Ipfs

QUICK = Pace(connect=1, call=2, idle=1.5, local=0.5, tries=4, first_pause=0.02, least_rate=4_000_000)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serving = Callable[[Answer], Awaitable[IpfsStore]]


async def test_it_keeps_the_contract_on_bad_days(ipfs: Ipfs, tmp_path: Path) -> None:
    async with Proxy(f"http://127.0.0.1:{ipfs.port}") as proxy:
        store = IpfsStore(f"ipfs+{proxy.url}", {}, {"token": "s3cret"}, MemoryPins(), pace=QUICK)
        try:
            assert await lint_remote(store, tmp_path, proxy, seconds=20, secrets=["s3cret", proxy.url]) == []
        finally:
            await store.close()


async def test_bytes_that_were_changed_on_their_way_are_noticed(ipfs: Ipfs, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a" * 500_000)
    async with Proxy(f"http://127.0.0.1:{ipfs.port}") as proxy:
        store = IpfsStore(f"ipfs+{proxy.url}", {}, {}, MemoryPins(), pace=QUICK)
        await proxy.damage(400_000, on=b"/add")
        with pytest.raises(StoreUnavailable, match="another CID"):
            await store.put("ab/cd/x/0", tmp_path / "f")
        assert [pin async for pin in store.named()] == []
        await proxy.heal()
        assert await store.put("ab/cd/x/0", tmp_path / "f") == measured(tmp_path / "f")[0]
        await store.delete("ab/cd/x/")
        await store.close()


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Stores before a server that answers as it is told to."""
    servers, stores = [], []

    async def start(answer: Answer, token: str = "") -> IpfsStore:
        app = web.Application()
        app.router.add_route("*", "/{call:.*}", answer)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        url = f"ipfs+http://127.0.0.1:{servers[-1].port}/below/"
        stores.append(IpfsStore(url, {}, {"token": token} if token else {}, MemoryPins(), pace=QUICK))
        return stores[-1]

    yield start
    for store in stores:
        await store.close()
    for server in servers:
        await server.close()


def said(message: str) -> web.Response:
    """As Kubo says what went wrong."""
    return web.json_response({"Message": message, "Code": 0, "Type": "error"}, status=500)


@pytest.mark.parametrize(
    ("token", "header"),
    [("", None), ("abc.def", "Bearer abc.def"), ("ann:s3cret", "Basic YW5uOnMzY3JldA==")],
)
async def test_the_credential_is_shown_as_the_node_wants_it(token: str, header: str | None, serving: Serving) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers.get("Authorization")))
        return web.json_response({"Hash": PROBE_CID})

    await (await serving(answer, token)).check()  # type: ignore[call-arg]
    assert seen == [("POST", "/below/api/v0/add", header)]


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, "no", "does not take the credential"),
        (403, "no", "does not take the credential"),
        (404, "404 page not found", "no IPFS node"),
        (302, "", "no IPFS node"),
        (200, "<html>hello</html>", "no IPFS node"),
        (200, json.dumps({"Hash": "bafkreia"}), "lays files out otherwise"),
        (200, "[]", "no IPFS node"),
        (200, "{}", "lays files out otherwise"),
        (500, "oops", "fails"),
        (503, "", "too much to do"),
    ],
)
async def test_what_is_no_such_node_is_told_in_a_sentence(
    status: int, body: str, sentence: str, serving: Serving
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Location": "http://127.0.0.1:1/"})

    with pytest.raises(StoreUnavailable, match=sentence):
        await (await serving(answer)).check()


def kubo(cat: Answer) -> Answer:
    """A node that says that it has ten bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path.rpartition("/v0/")[2]:
            case "pin/ls":
                return web.json_response({"Keys": {PROBE_CID: {"Type": "recursive"}}})
            case "files/stat":
                return web.json_response({"Size": 10, "Hash": PROBE_CID})
        return await cat(request)

    return answer


@pytest.mark.parametrize(
    ("message", "raised"),
    [
        ("block was not found locally (offline): ipld: could not find bafk", Damaged),
        ("request timed out", StoreUnavailable),
        ("lock /data/ipfs/repo.lock: someone else has the lock", StoreUnavailable),
    ],
)
async def test_a_block_that_is_lost_is_damage_and_one_that_is_late_is_not(
    message: str, raised: type[Exception], serving: Serving
) -> None:
    async def cat(request: web.Request) -> web.Response:
        assert request.query["offline"] == "true"
        return said(message)

    with pytest.raises(raised) as told:
        await read(await serving(kubo(cat)), PROBE_CID)
    assert "/data" not in str(told.value)


async def test_a_read_goes_on_where_it_was_cut_and_takes_no_more_than_it_asked_for(serving: Serving) -> None:
    asked = []

    async def cat(request: web.Request) -> web.Response:
        start, length = int(request.query["offset"]), int(request.query["length"])
        asked.append((start, length))
        return web.Response(body=b"0123456789"[start : start + min(length, 4)])

    assert await read(await serving(kubo(cat)), PROBE_CID, 1) == b"123456789"
    assert asked == [(1, 9), (5, 5), (9, 1)]

    async def gushing(request: web.Request) -> web.Response:
        return web.Response(body=b"0123456789" * 10)

    with pytest.raises(StoreUnavailable, match="more bytes"):
        await read(await serving(kubo(gushing)), PROBE_CID, 0, 5)


async def test_what_is_not_pinned_and_what_the_node_will_not_unpin_are_told_apart(serving: Serving) -> None:
    messages = ["not pinned or pinned indirectly", "cannot write"]

    async def answer(request: web.Request) -> web.Response:
        return said(messages.pop(0))

    store = await serving(answer)
    await store.unpin(PROBE_CID, "a/b")
    with pytest.raises(StoreUnavailable, match="refused"):
        await store.unpin(PROBE_CID, "a/b")
