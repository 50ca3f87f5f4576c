"""Which protocol a request for a resumable upload speaks: tus 1.0.0, or the IETF's draft of the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chipmunk.errors import OtherVersion
from chipmunk.uploads import Upload
from compressor import draft_headers, tus_headers
from compressor.tus_headers import Creation, Headers, Patch


class Dialect(Protocol):
    """How a protocol says what all of them mean."""

    def creation(self, headers: Mapping[str, str]) -> Creation: ...
    def patch(self, headers: Mapping[str, str]) -> Patch: ...
    def shown(self, upload: Upload, public_url: str) -> Headers: ...
    def progress(self, upload: Upload) -> Headers: ...


def spoken(headers: Mapping[str, str]) -> Dialect:
    """The request's protocol, or OtherVersion."""
    if headers.get("tus-resumable") == tus_headers.VERSION:
        return tus_headers
    if headers.get(draft_headers.INTEROP) in draft_headers.VERSIONS:
        return draft_headers
    raise OtherVersion()


def named(headers: Mapping[str, str]) -> Headers:
    """The version in which an answer is given: the request's, and tus to whoever speaks neither."""
    given = headers.get(draft_headers.INTEROP, "")
    if "tus-resumable" not in headers and given in draft_headers.VERSIONS:
        return {draft_headers.INTEROP: given}
    return {"tus-resumable": tus_headers.VERSION}
