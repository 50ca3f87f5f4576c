"""The state machine alone: what is written, recorded and refused, whatever comes in whatever pieces."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmunk.errors import BadRequest, EmptyFile, Forbidden, NotFound, OtherOffset, Problem, TooLarge, Unsupported
from chipmunk.uploads import Upload
from compressor import tus_headers, tus_state
from compressor.tus_headers import CONTENT, Body, Creation, Patch
from compressor.tus_state import RECORD_BYTES, RECORD_SECONDS, RENEW_SECONDS, WRITE_BYTES, Receiving

NOW = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ID = UUID(int=7)


def upload(**given: Any) -> Upload:
    fields: dict[str, Any] = {
        "id": ID, "app_id": 1, "user_id": 1, "by_app": False, "state": "open", "flows": [], "filename": None,
        "metadata": "", "length": 100, "offset": 0, "concat": None, "parts": [], "media_id": None, "problem": None,
        "holder": None, "held_until": None, "held": False, "created_at": NOW, "expires_at": NOW, "suspended": False,
    }  # fmt: skip
    return Upload(**{**fields, **given})


def patch(offset: int = 0, length: int | None = None, body: int | None = None) -> Patch:
    return Patch(offset, length, Body(body, None))


@given(
    st.lists(st.tuples(st.integers(1, 3 * WRITE_BYTES), st.floats(0, 10)), max_size=40), st.booleans(), st.booleans()
)
def test_what_is_recorded_is_written_and_a_cut_loses_little(
    chunks: list[tuple[int, float]], whole_only: bool, good: bool
) -> None:
    now, total = 0.0, sum(size for size, _ in chunks)
    state = Receiving(1000, 1000 + total, whole_only, now)

    def obey(do: tus_state.Do) -> None:
        if do.write:
            state.wrote()
        if do.record:
            assert state.written == state.arrived
            state.did_record(now)
        elif do.renew:
            state.renewed(now)

    for size, pause in chunks:
        now += pause
        obey(state.arrives(size, now))
        assert state.recorded <= state.written <= state.arrived
        assert state.arrived - state.written < WRITE_BYTES
        if whole_only:
            assert state.recorded == 1000
        else:
            assert state.arrived - state.recorded < RECORD_BYTES + WRITE_BYTES
        assert now - state._renewed_at < RENEW_SECONDS
    obey(state.ends(good))
    assert state.recorded == (1000 if whole_only and not good else 1000 + total)


def test_what_comes_slowly_is_recorded_all_the_same() -> None:
    state = Receiving(0, 10_000, False, 0.0)
    assert state.arrives(10, RECORD_SECONDS - 0.1) == tus_state.Do(renew=True)
    assert state.arrives(10, RECORD_SECONDS + 0.1) == tus_state.Do(write=True, record=True)


def test_nothing_passes_the_end() -> None:
    state = Receiving(90, 100, False, 0.0)
    state.arrives(10, 0.0)
    with pytest.raises(ValueError, match="longer"):
        state.arrives(1, 0.0)


@pytest.mark.parametrize(
    ("standing", "asked", "found"),
    [
        ({}, patch(0, None, 100), 100),
        ({"offset": 40}, patch(40), 100),
        ({"offset": 40}, patch(40, 100), 100),
        ({"length": None}, patch(0), None),
        ({"length": None, "offset": 5}, patch(5, 5), 5),
        ({"length": None}, patch(0, 70, 70), 70),
        ({}, patch(1), OtherOffset),
        ({"offset": 40}, patch(0), OtherOffset),
        ({}, patch(0, None, 101), BadRequest),
        ({}, patch(0, 99), BadRequest),
        ({"length": None, "offset": 5}, patch(5, 4), BadRequest),
        ({"length": None}, patch(0, 1001), TooLarge),
        ({"length": None}, patch(0, None, 1001), TooLarge),
        ({"length": None}, patch(0, 0), EmptyFile),
        ({"length": None, "concat": "partial"}, patch(0, 0), 0),
        ({"concat": "final"}, patch(100), Forbidden),
    ],
)
def test_a_patch_is_let_through_or_refused(standing: dict[str, Any], asked: Patch, found: Any) -> None:
    if isinstance(found, int | None):
        assert tus_state.length_after(upload(**standing), asked, 1000) == found
        return
    with pytest.raises(found):
        tus_state.length_after(upload(**standing), asked, 1000)


def test_what_failed_fails_with_the_same_again() -> None:
    first = TooLarge(limit_bytes=5)
    with pytest.raises(TooLarge) as again:
        tus_state.check_open(upload(state="failed", problem=first.document()))
    assert again.value.document() == first.document()
    assert type(tus_state.failure(upload(state="failed", problem={"code": "of another time"}))) is Problem


def test_a_whole_is_as_long_as_its_parts() -> None:
    part = upload(concat="partial", offset=100)
    assert tus_state.total([part, part], 200) == 200
    for parts, most, problem in (
        ([part, part], 199, TooLarge),
        ([upload(concat="partial", offset=99)], 1000, BadRequest),
        ([upload(concat="partial", offset=100, state="stored")], 1000, BadRequest),
        ([upload(offset=100)], 1000, BadRequest),
        ([upload(concat="partial", length=0)], 1000, EmptyFile),
    ):
        with pytest.raises(problem):
            tus_state.total(parts, most)


def test_parts_reserve_no_renditions() -> None:
    assert tus_state.reserved(1000, "partial") == 1000
    assert tus_state.reserved(1000, None) == tus_state.reserved(1000, "final") > 1000


def creation(**headers: str) -> Creation:
    return tus_headers.creation({name.replace("_", "-"): value for name, value in headers.items()})


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_creation_says_how_long_or_that_it_will() -> None:
    assert creation(upload_length="5").length == 5
    assert creation(upload_defer_length="1").length is None
    assert creation(upload_length="5", content_type=CONTENT, content_length="3").body == Body(3, None)
    for bad in (
        {}, {"upload_length": "-1"}, {"upload_length": "x"}, {"upload_length": "5", "upload_defer_length": "1"},
        {"upload_defer_length": "0"}, {"upload_length": "9" * 30}, {"upload_length": "5", "upload_concat": "half"},
        {"upload_length": "5", "upload_concat": "partial;x"}, {"upload_concat": "final;"},
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            creation(**bad)
    with pytest.raises(Unsupported):
        creation(upload_length="5", content_length="5", content_type="image/jpeg")


def test_metadata_is_read_and_kept() -> None:
    text = f"filename {coded('ä.jpg')},flow {coded('b, a')}, user {coded('ann')},empty,other /+8="
    found = creation(upload_length="5", upload_metadata=text)
    assert (found.fields.user, found.fields.flows, found.fields.filename) == ("ann", ("b", "a"), "ä.jpg")
    assert found.metadata == text
    for bad in (
        "a b c",
        "a ???",
        f"x {coded('1')},x {coded('2')}",
        "ä YQ==",
        "user /+8=",
        f"user {coded('../x')}",
        ",",
    ):
        with pytest.raises(BadRequest):
            creation(upload_length="5", upload_metadata=bad)


@pytest.mark.parametrize("before", ["", "/v1/uploads/", "https://media.example/x/v1/uploads/"])
def test_an_address_means_an_upload(before: str) -> None:
    assert tus_headers.part_of(f"{before}{ID.hex}") == ID
    for bad in (f"{before}{ID.hex}/", f"{before}x", f"/v1/media/{ID.hex}", "", "http://[", f"{before}{ID}"):
        with pytest.raises(NotFound):
            tus_headers.part_of(bad)


def test_a_head_tells_how_it_stands() -> None:
    told = tus_headers.shown(upload(offset=5, metadata="a YQ==", concat="final", parts=[ID]), "https://m.example")
    assert told == {
        "upload-offset": "5", "upload-length": "100", "upload-expires": "Wed, 02 Jan 2030 03:04:05 GMT",
        "upload-metadata": "a YQ==", "upload-concat": f"final;https://m.example/v1/uploads/{ID.hex}",
    }  # fmt: skip
    assert tus_headers.shown(upload(length=None), "")["upload-defer-length"] == "1"
    assert tus_headers.shown(upload(state="stored", media_id=ID), "")["chipmunk-media"] == ID.hex


def test_only_a_post_has_its_method_overridden() -> None:
    said = {"x-http-method-override": "patch"}
    assert tus_headers.method("POST", said) == "PATCH"
    assert tus_headers.method("GET", said) == "GET"
    assert tus_headers.method("POST", {"x-http-method-override": "TRACE"}) == tus_headers.method("POST", {}) == "POST"
