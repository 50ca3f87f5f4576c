"""What tus 1.0.0 requests say in their headers, and what answers say. Pure: text in, values out.

https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import urlsplit
from uuid import UUID

from chipmunk import ids
from chipmunk.errors import BadRequest, Mismatch, NotFound, Unsupported
from chipmunk.uploads import Concat, Upload
from compressor.asking import Fields, of_pairs

VERSION = "1.0.0"
EXTENSIONS = (
    "creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination",
    "concatenation",
)  # fmt: skip
ALGORITHMS = ("sha1", "sha256")
CONTENT = "application/offset+octet-stream"
PATH = "/v1/uploads/"
MEDIA = "chipmunk-media"
OVERRIDABLE = frozenset({"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"})
MOST_PARTS = 1000
NUMBER = re.compile(r"[0-9]{1,18}")
NAME = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,255}")  # printable ASCII but space and comma

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes that come with a request; `length` None where it is not said. With the `last` the upload ends."""

    length: int | None
    checksum: Checksum | None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Creation:
    """An upload to be made. `length` None: it is said later. Of a `final` one `parts` are the uploads that make it up."""

    length: int | None
    concat: Concat | None
    parts: tuple[UUID, ...]
    metadata: str
    fields: Fields
    body: Body | None


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes for an upload from `offset` on. `length` is there where the request declares the whole upload's."""

    offset: int
    length: int | None
    body: Body


def options(most_bytes: int) -> Headers:
    """What there is."""
    return {
        "tus-version": VERSION,
        "tus-extension": ",".join(EXTENSIONS),
        "tus-max-size": str(most_bytes),
        "tus-checksum-algorithm": ",".join(ALGORITHMS),
    }


def creation(headers: Mapping[str, str]) -> Creation:
    """What a POST asks for, or BadRequest."""
    concat, parts = _concat(headers.get("upload-concat"))
    length = number(headers, "upload-length")
    deferred = headers.get("upload-defer-length")
    if deferred not in (None, "1"):
        raise BadRequest("Upload-Defer-Length is 1 or is not there.")
    if concat == "final":
        if length is not None or deferred:
            raise BadRequest("A final upload is as long as its parts: no Upload-Length.")
    elif (length is None) == (deferred is None):
        raise BadRequest("An upload has either an Upload-Length or Upload-Defer-Length: 1.")
    metadata = headers.get("upload-metadata", "").strip()
    body = _body(headers) if _has_body(headers) else None
    if body is not None and concat == "final":
        raise BadRequest("A final upload has no bytes but those of its parts.")
    return Creation(length, concat, parts, metadata, fields(metadata), body)


def patch(headers: Mapping[str, str]) -> Patch:
    """What a PATCH brings, or BadRequest; Unsupported where its content is not said to be bytes of an upload."""
    if kind(headers) != CONTENT:
        raise Unsupported(f"A PATCH has the Content-Type {CONTENT}.")
    offset = number(headers, "upload-offset")
    if offset is None:
        raise BadRequest("A PATCH has an Upload-Offset.")
    return Patch(offset, number(headers, "upload-length"), _body(headers))


def method(given: str, headers: Mapping[str, str]) -> str:
    """The method that counts: some clients and proxies only know GET and POST."""
    other = headers.get("x-http-method-override", "").strip().upper()
    return other if given == "POST" and other in OVERRIDABLE else given


def fields(metadata: str) -> Fields:
    """`user`, `flow` (several by commas) and `filename` of an Upload-Metadata; what else is there is only kept."""
    pairs: list[tuple[str, str]] = []
    for name, value in _metadata(metadata).items():
        if name == "flow":
            pairs += [("flow", flow.strip()) for flow in value.split(",")]
        elif name in ("user", "filename"):
            pairs.append((name, value))
    return of_pairs(pairs)


