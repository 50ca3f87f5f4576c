"""Words by which media are found: what a text folds to, which words are in it, and what a search asks for.

PostgreSQL's full text search matches them; its parser, its dictionaries and its `websearch_to_tsquery` take no part, so
that no language loses its stop words, the server's locale changes nothing, and `IMG_1234.jpg` is three words, not one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_WORD, LONGEST_TAG = 64, 128  # of what they fold to
MOST_WORDS = 500  # of a media
GAP = 8  # between two texts, so that no phrase goes from one to the next
LAST_POSITION = 16_383  # that a tsvector tells apart
MARKS = re.compile("[\u0300-\u036f]")  # the accents of Latin, Greek and Cyrillic; other scripts' marks make other words
LETTERS = str.maketrans({"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"})
UNSPACED = re.compile(  # scripts that put no spaces between words: each character is one
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


def fold(text: str) -> str:
    """What texts have in common that people take for the same: case, accents and width make no difference."""
    folded = unicodedata.normalize("NFKD", text.casefold()).casefold()
    return unicodedata.normalize("NFC", MARKS.sub("", folded).translate(LETTERS))


def tag_word(tag: str) -> str:
    """What stands for a whole tag; no word in a text has its first character."""
    return "#" + fold(tag)[:LONGEST_TAG]


def split(text: str) -> list[str]:
    """The words of a text, folded, in order."""
    spaced = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in fold(text))
    return [word[:LONGEST_WORD] for word in UNSPACED.sub(r" \g<0> ", spaced).split()]


def texts(value: Any) -> Iterator[str]:
    """Every string, number and name of a member in a JSON value."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield name
            yield from texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from texts(below)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield str(value)


def vector(shown: Iterable[str], tags: Sequence[str], owners: Iterable[str]) -> str:
    """A tsvector of what all may find a media by who see it (weight A), and of what its owner may (none).

    It has the first 500 words, the tags always among them.
    """
    places: dict[str, list[str]] = {tag_word(tag): ["1A"] for tag in tags}
    at = 1
    for weight, several in (("A", [*shown, *tags]), ("", owners)):
        for text in several:
            at += GAP
            for word in split(text):
                at += 1
                if at <= LAST_POSITION and (word in places or len(places) < MOST_WORDS):
                    places.setdefault(word, []).append(f"{at}{weight}")
    return " ".join(f"{quoted(word)}:{','.join(where)}" for word, where in places.items())


def of_media(
    filename: str,
    music: dict[str, Any],
    meta: dict[str, Any] | None,
    title: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] = (),
    classes: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """A tsvector of all that a media is found by; notes and meta are its owner's. Its classes are found as tags are."""
    return vector(
        [title or "", filename, *(said for said in music.values() if isinstance(said, str))],
        [*tags, *(one["class"] for one in classes or ())],
        [notes or "", *texts(meta or {})],
    )


def quoted(word: str) -> str:
    """As a tsvector and a tsquery have it."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one of several alternatives needs: all these words, and words that begin with each of these."""

    words: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as a tsquery, and what each of its alternatives needs; no alternatives: it finds nothing."""

    query: str
    alternatives: tuple[Wanted, ...]


def asked(text: str) -> Asked:
    """What people type: words that all must be there, "a phrase", -without, one or another, begin*."""
    alternatives: list[tuple[list[str], list[str], list[str]]] = [([], [], [])]
    for minus, phrase, term in TERM.findall(text):
        if not minus and term.casefold() == "or":
            alternatives.append(([], [], []))
            continue
        found = split(phrase or term)
        if not found:
            continue
        begins = not phrase and term.endswith("*")
        parts, words, beginnings = alternatives[-1]
        unit = " <-> ".join(quoted(word) for word in found) + (":*" if begins else "")
        parts.append(f"!({unit})" if minus else f"({unit})")
        if not minus:
            words += found[:-1] if begins else found
            beginnings += found[-1:] if begins else []
    kept = [one for one in alternatives if one[0]]
    return Asked(
        " | ".join(" & ".join(parts) for parts, _, _ in kept),
        tuple(Wanted(tuple(dict.fromkeys(words)), tuple(begin)) for _, words, begin in kept),
    )
