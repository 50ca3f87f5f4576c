"""Conditions and ranges of originals that lie elsewhere, as RFC 9110 has them and nginx answers them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.api.conditions import File, Unsatisfiable, refusal, wanted

MADE = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
FILE = File(1000, '"abc"', MADE)
BEFORE, AFTER = File(1, "", MADE - timedelta(days=1)).date, File(1, "", MADE + timedelta(days=1)).date


def test_a_date_is_as_http_has_it() -> None:
    assert FILE.date == "Fri, 02 Jan 2026 03:04:05 GMT"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("BYTES=10-19", (10, 20)),
        ("bytes= 10 - 19 ", (10, 20)),
        ("bytes=990-", (990, 1000)),
        ("bytes=990-5000", (990, 1000)),
        ("bytes=-10", (990, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=0-9,20-29", None),
        ("bytes=", None),
        ("lines=0-9", None),
    ],
)
def test_one_range_is_given_and_what_is_none_or_several_is_the_whole(
    asked: str | None, part: tuple[int, int] | None
) -> None:
    assert wanted({} if asked is None else {"range": asked}, FILE) == part


@pytest.mark.parametrize(
    "asked",
    ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=9-3", "bytes=x", "bytes=1-2-3", "bytes=-", "bytes=²-"],
)
def test_a_range_that_the_file_has_not_is_refused(asked: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted({"range": asked}, FILE)


def test_an_empty_file_has_no_range() -> None:
    with pytest.raises(Unsatisfiable):
        wanted({"range": "bytes=-1"}, File(0, '"abc"', MADE))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [('"abc"', True), (FILE.date, True), ('"other"', False), ('W/"abc"', False), (BEFORE, False), (AFTER, False)],
)
def test_a_range_on_a_condition_is_given_only_of_the_very_file(condition: str, holds: bool) -> None:
    assert wanted({"range": "bytes=0-9", "if-range": condition}, FILE) == ((0, 10) if holds else None)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, None),
        ({"if-none-match": '"abc"'}, 304),
        ({"if-none-match": 'W/"abc"'}, 304),
        ({"if-none-match": '"x", "abc"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, None),
        ({"if-none-match": "abc"}, None),
        ({"if-modified-since": FILE.date}, 304),
        ({"if-modified-since": BEFORE}, None),
        ({"if-modified-since": AFTER}, None),
        ({"if-modified-since": FILE.date, "if-none-match": '"x"'}, None),
        ({"if-match": '"abc"'}, None),
        ({"if-match": "*"}, None),
        ({"if-match": 'W/"abc"'}, 412),
        ({"if-match": '"x"'}, 412),
        ({"if-match": '"x"', "if-none-match": '"abc"'}, 412),
        ({"if-unmodified-since": FILE.date}, None),
        ({"if-unmodified-since": AFTER}, None),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": "yesterday"}, None),
        ({"if-unmodified-since": BEFORE, "if-match": '"abc"'}, None),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_standard(asked: dict[str, str], status: int | None) -> None:
    assert refusal(asked, FILE) == status
