"""Which store a backend's URL stands for. What a store needs is imported when the first one is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chipmunk.errors import BadBackend
from chipmunk.storage import Store
from chipmunk.storage.local import LocalStore

if TYPE_CHECKING:
    from chipmunk.storage.pins import Pins


def open_store(url: str, options: Mapping[str, Any], secret: Mapping[str, str], local: LocalStore, pins: Pins) -> Store:
    """The store at this URL, or BadBackend."""
    scheme = url.partition(":")[0]
    match scheme:
        case "local":
            return local
        case "s3+https" | "s3+http":
            from chipmunk.storage.s3 import S3Store

            return S3Store(url, options, secret)
        case "ipfs+https" | "ipfs+http":
            from chipmunk.storage.ipfs import IpfsStore

            return IpfsStore(url, options, secret, pins)
    raise BadBackend("The URL of a backend begins with s3+https:, s3+http:, ipfs+https:, ipfs+http: or local:.")
