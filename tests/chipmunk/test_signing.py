import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmunk.signing import Seal, random_identifier

OLD, NEW = "o" * 40, "n" * 40


def test_opens_what_it_signed() -> None:
    seal, identifier = Seal([NEW], "link"), random_identifier()
    assert seal.open(seal.sign(identifier)) == identifier


def test_an_old_key_still_verifies_and_the_newest_signs() -> None:
    identifier = random_identifier()
    rotated = Seal([NEW, OLD], "link")
    assert rotated.open(Seal([OLD], "link").sign(identifier)) == identifier
    assert rotated.sign(identifier) == Seal([NEW], "link").sign(identifier)
    assert Seal([NEW], "link").open(Seal([OLD], "link").sign(identifier)) is None


def test_a_purpose_does_not_open_for_another() -> None:
    identifier = random_identifier()
    assert Seal([NEW], "session").open(Seal([NEW], "link").sign(identifier)) is None


def test_only_one_spelling_of_each_character_opens() -> None:
    seal = Seal([NEW], "link")
    text = seal.sign(random_identifier())
    for at in range(len(text)):
        for other in string.ascii_letters + string.digits + "-_.=+/~ ":
            if other != text[at]:
                assert seal.open(text[:at] + other + text[at + 1 :]) is None, (at, other)


@given(st.text(max_size=80))
def test_no_other_text_opens_or_raises(text: str) -> None:
    assert Seal([NEW], "link").open(text) is None


def test_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        Seal([], "link")
