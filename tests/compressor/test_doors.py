import os
from base64 import b64encode
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipmunk.errors import BadRequest
from compressor.asking import Fields
from compressor.doors import data_uri, multipart

BOUNDARY = "xYz"
# Made of what boundaries are made of, so that almost-boundaries are the rule.
TRICKY = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"\r\n", b"--xYz", b"\r\n--xY", b"a", b"\0"]), max_size=12).map(
    b"".join
)


def body(parts: list[tuple[str, bytes]]) -> bytes:
    head = b'--xYz\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    return b"".join(head % (name.encode(), value) for name, value in parts) + b"--xYz--\r\n"


@given(
    st.lists(st.tuples(st.sampled_from(["file", "user", "flow"]), TRICKY), min_size=1, max_size=4), st.integers(1, 40)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_parts_are_found_where_they_lie_however_the_file_is_cut(
    tmp_path: Path, parts: list[tuple[str, bytes]], chunk: int
) -> None:
    parts = [(n, v) for n, v in parts if b"\r\n--xYz" not in b"\r\n" + v]
    path = tmp_path / "body"
    path.write_bytes(data := body(parts))
    if not parts:
        return
    found = multipart.find_parts(path, BOUNDARY.encode(), chunk)
    assert [(p.name, data[p.start : p.start + p.length]) for p in found] == parts
    assert all(p.value == (b"" if p.is_file else v) for p, (_, v) in zip(found, parts, strict=True))


def test_parts_agree_with_the_standard_library(tmp_path: Path) -> None:
    data = body([("user", b"ann"), ("file", os.urandom(10_000).replace(b"\r\n--", b""))])
    (tmp_path / "body").write_bytes(data)
    mail = BytesParser().parsebytes(b"Content-Type: multipart/form-data; boundary=xYz\r\n\r\n" + data)
    expected = [p.get_payload(decode=True) for p in mail.walk() if isinstance(p, Message) and not p.is_multipart()]
    found = multipart.find_parts(tmp_path / "body", b"xYz")
    assert [data[p.start : p.start + p.length] for p in found] == expected


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_body_is_read_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "body").write_bytes(data)
    with pytest.raises(BadRequest):
        multipart.find_parts(tmp_path / "body", b"no such boundary")


@pytest.mark.parametrize("kernel", [True, False])
def test_a_stretch_is_copied_whole_with_and_without_copy_file_range(tmp_path: Path, kernel: bool) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    unable = OSError(95, "not supported")
    with mock.patch("os.copy_file_range", side_effect=None if kernel else unable, wraps=os.copy_file_range):
        multipart.copy(tmp_path / "a", tmp_path / "b", 17, 2_500_000)
    assert (tmp_path / "b").read_bytes() == data[17:2_500_017]


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", f"a/b; boundary={'x' * 201}"]
)
def test_a_form_without_a_usable_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(BadRequest):
        multipart.boundary(content_type)


@given(st.binary(max_size=200))
def test_base64_and_data_uris_give_the_bytes_back(data: bytes) -> None:
    text = b64encode(data).decode()
    assert data_uri.decode(text) == data
    assert data_uri.decode(f"data:image/png;base64,{text}") == data
    assert data_uri.decode(f"data:text/plain;charset=x;base64,{text.replace('+', '%2B')}") == data
    assert data_uri.decode("data:," + "".join(f"%{b:02x}" for b in data)) == data


@pytest.mark.parametrize(
    "data", ["!!!!", "abc", "ab=c", "YWJj\n", "YWJj ", "data:image/png;base64", "data:;base64,@@", "\u00e9"]
)
def test_junk_is_no_base64(data: str) -> None:
    with pytest.raises(BadRequest):
        data_uri.decode(data)


@pytest.mark.parametrize(
    "text",
    [
        b"{nope", b"[]", b"{}", b'{"data": 5}', b'{"data": "", "user": 5}', b'{"data": "", "flow": {}}',
        b'{"data": "", "flow": [1]}', b'{"data": "", "user": "../x"}', b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"data": "", "url": ""}', b'{"url": 5}', b"\xff\xfe", b'{"data": ' + b"9" * 5000 + b"}", b'"\xed\xa0\x80"',
    ],
)  # fmt: skip
def test_what_is_no_upload_in_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        data_uri.parse(text)


def test_json_tells_user_flows_and_name() -> None:
    fields, data, url = data_uri.parse(b'{"user": "ann", "flow": ["a", "b", "a"], "filename": "x.jpg", "data": "YQ=="}')
    assert (fields, data, url) == (Fields("ann", ("a", "b"), "x.jpg"), b"a", None)
    assert data_uri.parse(b'{"url": "http://a.example/"}') == (Fields(), None, "http://a.example/")
