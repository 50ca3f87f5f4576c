"""What requests by the IETF's draft of resumable uploads say in their headers, and what answers say. Pure.

https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/, in the two versions that clients ship: 03 and 05. Of
its interim answers (104) there are none: no proxy on the way passes them on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from chipmunk.errors import BadRequest, Unsupported
from chipmunk.uploads import Upload
from compressor import filenames, tus_headers
from compressor.asking import Fields
from compressor.tus_headers import Body, Creation, Headers, Patch

INTEROP = "upload-draft-interop-version"
ANY_TYPE, TYPED = "5", "6"  # what draft 03 and draft 05 call themselves
VERSIONS = (ANY_TYPE, TYPED)
CONTENT = "application/partial-upload"
COMPLETE = {"?1": True, "?0": False}


def creation(headers: Mapping[str, str]) -> Creation:
    """What a POST asks for, or BadRequest. Its Content-Type is the file's own, and counts for nothing here."""
    body = _body(headers)
    deferred = body.length == 0 and not body.last
    metadata = headers.get("upload-metadata", "").strip()
    _, filename = filenames.disposition(headers.get("content-disposition", "").encode("latin-1"))
    said = tus_headers.fields(metadata)
    fields = Fields(said.user, said.flows, said.filename or filename)
    return Creation(_length(headers, 0, body), None, (), metadata, fields, None if deferred else body)


def patch(headers: Mapping[str, str]) -> Patch:
    """What a PATCH brings, or BadRequest; Unsupported where draft 05 wants its content said to be bytes of an upload."""
    if headers[INTEROP] == TYPED and tus_headers.kind(headers) != CONTENT:
        raise Unsupported(f"A PATCH has the Content-Type {CONTENT}.")
    offset = tus_headers.number(headers, "upload-offset")
    if offset is None:
        raise BadRequest("A PATCH has an Upload-Offset.")
    body = _body(headers)
    return Patch(offset, _length(headers, offset, body), body)


def options(most_bytes: int) -> Headers:
    """What there is."""
    return {"upload-limit": f"max-size={most_bytes}"}


def shown(upload: Upload, _: str) -> Headers:
    """What a HEAD tells of an upload."""
    return progress(upload) if upload.length is None else {**progress(upload), "upload-length": str(upload.length)}


def progress(upload: Upload) -> Headers:
    """How far an upload is, for how many seconds more it lasts, and what it has become."""
    left = max(0, int((upload.expires_at - datetime.now(UTC)).total_seconds()))
    found = {
        "upload-offset": str(upload.offset),
        "upload-complete": "?1" if upload.media_id is not None else "?0",
        "upload-limit": f"max-age={left}",
    }
    return found if upload.media_id is None else {**found, tus_headers.MEDIA: upload.media_id.hex}


def _body(headers: Mapping[str, str]) -> Body:
    last = COMPLETE.get(headers.get("upload-complete", "").strip())
    if last is None:
        raise BadRequest("Upload-Complete is ?1 where the upload ends with this request, else ?0.")
    if "upload-concat" in headers:
        raise BadRequest("Parts of files are put together by tus 1.0.0 alone.")
    length = tus_headers.number(headers, "content-length")
    if length is None and "transfer-encoding" not in headers:
        length = 0
    return Body(length, tus_headers.checksum(headers), last)


def _length(headers: Mapping[str, str], offset: int, body: Body) -> int | None:
    """The whole upload's, as far as the request lets know it."""
    said = tus_headers.number(headers, "upload-length")
    ends = offset + body.length if body.last and body.length is not None else None
    if None not in (said, ends) and said != ends:
        raise BadRequest("The upload ends with this request, and not where its Upload-Length says.")
    return ends if said is None else said
