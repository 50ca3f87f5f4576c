"""Music: its tags and its cover, read without trusting either."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import mutagen
from mutagen.flac import Picture

from chipmunk.errors import CorruptImage, DecodeFailed
from compressor.containers import opened, seconds
from compressor.sniff import Kind, sniff

FIELDS = {"title": "TIT2", "artist": "TPE1", "album": "TALB"}  # and ID3's names, by which alone a WAV's are to be had
LONGEST_TAG = 500
LARGEST_COVER = 20_000_000
READING_SECONDS = 15.0  # of a container


def read(path: Path, mime: str) -> tuple[dict[str, Any], bytes | None]:
    """Tags (title, artist, album, duration_seconds) and the cover's bytes. CorruptImage where it is no audio file.

    Of what no reader of tags knows, WebM, fragmented MP4 and a WAV's INFO, it is what the container says.
    """
    try:
        tags, cover = _tags(path)
    except CorruptImage:
        if mime not in ("audio/mp4", "audio/webm"):
            raise
        return _of_container(path, mime), None
    if mime == "audio/wav" and len(tags) == 1:
        with suppress(CorruptImage, DecodeFailed):
            tags = {**_of_container(path, mime), **tags}
    return tags, cover


def _of_container(path: Path, mime: str) -> dict[str, Any]:
    with opened(path, mime, READING_SECONDS) as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise CorruptImage()
        said = {name.lower(): value for name, value in (*stream.metadata.items(), *container.metadata.items())}
        tags = {field: _text(said[field]) for field in FIELDS if said.get(field)}
        return {"duration_seconds": seconds(container, stream), **tags}


def _tags(path: Path) -> tuple[dict[str, Any], bytes | None]:
    try:
        found = mutagen.File(path)
    except MemoryError:
        raise DecodeFailed("Reading the file needs more memory than the service allows.") from None
    except Exception:  # mutagen raises whatever its parsers meet in a broken file
        raise CorruptImage() from None
    if found is None or not getattr(found.info, "length", 0):
        raise CorruptImage()
    tags: dict[str, Any] = {"duration_seconds": round(float(found.info.length), 3)}
    with suppress(Exception):
        easy = mutagen.File(path, easy=True)
        for field, frame in FIELDS.items():
            if values := (easy.tags or {}).get(field) or (easy.tags or {}).get(frame):
                tags[field] = _text(values[0])
    return tags, _cover(found)


def _text(value: object) -> str:
    return "".join(c for c in str(value) if c.isprintable())[:LONGEST_TAG].encode("utf-8", "replace").decode()


def _cover(found: Any) -> bytes | None:
    with suppress(Exception):
        for data in _covers(found):
            if 0 < len(data) <= LARGEST_COVER and (kind := sniff(data[:4096])) and kind.kind == "image":
                return data
    return None


def _covers(found: Any) -> list[bytes]:
    pictures = [p.data for p in getattr(found, "pictures", [])]
    tags = found.tags or {}
    if hasattr(tags, "getall"):
        pictures += [p.data for p in tags.getall("APIC")]
    with suppress(KeyError, ValueError):
        pictures += [bytes(c) for c in tags.get("covr", [])]
    with suppress(KeyError, ValueError):
        pictures += [
            Picture(base64.b64decode(p)).data  # type: ignore[no-untyped-call]
            for p in tags.get("metadata_block_picture", [])
        ]
    return pictures


def cover_file(data: bytes) -> tuple[io.BytesIO, Kind]:
    """The cover as a file to decode, and what it is."""
    kind = sniff(data[:4096])
    if kind is None:
        raise CorruptImage()
    return io.BytesIO(data), kind
