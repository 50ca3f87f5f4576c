"""Content identifiers of files as IPFS lays them out: CIDv1 of UnixFS with raw leaves, chunks of 262,144 bytes, SHA-256,
balanced with at most 174 links a node. It is what `ipfs add --cid-version=1 --chunker=size-262144 --raw-leaves` makes, so
that what a node says that it holds can be held against the file.

Formats: https://ipld.io/specs/codecs/dag-pb/spec/ and https://specs.ipfs.tech/unixfs/
"""

from __future__ import annotations

import hashlib
from base64 import b32decode, b32encode
from dataclasses import dataclass
from pathlib import Path

CHUNK = 262_144
LINKS = 174
RAW, DAG_PB = b"\x01\x55\x12\x20", b"\x01\x70\x12\x20"  # CIDv1, codec, SHA-256, 32 bytes


@dataclass(frozen=True, slots=True)
class Node:
    """`size` is that of the file's part below it, `total` that of all its blocks."""

    cid: bytes
    size: int
    total: int


def measured(path: Path) -> tuple[str, int]:
    """The file's CID, in base32, and its bytes."""
    level: list[Node] = []
    with path.open("rb") as file:
        while (chunk := file.read(CHUNK)) or not level:
            level.append(Node(RAW + hashlib.sha256(chunk).digest(), len(chunk), len(chunk)))
    while len(level) > 1:
        level = [_parent(level[at : at + LINKS]) for at in range(0, len(level), LINKS)]
    return text(level[0].cid), level[0].size


def text(cid: bytes) -> str:
    return "b" + b32encode(cid).decode().lower().rstrip("=")


def is_cid(key: str) -> bool:
    """Whether it is a CID of such a file, in its one spelling."""
    if len(key) != 59 or not key.startswith("b") or not key.isascii():
        return False
    try:
        raw = b32decode(key[1:].upper() + "======")
    except ValueError:
        return False
    return raw[:4] in (RAW, DAG_PB) and text(raw) == key


def _parent(children: list[Node]) -> Node:
    size = sum(child.size for child in children)
    links = b"".join(
        _field(2, _field(1, child.cid) + _field(2, b"") + b"\x18" + _varint(child.total)) for child in children
    )
    file = b"\x08\x02\x18" + _varint(size) + b"".join(b"\x20" + _varint(child.size) for child in children)
    block = links + _field(1, file)
    return Node(DAG_PB + hashlib.sha256(block).digest(), size, len(block) + sum(child.total for child in children))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
