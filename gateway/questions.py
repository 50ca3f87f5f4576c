"""What nginx asks about a view, and what it is told."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from chipmunk.ids import folder
from chipmunk.links import Grant
from gateway.authorize import Outcome

LONGEST_NAME = 800
MIME = re.compile("[a-z]+/[A-Za-z0-9.+-]{1,100}")  # nothing else may get over the wire, or into its place
PLAIN = re.compile("[A-Za-z0-9._~-]{1,800}")  # what RFC 8187 leaves as it is
LINES = {status: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
Headers = list[tuple[bytes, bytes]]


class Asked(NamedTuple):
    """The signed id of a view, and what came with it: credentials, and the proof that its link was opened; or empty."""

    signed: str
    authorization: str
    cookie: str
    proof: str = ""


def asked(headers: Headers) -> Asked:
    """What a request of nginx asks."""
    signed = authorization = cookie = proof = ""
    for name, value in headers:
        if name == b"x-media-id":
            signed = value.decode("latin-1")
        elif name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"x-session":
            cookie = value.decode("latin-1")
        elif name == b"x-opening":
            proof = value.decode("latin-1")
    return Asked(signed, authorization, cookie, proof)


class Answer:
    """What nginx is told, as ASGI has it and as it goes over the wire."""

    __slots__ = ("headers", "status", "wire")

    def __init__(self, status: HTTPStatus, *headers: tuple[bytes, bytes]) -> None:
        self.status, self.headers = status.value, headers
        self.wire = b"".join([LINES[status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"])


KEPT, NOT_KEPT, EMPTY = (b"x-accel-expires", b"1"), (b"x-accel-expires", b"0"), (b"content-length", b"0")
REFUSED = {
    Outcome.UNAUTHORIZED: Answer(HTTPStatus.UNAUTHORIZED, NOT_KEPT, EMPTY),
    Outcome.NOT_FOUND: Answer(HTTPStatus.FORBIDDEN, NOT_KEPT, EMPTY),
}
UNAVAILABLE = Answer(HTTPStatus.SERVICE_UNAVAILABLE, NOT_KEPT, EMPTY)
ALIVE, NOTHING = Answer(HTTPStatus.OK, EMPTY), Answer(HTTPStatus.NOT_FOUND, EMPTY)


class Known:
    """A grant together with what nginx is told for it; of a link that has to be opened nginx keeps nothing."""

    __slots__ = ("answer", "grant")

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        kept = NOT_KEPT if grant.audience == "openers" else KEPT
        self.answer = Answer(HTTPStatus.NO_CONTENT, (b"x-media", said(grant)), kept)


def said(grant: Grant) -> bytes:
    """What nginx needs to know, parted by spaces: folder, state, whether the original may be had, type, name.

    An @ before the folder says that its files lie elsewhere.
    """
    mime = grant.mime if MIME.fullmatch(grant.mime) else "application/octet-stream"
    away = "" if grant.home is None else "@"
    said = f"{away}/{folder(grant.media_id)} {grant.state} {int(grant.original)} {mime} "
    return said.encode() + _extended(grant.filename)


def _extended(filename: str) -> bytes:
    """The file name as an RFC 8187 ext-value of at most 800 bytes, cut between two characters."""
    if PLAIN.fullmatch(filename):
        return filename.encode()
    while len(text := quote(filename, safe="")) > LONGEST_NAME:
        filename = filename[:-1]
    return text.encode()
