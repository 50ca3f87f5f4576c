"""Provenance: what an original says of its own making (C2PA), and renditions that say what they were made from.

Manifests are found by the label of their JUMBF box (https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html,
A.3), so that what has none costs a look at its first bytes. What is read is bounded, and nothing is fetched from anywhere.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from compressor.ladder import RungFile

LABEL = b"c2pa"
LOOKED_AT = 64 * 1024 * 1024
LONGEST, MOST = 200, 20
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_timestamp_trust": False}}
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
    ' xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#"><xmpMM:DerivedFrom rdf:parseType="Resource">'
    "<stRef:documentID>{document}</stRef:documentID>"
    "</xmpMM:DerivedFrom></rdf:Description></rdf:RDF></x:xmpmeta>"
)
EXTENDED, XMP_FLAG, ALPHA_FLAG = b"VP8X", 0x04, 0x10  # https://developers.google.com/speed/webp/docs/riff_container


def read(path: Path, mime: str, anchors: str) -> dict[str, Any] | None:
    """What the file's active manifest says and whether that holds; None where it has none, or nothing here can read it.

    `anchors`, certificates in PEM, are whose signers are `trusted`. `unreadable`: there is one, and it cannot be read.
    """
    if not _has_label(path):
        return None
    try:
        import c2pa  # 23 MB, for files that have one
    except ImportError:  # a machine that it has no wheel for
        return None
    if mime not in c2pa.Reader.get_supported_mime_types():
        return None
    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    settings = c2pa.Settings.from_dict({**OFFLINE, **trust})
    try:
        with (
            path.open("rb") as file,
            c2pa.Context(settings) as context,
            c2pa.Reader(mime, file, context=context) as found,
        ):
            return _told(json.loads(found.json()), str(found.get_validation_state() or "Invalid").lower())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, ValueError, TypeError, KeyError, AttributeError):
        return {"state": "unreadable"}


def _has_label(path: Path) -> bool:
    with path.open("rb") as file, suppress(ValueError), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
        return seen.find(LABEL, 0, LOOKED_AT) >= 0
    return False


def _told(store: dict[str, Any], state: str) -> dict[str, Any]:
    manifest = store["manifests"][store["active_manifest"]]
    signature, actions = manifest.get("signature_info") or {}, list(_actions(manifest))
    generators = manifest.get("claim_generator_info") or [{"name": manifest.get("claim_generator")}]
    return {
        "state": state,
        "title": _text(manifest.get("title")),
        "generator": _text(" ".join(str(generators[0].get(k) or "") for k in ("name", "version")).strip()),
        "issuer": _text(signature.get("issuer")),
        "signed_by": _text(signature.get("common_name")),
        "signed_at": _text(signature.get("time")),
        "actions": _texts(action.get("action") for action in actions),
        "sources": _texts(str(a.get("digitalSourceType") or "").rpartition("/")[2] for a in actions),
        "ingredients": len(manifest.get("ingredients") or []),
        "faults": _texts(one.get("code") for one in store.get("validation_status") or []),
    }


def _actions(manifest: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label")).startswith("c2pa.actions"):
            yield from assertion["data"].get("actions") or []


def _text(value: object) -> str | None:
    return "".join(c for c in str(value) if c.isprintable())[:LONGEST] if value else None


def _texts(values: Iterable[object]) -> list[str]:
    found = dict.fromkeys(text for value in values if (text := _text(value)))
    return list(found)[:MOST]


def packet(sha256: str) -> bytes:
    """The XMP of renditions of an original with this checksum."""
    return PACKET.format(document=f"urn:sha256:{sha256}").encode()


def cost(said: bytes, rungs: int) -> int:
    """The bytes that saying it in so many files takes at most."""
    return rungs * (len(said) + 32)


def tell(out: Path, rungs: Sequence[RungFile], said: bytes) -> list[RungFile]:
    """Has the files of these rungs say it."""
    done = []
    for rung in rungs:
        path = out / f"{rung.quality}.webp"
        data = saying(path.read_bytes(), said, (rung.width, rung.height))
        part = out / f".{rung.quality}.part"
        part.write_bytes(data)
        part.rename(path)
        done.append(replace(rung, bytes=len(data)))
    return done


def saying(webp: bytes, said: bytes, size: tuple[int, int]) -> bytes:
    """The WebP, of this size, with the XMP in it."""
    chunks = webp[12:]
    if chunks[:4] == EXTENDED:
        chunks = chunks[:8] + bytes([chunks[8] | XMP_FLAG]) + chunks[9:]
    else:
        alpha = ALPHA_FLAG if chunks[:4] == b"VP8L" and chunks[12] & 0x10 else 0
        canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
        chunks = EXTENDED + struct.pack("<I4B", 10, XMP_FLAG | alpha, 0, 0, 0) + canvas + chunks
    chunks += b"XMP " + struct.pack("<I", len(said)) + said + b"\0" * (len(said) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
