import pytest

from compressor.sniff import guess_other, sniff
from nginx.render import INLINE
from tests import films, pictures

SAMPLES = {
    "image/jpeg": lambda: pictures.turned(1),
    "image/png": lambda: pictures.saved(pictures.corners(), "PNG"),
    "image/gif": lambda: pictures.animation("GIF"),
    "image/webp": lambda: pictures.saved(pictures.corners(), "WEBP"),
    "image/avif": lambda: pictures.saved(pictures.corners(), "AVIF"),
    "image/heic": lambda: pictures.saved(pictures.corners(), "HEIF"),
    "image/tiff": lambda: pictures.saved(pictures.corners(), "TIFF"),
    "image/bmp": lambda: pictures.saved(pictures.corners(), "BMP"),
    "image/x-icon": lambda: pictures.saved(pictures.corners(64, 64), "ICO"),
    "audio/wav": pictures.wav,
    "audio/mpeg": pictures.mp3,
    "audio/flac": pictures.flac,
    "video/mp4": lambda: films.video([films.scene()]),
    "video/quicktime": lambda: films.video([films.scene()], "mov"),
    "video/webm": lambda: films.video([films.scene()], "webm"),
    "video/x-matroska": lambda: films.video([films.scene()], "matroska"),
    "audio/mp4": lambda: films.sound("ipod"),
}


@pytest.mark.parametrize("mime", SAMPLES)
def test_a_format_is_known_by_its_first_bytes(mime: str) -> None:
    kind = sniff(SAMPLES[mime]()[:4096])
    assert kind is not None
    assert kind.mime == mime


def ftyp(*brands: bytes) -> bytes:
    major, *others = brands
    return (16 + 4 * len(others)).to_bytes(4, "big") + b"ftyp" + major + bytes(4) + b"".join(others) + b"moov"


@pytest.mark.parametrize(
    ("brands", "mime"),
    [
        ((b"isom", b"iso2", b"avc1"), "video/mp4"),
        ((b"xxxx", b"iso6", b"dash"), "video/mp4"),
        ((b"mp42", b"M4V ", b"M4A ", b"isom"), "video/mp4"),
        ((b"M4V ", b"M4A ", b"mp42", b"isom"), "video/mp4"),
        ((b"mp42", b"M4A ", b"isom"), "audio/mp4"),
        ((b"M4A ", b"mp42", b"isom"), "audio/mp4"),
        ((b"mif1", b"heic", b"iso8"), "image/heic"),
        ((b"avis", b"msf1", b"iso8"), "image/avif"),
        ((b"qt  ", b"mp42"), "video/quicktime"),
    ],
)
def test_the_brands_of_a_file_say_what_it_is(brands: tuple[bytes, ...], mime: str) -> None:
    kind = sniff(ftyp(*brands))
    assert kind is not None
    assert kind.mime == mime


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"<svg xmlns=",
        b"<!doctype html>",
        b"PK\3\4",
        b"BM nothing else",
        b"RIFF1234AVI ",
        ftyp(b"xxxx", b"yyyy"),
        b"\x1aE\xdf\xa3\x84\x42\x82",
        b"\x1aE\xdf\xa3\x88\x42\x82\x84abcd",
        b"\xff\xff\xff\xff",
        bytes(64),
    ],
)
def test_anything_else_is_not(head: bytes) -> None:
    assert sniff(head) is None


def test_what_is_not_known_is_guessed_for_downloads_only() -> None:
    assert guess_other(b"%PDF-1.7", "x").mime == "application/pdf"
    assert guess_other(b"\0\1\2", "x.html").mime == "application/octet-stream"
    assert guess_other(b"%PDF-1.7", "x").kind == "file"


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.opus", "a.mp3", "a.ico", "a.mp4", "a"])
def test_a_name_never_makes_text_something_that_is_shown(name: str) -> None:
    assert guess_other(b"<script>alert(1)</script>", name).mime == "text/plain"
    assert guess_other(b"<svg/>", "a.svg").mime == "image/svg+xml"
    assert "image/svg+xml" not in INLINE
