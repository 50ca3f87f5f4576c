import pytest

from chipmunk.errors import BadRequest, Mismatch
from compressor.asking import Fields, door, of_precheck, of_query, of_upload


@pytest.mark.parametrize(
    ("method", "content_type", "expected"),
    [
        ("PUT", "image/jpeg", "raw"),
        ("PUT", "multipart/form-data; boundary=x", "raw"),
        ("POST", "Multipart/Form-Data; boundary=x", "multipart"),
        ("POST", "application/json; charset=utf-8", "json"),
        ("POST", "image/png", "raw"),
        ("POST", "", "raw"),
    ],
)
def test_method_and_content_type_tell_the_door(method: str, content_type: str, expected: str) -> None:
    assert door(method, content_type) == expected


def test_a_pre_check_and_the_upload_after_it_say_the_same() -> None:
    shared = {"authorization": "Bearer x", "idempotency-key": "k", "origin": "https://a", "prefer": "wait"}
    before = of_precheck(
        {
            **shared, "x-original-method": "PUT", "x-original-uri": "/v1/media?user=ann&flow=a&flow=b",
            "x-original-length": "5", "x-original-type": "image/png",
        }
    )  # fmt: skip
    after = of_upload({**shared, "content-length": "5", "content-type": "image/png"}, "PUT", "user=ann&flow=a&flow=b")
    assert before == after
    assert (before.fields, before.length, before.wait) == (Fields("ann", ("a", "b")), 5, 60)


def test_a_session_comes_by_header_to_a_pre_check_and_by_cookie_to_a_door() -> None:
    before = of_precheck({"x-session": "cms_x", "x-original-method": "POST"})
    after = of_upload({"cookie": "a=b; chipmunk_session=cms_x"}, "POST", "")
    assert before.given == after.given
    assert before.given.by_cookie


@pytest.mark.parametrize(
    "query", ["user=a&user=b", "filename=a&filename=b", "user=../x", "user=", "flow=%00", "user=%ff"]
)
def test_a_query_that_says_two_things_or_nothing_good_is_refused(query: str) -> None:
    with pytest.raises(BadRequest):
        of_query(query)


def test_more_flows_than_anyone_needs_are_refused() -> None:
    with pytest.raises(BadRequest):
        of_query("&".join(f"flow=f{n}" for n in range(33)))


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9", "a\tb"])
def test_an_odd_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(BadRequest):
        of_upload({"idempotency-key": key}, "PUT", "")


@pytest.mark.parametrize(
    ("prefer", "seconds"), [("wait", 60), ("wait=5", 5), ("wait=9999", 60), ("respond-async", None), ("foo, WAIT=2", 2)]
)
def test_prefer_wait_is_bounded(prefer: str, seconds: int | None) -> None:
    assert of_upload({"prefer": prefer}, "PUT", "").wait == seconds


def test_query_and_body_are_joined_where_they_agree() -> None:
    assert Fields("ann").joined(Fields("ann", ("a",), "x")) == Fields("ann", ("a",), "x")
    assert Fields(None, ("a", "b")).joined(Fields("ann", ("b", "a"))) == Fields("ann", ("a", "b"))
    with pytest.raises(Mismatch):
        Fields("ann").joined(Fields("bob"))
    with pytest.raises(Mismatch):
        Fields(None, ("a",)).joined(Fields(None, ("a", "b")))


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 30, "5, 5"])
def test_a_content_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(BadRequest):
        of_upload({"content-length": length}, "PUT", "")
