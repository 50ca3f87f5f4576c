"""JSON bodies: small, strict, and in the shape that an operation takes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from chipmunk.errors import BadRequest, TooLarge, Unprocessable, Unsupported

LARGEST = 64 * 1024
LONGEST_FIELD = 64
MOST_FORM_FIELDS = 64
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
Model = TypeVar("Model", bound=BaseModel)


async def read(
    chunks: AsyncIterator[bytes], headers: Mapping[str, str], shape: type[Model], most: int = LARGEST
) -> Model:
    """The body, of so many bytes at most, in this shape; none at all is an empty object."""
    data = await _read(chunks, headers.get("content-length", "0"), most)
    if data:
        _need(JSON, headers)
    return shaped(parse(data) if data else {}, shape)


async def form(chunks: AsyncIterator[bytes], headers: Mapping[str, str], shape: type[Model]) -> Model:
    """The body of a form without files in this shape; a field that was left empty is not there."""
    _need(FORM, headers)
    data = await _read(chunks, headers.get("content-length", "0"), LARGEST)
    try:
        pairs = parse_qsl(data.decode("ascii"), max_num_fields=MOST_FORM_FIELDS, errors="strict")
        return shaped(_once(pairs), shape)
    except ValueError:
        raise BadRequest("The form is malformed, or names a field twice.") from None


def parse(data: bytes) -> Any:
    """The value of a JSON text (RFC 8259) in UTF-8 whose objects name each member once; else BadRequest."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON, or names a member twice, or nests too deeply.") from None


def shaped(value: Any, shape: type[Model]) -> Model:
    """The value as this shape; else Unprocessable, which names the first field that is not as it must be."""
    try:
        return shape.model_validate(value)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(step) for step in first["loc"])[:LONGEST_FIELD]
        raise Unprocessable(f"{first['msg']}.", field=field) from None


def is_form(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().partition(";")[0].strip() == FORM


def _need(wanted: str, headers: Mapping[str, str]) -> None:
    kind, _, parameter = headers.get("content-type", "").lower().partition(";")
    charset = parameter.replace(" ", "").replace('"', "")
    if kind.strip() != wanted or charset not in ("", "charset=utf-8"):
        raise Unsupported(f"This call takes {wanted} in UTF-8.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Unsupported("This call takes no compressed bodies.")


async def _read(chunks: AsyncIterator[bytes], length: str, most: int) -> bytes:
    if length.isdecimal() and int(length[:10]) > most:
        raise TooLarge(limit_bytes=most)
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            raise TooLarge(limit_bytes=most)
    return bytes(data)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
