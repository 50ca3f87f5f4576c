from __future__ import annotations

import base64
import contextlib
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmunk.edits import (
    KINDS,
    LONGEST,
    MOST,
    Edit,
    Id,
    Kind,
    Number,
    Text,
    Word,
    parse,
    size_after,
    sized,
    stamps,
    write,
)
from chipmunk.errors import BadEdits, TooManyPixels
from tests.docs.pages import rows

UNQUOTED = re.compile("[A-Za-z0-9._~-]+")  # RFC 3986, 2.3


def values(kind: Kind) -> st.SearchStrategy[int | str]:
    match kind:
        case Number():
            return st.integers(kind.least, kind.most).filter(kind.check)
        case Word():
            return st.sampled_from(kind.words)
        case Id():
            return st.uuids().map(lambda one: one.hex)
        case Text():
            return st.text("Aa ~.©…%/", min_size=1, max_size=8)


@st.composite
def some_edit(draw: st.DrawFn) -> Edit:
    name = draw(st.sampled_from(sorted(KINDS)))
    given = tuple(draw(values(kind)) for kind in KINDS[name].values())
    return Edit("resize", (1, 0)) if (name, given) == ("resize", (0, 0)) else Edit(name, given)


@given(st.lists(some_edit(), min_size=1, max_size=8).filter(lambda edits: sum(e.name == "stamp" for e in edits) <= 4))
def test_what_is_written_is_read_as_the_same_and_needs_no_quoting(edits: list[Edit]) -> None:
    text = write(edits)
    assert parse(text) == tuple(edits)
    assert UNQUOTED.fullmatch(text)


@given(
    st.text(string.ascii_lowercase + string.digits + ".~-_ +", max_size=40)
    | st.from_regex(r"[a-z]{4,10}(\.-?[0-9]{1,5}){1,4}")
)
def test_whatever_is_read_is_written_the_same(text: str) -> None:
    try:
        found = parse(text)
    except BadEdits:
        return
    assert write(found) == text


@given(some_edit(), st.data())
def test_no_other_spelling_of_an_edit_is_read(edit: Edit, data: st.DataObject) -> None:
    """A changed letter is another edit or none: never the same one."""
    text = write([edit])
    at = data.draw(st.integers(0, len(text)))
    other = text[:at] + data.draw(st.sampled_from("0+ -.~=AZ")) + text[at:]
    with contextlib.suppress(BadEdits):
        assert parse(other) != (edit,)


def text_of(words: str) -> str:
    return base64.urlsafe_b64encode(words.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 512"),
        ("rotate.90~" * 51 + "rotate.90", "1 to 512"),
        ("~".join(["rotate.90"] * (MOST + 1)), "16 edits"),
        ("warp.1", "one of crop, rotate"),
        ("crop.1.2.3", "left, top, width, height"),
        ("crop.1.2.3.4.5", "left, top, width, height"),
        ("crop.0.0.0.5", "width of crop"),
        ("crop.-1.0.5.5", "left of crop"),
        ("rotate.45", "90, 180, 270"),
        ("rotate.090", "90, 180, 270"),
        ("brightness.0", "not 0"),
        ("brightness.+5", "percent of brightness"),
        ("brightness.05", "percent of brightness"),
        ("brightness.101", "-100 to 100"),
        ("resize.0.0", "one side is more than 0"),
        ("resize.99999.1", "0 to 16383"),
        ("noise.5", "levels, seed"),
        (f"watermark.se.5.50.{text_of('日本')}", "characters that the font has"),
        (f"watermark.se.5.50.{text_of('a' * 65)}", "up to 64"),
        ("watermark.se.5.50.", "characters that the font has"),
        ("watermark.se.5.50.YQ==", "one spelling"),
        ("watermark.se.5.50.YR", "one spelling"),
        ("watermark.se.5.50._w", "characters that the font has"),
        ("rotate.90~", "one of crop, rotate"),
        (f"stamp.se.20.50.{'A' * 32}", "the id of a picture"),
        (f"stamp.se.20.50.{'a' * 31}", "the id of a picture"),
        ("stamp.se.20.50", "place, size, opacity, media"),
        ("~".join(f"stamp.se.{n}.50.{'a' * 32}" for n in range(1, 6)), "4 stamps"),
    ],
)  # fmt: skip
def test_what_is_no_edit_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadEdits, match=re.escape(why)):
        parse(text)


def test_each_stamp_is_needed_once() -> None:
    one, other = "a" * 32, "b" * 32
    found = stamps(parse("~".join(f"stamp.se.20.50.{media}" for media in (other, one, other)) + "~flip.h"))
    assert [media.hex for media in found] == [other, one]


def test_the_longest_that_is_read() -> None:
    longest = write([Edit("watermark", ("se", 50, 100, "a" * 64))] * 4)
    assert len(longest) < LONGEST
    assert len(parse(longest)) == 4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("crop.10.20.300.200", (300, 200)),
        ("rotate.90~crop.0.0.300.400", (300, 400)),
        ("resize.200.0", (200, 150)),
        ("resize.0.1", (1, 1)),
        ("resize.801.601", (801, 601)),
        ("flip.h~sepia.100", (400, 300)),
        ("straighten.100", (328, 246)),
    ],
)
def test_the_size_that_edits_give_is_known_before_they_are_made(text: str, size: tuple[int, int]) -> None:
    assert sized(parse(text), 400, 300, 10**6) == size


def test_a_crop_beyond_the_picture_and_a_size_beyond_the_limit_are_refused() -> None:
    with pytest.raises(BadEdits, match="300 by 400 there"):
        sized(parse("rotate.90~crop.0.0.301.400"), 400, 300, 10**6)
    with pytest.raises(TooManyPixels):
        sized(parse("resize.1001.0~resize.10.0"), 400, 400, 10**6)
    with pytest.raises(BadEdits, match="16383"):
        sized(parse("resize.0.16383"), 4000, 400, 10**9)


@given(st.integers(-450, 450).filter(bool), st.integers(1, 9000), st.integers(1, 9000))
def test_straightening_keeps_the_proportions_and_never_enlarges(tenths: int, width: int, height: int) -> None:
    wide, high = size_after(Edit("straighten", (tenths,)), width, height)
    assert 1 <= wide <= width
    assert 1 <= high <= height
    assert abs(wide * height - high * width) <= max(width, height)


def test_the_page_has_each_edit_with_its_values() -> None:
    found = {cells[0].strip("`"): cells[1] for cells in rows("edits", r"`\w+`", cells=3)}
    assert set(found) == set(KINDS)
    for name, kinds in KINDS.items():
        told = [(named, told) for group in found[name].split("; ") for named, told in each(group)]
        assert told == [(named, kind.help) for named, kind in kinds.items()], name


def each(group: str) -> list[tuple[str, str]]:
    names, _, told = group.partition(": ")
    return [(named.strip("`"), told) for named in names.split(", ")]
