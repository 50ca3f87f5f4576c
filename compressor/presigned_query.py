"""What the queries of presigned uploads say, by the names that they have in the images library. Pure: text in, values out."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from chipmunk import ids
from chipmunk.errors import BadRequest, Mismatch, Unsupported
from compressor import filenames, sniff
from compressor.asking import MOST_FLOWS, MOST_QUERY_FIELDS, Fields

FORMAT = re.compile(r"[A-Za-z0-9]{1,10}")
SIZE = re.compile(r"[0-9]{1,18}")
LONGEST_CLIENT = 64
PART_BYTES = 16 * 1024 * 1024  # of one in parts, the least
MOST_PARTS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """`size` None: not said. `mime` is what the format's name stands for; the content decides."""

    format: str
    fields: Fields
    size: int | None
    method: str
    in_parts: bool

    def mime(self, further: Sequence[str]) -> str:
        """Unsupported where it is no format that is taken."""
        return mime_of(self.format, further)


def mime_of(extension: str, further: Sequence[str]) -> str:
    kind = sniff.named(extension)
    if kind is not None:
        return kind.mime
    other = mimetypes.guess_type(f"x.{extension}")[0] or "application/octet-stream"
    if not sniff.is_among(other, further):
        raise Unsupported("This is not a format that the service takes.", format=extension)
    return other


def wanted(query: str) -> Wanted:
    given = _given(query, {"imgf", "imgn", "f", "ct", "user", "size", "method", "parts"})
    if not FORMAT.fullmatch(given.get("imgf", "")):
        raise BadRequest("The query names a format: imgf=jpeg.")
    if len(given.get("ct", "")) > LONGEST_CLIENT:
        raise BadRequest(f"The client type ct has {LONGEST_CLIENT} characters at most.")
    size, method, parts = given.get("size"), given.get("method", "put").lower(), given.get("parts", "0")
    if size is not None and not SIZE.fullmatch(size):
        raise BadRequest("The size is a number of bytes.")
    if method not in ("put", "post") or parts not in ("0", "1"):
        raise BadRequest("The method is put or post, and parts is 0 or 1.")
    if parts == "1" and (size is None or method == "post"):
        raise BadRequest("An upload in parts says its size, and is sent by PUT.")
    user = given.get("user")
    fields = Fields(
        None if user is None else ids.name(user, "user"), flows_of(given.get("f")), filenames.clean(given.get("imgn"))
    )
    return Wanted(given["imgf"].lower(), fields, None if size is None else int(size), method, parts == "1")


def completed(query: str) -> tuple[str, tuple[str, ...]]:
    """The upload, and the flows where they are named."""
    given = _given(query, {"imgid", "f"})
    return given.get("imgid", ""), flows_of(given.get("f"))


def agree(named: Collection[str], flows: Collection[str]) -> None:
    """Mismatch where other flows are named than those that it was begun for."""
    if named and set(named) != set(flows):
        raise Mismatch("The upload was begun for other flows.")


def flows_of(text: str | None) -> tuple[str, ...]:
    """Names between commas, each once."""
    names = tuple(dict.fromkeys(ids.name(name.strip(), "flow") for name in (text or "").split(",") if name.strip()))
    if len(names) > MOST_FLOWS:
        raise BadRequest(f"An upload goes to {MOST_FLOWS} flows at most.")
    return names


def part_bytes(size: int) -> int:
    """How long each part but the last is."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


def _given(query: str, names: Collection[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS, errors="strict")
    except ValueError:
        raise BadRequest("The query is malformed.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in names and name in found:
            raise BadRequest(f"The field {name} is there twice.")
        if name in names:
            found[name] = value
    return found
