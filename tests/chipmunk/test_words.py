"""What people take for the same word is the same, in any script, and no search can be anything but a search."""

import pytest

from chipmunk import words
from chipmunk.words import Wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CAFÉ", "cafe"),
        ("Cafe\u0301", "Café"),
        ("İstanbul", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("Straße", "STRASSE"),
        ("Łódź", "lodz"),
        ("ｆｕｌｌ", "full"),
        ("Ærø", "aeroe"[:4]),
    ],
)
def test_case_accents_and_width_make_no_difference(one: str, other: str) -> None:
    assert words.fold(one) == words.fold(other)
    assert words.tag_word(one) == words.tag_word(other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("IMG_1234.jpg", ["img", "1234", "jpg"]),
        ("the who", ["the", "who"]),
        ("夏の海", ["夏", "の", "海"]),
        ("हिन्दी चित्र", ["हिन्दी", "चित्र"]),
        ("مرحبا 🎉 שלום", ["مرحبا", "שלום"]),
        ("a\0b\ud800c", ["a", "b", "c"]),
        ("x" * 1000, ["x" * 64]),
        ("!?…", []),
    ],
)
def test_a_text_is_split_into_its_words(text: str, found: list[str]) -> None:
    assert words.split(text) == found


@pytest.mark.parametrize(
    ("typed", "query", "needed"),
    [
        ("red cat", "('red') & ('cat')", [Wanted(("red", "cat"))]),
        ('"red cat" -dog', "('red' <-> 'cat') & !('dog')", [Wanted(("red", "cat"))]),
        ("red or cat dog", "('red') | ('cat') & ('dog')", [Wanted(("red",)), Wanted(("cat", "dog"))]),
        ("IMG_12*", "('img' <-> '12':*)", [Wanted(("img",), ("12",))]),
        ("-dog", "!('dog')", [Wanted()]),
        ("or or OR", "", []),
        ('"', "", []),
        ("& | ! :* ' \\ <->", "", []),
        ("it's", "('it' <-> 's')", [Wanted(("it", "s"))]),
    ],
)
def test_a_search_is_what_people_type(typed: str, query: str, needed: list[Wanted]) -> None:
    found = words.asked(typed)
    assert (found.query, list(found.alternatives)) == (query, needed)


def test_a_media_has_so_many_words_at_most_and_its_tags_are_among_them() -> None:
    made = words.vector([" ".join(f"w{n}" for n in range(2000))], ["last"], ["private"])
    assert made.count(" ") + 1 == words.MOST_WORDS
    assert made.startswith("'#last':1A ")
    assert "private" not in made
