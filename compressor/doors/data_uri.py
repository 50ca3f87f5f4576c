"""JSON with the file in it: `{"user", "flow", "filename", "data"}`, as base64 or a `data:` URI (RFC 2397).

In place of `data` it may name a `url`, from which the file is then fetched.
"""

from __future__ import annotations

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from chipmunk.config import Settings
from chipmunk.errors import BadRequest, TooLarge
from compressor.asking import Asking, Fields, of_pairs
from compressor.doors import Arrived
from compressor.inbox import ORIGINAL, Inbox, write_file

STRINGS = ("user", "filename", "data", "url")


async def take(settings: Settings, inbox: Inbox, asking: Asking, body: AsyncIterator[bytes], folder: Path) -> Arrived:
    del inbox  # such a body is small: it is never spooled
    return await asyncio.to_thread(_store, await gathered(settings, body), folder / ORIGINAL)


async def gathered(settings: Settings, body: AsyncIterator[bytes]) -> bytes:
    """All of it; TooLarge."""
    text = bytearray()
    async for chunk in body:
        text += chunk
        if len(text) > settings.max_json_bytes:
            raise TooLarge(limit_bytes=settings.max_json_bytes)
    return bytes(text)


def _store(text: bytes, target: Path) -> Arrived:
    fields, data, url = parse(text)
    if data is None:
        return Arrived(0, fields, url)
    write_file(target, data)
    return Arrived(len(data), fields)


def parse(text: bytes) -> tuple[Fields, bytes | None, str | None]:
    """Fields of such a body, and its file or where that is; or BadRequest."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON, or nested too deep.") from None
    if not isinstance(document, dict):
        raise BadRequest("The body is not a JSON object.")
    for name in STRINGS:
        if not isinstance(document.get(name, ""), str):
            raise BadRequest(f"The field {name} is not a string.")
    if ("data" in document) == ("url" in document):
        raise BadRequest("There is one of the fields data and url, no more and no less.")
    named = [(n, document[n]) for n in ("user", "filename") if n in document]
    fields = of_pairs([*named, *(("flow", f) for f in _flows(document))])
    return fields, decode(document["data"]) if "data" in document else None, document.get("url")


def _flows(document: dict[str, Any]) -> list[str]:
    flows = document.get("flow", [])
    flows = [flows] if isinstance(flows, str) else flows
    if not isinstance(flows, list) or not all(isinstance(f, str) for f in flows):
        raise BadRequest("The field flow is neither a string nor a list of strings.")
    return flows


def decode(data: str) -> bytes:
    """The bytes of strict base64 or of a `data:` URI, whose media type is not believed; else BadRequest."""
    if data[:5].lower() != "data:":
        return _base64(data)
    kind, comma, rest = data[5:].partition(",")
    if not comma:
        raise BadRequest("The data URI has no comma.")
    if kind.lower().endswith(";base64"):
        return _base64(rest if "%" not in rest else unquote_to_bytes(rest).decode("latin-1"))
    return unquote_to_bytes(rest)


def _base64(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadRequest("The data is not base64.") from None
