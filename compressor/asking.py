"""What a request for an upload says of itself, before its body: the same for a pre-check and for a door. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qsl
from uuid import UUID

from chipmunk import ids
from chipmunk.asgi import cookie
from chipmunk.credentials import Presented, presented
from chipmunk.errors import BadRequest, Mismatch

COOKIE = "chipmunk_session"
MOST_FLOWS = 32
MOST_QUERY_FIELDS = 64
LONGEST_WAIT = 60
KEY = re.compile(r"[\x20-\x7e]{1,255}")
LENGTH = re.compile(r"[0-9]{1,18}")
WAIT = re.compile(r"wait(?:=([0-9]{1,4}))?", re.IGNORECASE)

Door = Literal["raw", "multipart", "json"]


@dataclass(frozen=True, slots=True)
class Fields:
    """Whose the file is, where it goes and what it is called, as far as said."""

    user: str | None = None
    flows: tuple[str, ...] = ()
    filename: str | None = None

    def joined(self, body: Fields) -> Fields:
        """These, from the query, with those of the body; Mismatch where both name a user or flows and disagree."""
        if None not in (self.user, body.user) and self.user != body.user:
            raise Mismatch("The query and the body name different users.")
        if self.flows and body.flows and set(self.flows) != set(body.flows):
            raise Mismatch("The query and the body name different flows.")
        return Fields(self.user or body.user, self.flows or body.flows, self.filename or body.filename)


@dataclass(frozen=True, slots=True)
class Asking:
    """A request for an upload. `length` is the body's, None where it is not said.

    `ticket`, `spool` and `counted`, whether a pre-check has counted it, are nginx's.
    """

    method: str
    door: Door
    content_type: str
    disposition: bytes
    length: int | None
    fields: Fields
    given: Presented
    origin: str | None
    fetch_site: str | None
    key: str | None
    wait: int | None
    ticket: UUID | None = None
    spool: str | None = None
    counted: bool = False

    def with_body(self, fields: Fields) -> Asking:
        return replace(self, fields=self.fields.joined(fields))


def of_precheck(headers: Mapping[str, str]) -> Asking:
    """What nginx asks about before it reads the body."""
    uri = headers.get("x-original-uri", "")
    original = {
        **headers,
        "content-length": headers.get("x-original-length", ""),
        "content-type": headers.get("x-original-type", ""),
    }
    session = headers.get("x-session") or None
    return _asking(original, headers.get("x-original-method", ""), uri.partition("?")[2], session)


def credential(headers: Mapping[str, str]) -> Presented:
    """The credential of a request that comes with its own cookie."""
    return presented(headers.get("authorization"), cookie(dict(headers), COOKIE))


def of_upload(headers: Mapping[str, str], method: str, query: str) -> Asking:
    """What comes to a door, by way of nginx or not."""
    asking = _asking(headers, method, query, cookie(dict(headers), COOKIE))
    ticket, spool = headers.get("x-ticket") or "", headers.get("x-spool") or None
    return replace(asking, ticket=ids.parse_id(ticket), spool=spool, counted=bool(headers.get("x-counted")))


def _asking(headers: Mapping[str, str], method: str, query: str, session: str | None) -> Asking:
    content_type = headers.get("content-type", "")
    length = headers.get("content-length", "")
    key = headers.get("idempotency-key")
    if key is not None and key != "" and not KEY.fullmatch(key):
        raise BadRequest("An Idempotency-Key has up to 255 printable ASCII characters.")
    if length and not LENGTH.fullmatch(length):
        raise BadRequest("The Content-Length is not a number.")
    return Asking(
        method=method,
        door=door(method, content_type),
        content_type=content_type,
        disposition=headers.get("content-disposition", "").encode("latin-1"),
        length=int(length) if length else None,
        fields=of_query(query),
        given=presented(headers.get("authorization"), session),
        origin=headers.get("origin") or None,
        fetch_site=headers.get("sec-fetch-site") or None,
        key=key or None,
        wait=_wait(headers.get("prefer", "")),
    )


def door(method: str, content_type: str) -> Door:
    """By which door such a request comes in."""
    kind = content_type.partition(";")[0].strip().lower()
    if method != "POST":
        return "raw"
    if kind == "multipart/form-data":
        return "multipart"
    return "json" if kind == "application/json" else "raw"


def of_query(query: str) -> Fields:
    """The fields of a query string; BadRequest where one is there twice that must not be."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS, errors="strict")
    except ValueError:
        raise BadRequest("The query is malformed.") from None
    return of_pairs(pairs)


def of_pairs(pairs: list[tuple[str, str]]) -> Fields:
    """`user`, `flow` (repeatable) and `filename` out of names and values; others mean nothing here."""
    single: dict[str, str] = {}
    flows: dict[str, None] = {}
    for name, value in pairs:
        if name == "flow":
            flows[ids.name(value, "flow")] = None
        elif name in ("user", "filename"):
            if name in single:
                raise BadRequest(f"The field {name} is there twice.")
            single[name] = value
    if len(flows) > MOST_FLOWS:
        raise BadRequest(f"An upload goes to {MOST_FLOWS} flows at most.")
    user = single.get("user")
    return Fields(None if user is None else ids.name(user, "user"), tuple(flows), single.get("filename") or None)


def _wait(prefer: str) -> int | None:
    """The seconds that `Prefer: wait` asks for, a minute at most; None where it does not."""
    for preference in prefer.split(","):
        found = WAIT.fullmatch(preference.partition(";")[0].strip())
        if found:
            return min(int(found[1] or LONGEST_WAIT), LONGEST_WAIT)
    return None
