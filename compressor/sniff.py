"""What a file is, told by its first bytes, never by its name."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chipmunk.errors import Unsupported

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """`kind` is image, audio, video or file; `extension` is what a download without a name gets."""

    kind: str
    mime: str
    extension: str


def _image(name: str, extension: str = "") -> Kind:
    return Kind("image", f"image/{name}", extension or name)


def _audio(name: str, extension: str) -> Kind:
    return Kind("audio", f"audio/{name}", extension)


def _video(name: str, extension: str) -> Kind:
    return Kind("video", f"video/{name}", extension)


STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", _image("jpeg", "jpg")),
    (b"\x89PNG\r\n\x1a\n", _image("png")),
    (b"GIF87a", _image("gif")),
    (b"GIF89a", _image("gif")),
    (b"II*\0", _image("tiff", "tif")),
    (b"MM\0*", _image("tiff", "tif")),
    (b"\0\0\1\0", _image("x-icon", "ico")),
    (b"fLaC", _audio("flac", "flac")),
    (b"OggS", _audio("ogg", "ogg")),
    (b"ID3", _audio("mpeg", "mp3")),
)
RIFFS = {b"WEBP": _image("webp"), b"WAVE": _audio("wav", "wav")}
# ISO base media file brands, https://mp4ra.org/registered-types/brands
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), _image("avif")),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), _image("heic")),
    **dict.fromkeys((b"mif1", b"msf1"), _image("heif")),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), _audio("mp4", "m4a")),
    **dict.fromkeys((b"M4V ", b"M4VH", b"M4VP"), _video("mp4", "mp4")),
    b"qt  ": _video("quicktime", "mov"),
}
# and those of any MP4: without one of the above it is a video
GENERIC = frozenset(
    (b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"mp71", b"avc1",
     b"av01", b"hvc1", b"dash", b"msdh", b"msnv", b"MSNV", b"mmp4")
)  # fmt: skip
MP4 = _video("mp4", "mp4")
EBML = b"\x1aE\xdf\xa3"
DOCTYPE = b"\x42\x82"  # RFC 8794, 11.2.6; within the first few elements
DOCTYPES = {b"webm": _video("webm", "webm"), b"matroska": _video("x-matroska", "mkv")}
BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
BMP = _image("bmp")
KINDS = (*(kind for _, kind in STARTS), *RIFFS.values(), *BRANDS.values(), *DOCTYPES.values(), BMP)
EXTENSIONS = {kind.extension: kind for kind in KINDS}
ALIASES = {
    "jpeg": "jpg", "jpe": "jpg", "apng": "png", "tiff": "tif", "oga": "ogg", "opus": "ogg", "m4b": "m4a", "m4v": "mp4",
    "qt": "mov",
}  # fmt: skip


def named(extension: str) -> Kind | None:
    """What files with such a suffix are said to be; None where it is no supported format's."""
    return EXTENSIONS.get(ALIASES.get(extension, extension))


def sniff(head: bytes) -> Kind | None:
    """The kind of a file that begins with `head` (4096 bytes or all of it), or None where it is no supported one."""
    for start, kind in STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and (riff := RIFFS.get(head[8:12])):
        return riff
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(EBML):
        return _by_doctype(head)
    if head[:2] == b"BM" and len(head) >= 18 and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return BMP
    return _audio("mpeg", "mp3") if _is_mpeg_audio(head) else None


def picture(path: Path) -> Kind:
    """What picture the file is; Unsupported where it is none."""
    with path.open("rb") as file:
        found = sniff(file.read(HEAD_BYTES))
    if found is None or found.kind != "image":
        raise Unsupported("This is no picture that the service takes.")
    return found


def _by_brand(head: bytes) -> Kind | None:
    """The major brand decides; a generic one leaves it to the compatible ones, and to none of them is a video."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    known = [BRANDS[b] for b in brands if b in BRANDS]
    if not known:
        return None if GENERIC.isdisjoint(brands) else MP4
    if brands[0] in GENERIC and MP4 in known:
        return MP4
    precise = [k for k in known if k.mime != "image/heif"]
    return precise[0] if known[0].mime == "image/heif" and precise else known[0]


def _by_doctype(head: bytes) -> Kind | None:
    at = head.find(DOCTYPE, len(EBML), 64) + len(DOCTYPE)
    return (
        DOCTYPES.get(head[at + 1 : at + 1 + (head[at] & 0x7F)].rstrip(b"\0")) if len(DOCTYPE) < at < len(head) else None
    )


def _is_mpeg_audio(head: bytes) -> bool:
    """An MPEG audio layer III frame header (ISO/IEC 11172-3, 2.4.1.3) with no reserved value."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, rate, sampling = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer == 1 and rate not in (0, 15) and sampling != 3


def recognised(head: bytes, filename: str | None, further: Sequence[str]) -> Kind:
    """What the content says that it is, or Unsupported; one of the `further` types where it is no format of ours."""
    found = sniff(head)
    if found is not None:
        return found
    other = guess_other(head, filename or "")
    if not is_among(other.mime, further):
        raise Unsupported()
    return other


def is_among(mime: str, further: Sequence[str]) -> bool:
    """Whether it is one of the `further` types, which may be `video/*` or `*/*`."""
    return not {"*/*", f"{mime.partition('/')[0]}/*", mime}.isdisjoint(further)


OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)


def guess_other(head: bytes, filename: str) -> Kind:
    """The type of a file that `sniff` does not know, for settings that allow such as downloads.

    A name is believed of text alone, and never where it claims a picture or music that a browser would show.
    """
    mime = next((m for start, m in OTHERS if head.startswith(start)), "")
    if not mime and head[4:8] == b"ftyp":
        mime = "video/mp4"
    if not mime:
        by_name = mimetypes.guess_type(filename)[0] or ""
        binary = b"\0" in head
        believed = by_name.startswith(("text/", "application/")) or by_name == "image/svg+xml"
        mime = "application/octet-stream" if binary else by_name if believed else "text/plain"
    return Kind("file", mime, (mimetypes.guess_extension(mime) or ".bin").removeprefix("."))
