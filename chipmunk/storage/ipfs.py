"""A store on an IPFS node. It is addressed by content: `put` is told a name and returns the CID, by which all else goes.

Objects that are equal are one content on the node, so `Pins` keeps which names a CID is pinned for: it is unpinned with the
last. Unpinned content stays readable until the node collects its garbage, so what is private comes here encrypted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from chipmunk.storage import BadKey, Missing, Stat, StoreUnavailable, check_key
from chipmunk.storage.cid import is_cid, measured
from chipmunk.storage.kubo import Kubo, Pace
from chipmunk.storage.pins import Pins

SIZES_KEPT, BELIEVED_SECONDS = 10_000, 60.0
PROBE, PROBE_CID = b"chipmunk\n", "bafkreif7hui3egaq7kr5ndrgzbmu62ehoeflnwtouz7twua3qrekep7jfq"


class IpfsStore:
    """A Store on the node at `url`, `ipfs+http://host:5001`; `secret` may have a `token`. The node should be ours alone."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        secret: Mapping[str, str],
        pins: Pins,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._node = Kubo(url, secret.get("token", ""), pace)
        self._pins = pins
        self._sizes: dict[str, tuple[int, float]] = {}

    async def put(self, key: str, source: Path) -> str:
        """Keeps the file and returns its CID, which is computed here: a node that has other bytes than ours is told."""
        name = check_key(key)
        cid, size = await asyncio.to_thread(measured, source)
        is_new = await self._pins.taken(cid, name, size)
        try:
            if await self._node.add(source, size) != cid:
                raise StoreUnavailable("The IPFS node made another CID of the file than it has.")
            await _to_its_end(self._node.pin(cid, size))
        except BaseException:
            if is_new:
                await asyncio.shield(self._give_up(cid, name))
            raise
        return cid

    async def _give_up(self, cid: str, name: str) -> None:
        try:
            await self.unpin(cid, name)
        except StoreUnavailable:
            return  # the scrub finds the name without its media

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        cid = _cid(key)
        if cid is None or (size := await self._size(cid)) is None:
            raise Missing()
        until = size if end is None else min(end, size)
        if start >= until:
            return
        async for piece in self._node.cat(cid, start, until - start):
            yield piece

    async def _size(self, cid: str) -> int | None:
        """As `Kubo.size`, which is believed for a while."""
        size, since = self._sizes.get(cid, (0, float("-inf")))
        if monotonic() - since < BELIEVED_SECONDS:
            return size
        found = await self._node.size(cid)
        self._sizes.pop(cid, None)
        if found is not None:
            self._sizes[cid] = found, monotonic()
            if len(self._sizes) > SIZES_KEPT:
                del self._sizes[next(iter(self._sizes))]
        return found

    async def stat(self, key: str) -> Stat | None:
        """Of what we keep and the node has pinned."""
        cid = _cid(key)
        if cid is None:
            return None
        since = [pin.since for pin in await self._pins.of(cid)]
        size = await self._node.size(cid) if since else None
        return None if size is None else Stat(size, min(since))

    async def delete(self, key: str) -> None:
        """Gives up a CID under all its names, or a name, or with a `/` at the end all names below it."""
        if is_cid(key):
            gone = await self._pins.of(key)
        else:
            check_key(key, folder=True)
            gone = [pin async for pin in self._pins.below(key) if key.endswith("/") or pin.name == key]
        for pin in gone:
            await self.unpin(pin.cid, pin.name)

    async def unpin(self, key: str, name: str) -> None:
        """Gives up the object of this name; the content is unpinned if it was the last."""
        if not is_cid(key):
            raise BadKey("not a CID")
        async with self._pins.released(key, name) as is_last:
            if is_last:
                self._sizes.pop(key, None)
                await self._node.unpin(key)

    async def named(self, prefix: str = "") -> AsyncIterator[tuple[str, Stat]]:
        """The names that content is kept under."""
        async for pin in self._pins.below(prefix):
            yield pin.name, Stat(pin.bytes, pin.since)

    async def check(self) -> None:
        """Whether the node answers, takes the credential, and lays files out as we do."""
        if await self._node.add(PROBE, len(PROBE), only_hash=True) != PROBE_CID:
            raise StoreUnavailable("The IPFS node lays files out otherwise than it is asked to.")

    async def close(self) -> None:
        await self._node.close()


async def _to_its_end(call: Coroutine[Any, Any, None]) -> None:
    """Also where it is given up meanwhile: who gives it up may then undo it."""
    task = asyncio.ensure_future(call)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _cid(key: str) -> str | None:
    """The key if it is a CID, None if it is but a name, else BadKey."""
    return key if is_cid(key) else (check_key(key), None)[1]
