import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.filenames import clean, default, disposition


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\me.jpg", "me.jpg"),
        ("a\x00b.jpg", "ab.jpg"),
        ("\u202egpj.exe", "gpj.exe"),
        ("e\u0301te\u0301.jpg", "\u00e9t\u00e9.jpg"),
        ("..", None),
        ("", None),
        (None, None),
        ("dir/", None),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
        ("\N{PILE OF POO}" * 100, "\N{PILE OF POO}" * 63),
    ],
)
def test_a_name_is_kept_without_what_does_harm(given_name: str | None, kept: str | None) -> None:
    assert clean(given_name) == kept


@given(st.text(st.characters(), max_size=400))
def test_whatever_comes_is_short_whole_and_no_path(name: str) -> None:
    kept = clean(name)
    if kept is not None:
        assert 0 < len(kept.encode()) <= 255
        assert not set("/\\\0\r\n") & set(kept)
        assert clean(kept) == kept


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b'form-data; name="file"; filename="a.jpg"', ("file", "a.jpg")),
        (b'attachment; filename="a \\"b\\".jpg"', (None, 'a "b".jpg')),
        ('form-data; name="file"; filename="\u00fcn\u00ef.jpg"'.encode(), ("file", "\u00fcn\u00ef.jpg")),
        (b"attachment; filename=\"x.jpg\"; filename*=UTF-8''%e2%82%ac.jpg", (None, "\u20ac.jpg")),
        (b"attachment", (None, None)),
        (b"", (None, None)),
    ],
)
def test_a_content_disposition_is_read_as_its_rfcs_say(header: bytes, told: tuple[str | None, str | None]) -> None:
    assert disposition(header) == told


@given(st.binary(max_size=200))
def test_any_content_disposition_is_survived(header: bytes) -> None:
    disposition(header)


def test_a_file_without_a_name_is_called_after_what_it_is() -> None:
    assert default("image", "jpg") == "image.jpg"
    assert default("file", "") == "file"