def location(upload: UUID, public_url: str) -> str:
    """Where an upload is: absolute where settings say how we are reached, else a path, which all clients resolve."""
    return f"{public_url}{PATH}{upload.hex}"


def shown(upload: Upload, public_url: str) -> Headers:
    """What a HEAD tells of an upload."""
    found = progress(upload)
    if upload.length is None:
        found["upload-defer-length"] = "1"
    else:
        found["upload-length"] = str(upload.length)
    if upload.metadata:
        found["upload-metadata"] = upload.metadata
    if upload.concat == "partial":
        found["upload-concat"] = "partial"
    elif upload.concat == "final":
        found["upload-concat"] = "final;" + " ".join(location(part, public_url) for part in upload.parts)
    return found


def progress(upload: Upload) -> Headers:
    """How far an upload is, until when it lasts, and what it has become."""
    found = {"upload-offset": str(upload.offset), "upload-expires": http_date(upload.expires_at)}
    if upload.media_id is not None:
        found[MEDIA] = upload.media_id.hex
    return found


def http_date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def hashing(checksum: Checksum) -> hashlib._Hash:
    return hashlib.new(checksum.algorithm, usedforsecurity=False)


def number(headers: Mapping[str, str], name: str) -> int | None:
    given = headers.get(name)
    if given is None:
        return None
    if not NUMBER.fullmatch(given):
        raise BadRequest(f"{name.title()} is not a number of bytes.")
    return int(given)


def kind(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _has_body(headers: Mapping[str, str]) -> bool:
    """Whether a creation brings bytes (creation-with-upload): its type says so. Any other body is an error."""
    if kind(headers) == CONTENT:
        return True
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Unsupported(f"Bytes that come with the creation have the Content-Type {CONTENT}.")
    return False


def _body(headers: Mapping[str, str]) -> Body:
    return Body(number(headers, "content-length"), checksum(headers))


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadRequest(f"Upload-Checksum is by one of {', '.join(ALGORITHMS)}.")
    digest = _base64(encoded, "Upload-Checksum")
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise BadRequest("Upload-Checksum is not as long as such a checksum is.")
    return Checksum(algorithm, digest)


def _metadata(text: str) -> dict[str, str]:
    """Names and values, decoded; values that are no UTF-8 are looked at no further."""
    found: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        name, _, encoded = pair.strip().partition(" ")
        if not NAME.fullmatch(name):
            raise BadRequest("Upload-Metadata has pairs of a name and a value in base64, with commas between them.")
        if name in found:
            raise BadRequest("Upload-Metadata has a name twice.", name=name)
        value = _base64(encoded.strip(), "Upload-Metadata")
        try:
            found[name] = value.decode()
        except UnicodeDecodeError:
            if name in ("user", "flow", "filename"):
                raise BadRequest(f"The {name} of Upload-Metadata is not UTF-8.") from None
            found[name] = ""
    return found


def _base64(text: str, where: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadRequest(f"{where} has a value that is not base64.") from None


def _concat(text: str | None) -> tuple[Concat | None, tuple[UUID, ...]]:
    if text is None:
        return None, ()
    kind, semicolon, urls = text.strip().partition(";")
    if kind == "partial" and not semicolon:
        return "partial", ()
    if kind != "final" or not urls.split():
        raise BadRequest("Upload-Concat is `partial`, or `final;` and the addresses of the parts.")
    parts = tuple(part_of(url) for url in urls.split())
    if len(parts) > MOST_PARTS:
        raise BadRequest(f"A final upload has {MOST_PARTS} parts at most.")
    if len(set(parts)) < len(parts):
        raise Mismatch("A final upload has no part twice.")
    return "final", parts


def part_of(url: str) -> UUID:
    """The upload that an absolute or relative address means; NotFound where it is none of ours."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    before, found, name = path.rpartition(PATH)
    identifier = ids.parse_id(name)
    if identifier is None or (before and not found):
        raise NotFound("There is no such upload.")
    return identifier
