"""Shapes of what people say of a media."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from chipmunk.operations.shapes import Taken

LONGEST_TITLE, LONGEST_NOTES, LONGEST_TAG, MOST_TAGS = 200, 5000, 64, 50


def _line(text: str) -> str:
    return _kept(text, "")


def _lines(text: str) -> str:
    return _kept(text, "\n\t")


def _kept(text: str, control: str) -> str:
    """In NFC and trimmed; of control characters these alone."""
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in control for c in text):
        raise PydanticCustomError("text", "It has a control character in it, or half of a surrogate pair")
    return unicodedata.normalize("NFC", text).strip()


Title = Annotated[str, AfterValidator(_line), Field(max_length=LONGEST_TITLE)]
Notes = Annotated[str, AfterValidator(_lines), Field(max_length=LONGEST_NOTES)]
Tag = Annotated[str, AfterValidator(_line), Field(min_length=1, max_length=LONGEST_TAG)]


class MediaFields(Taken):
    """What is left out stays as it is."""

    title: Title | None = Field(None, description="Null or empty: the file name.")
    notes: Notes | None = Field(None, description="For the app and the owner.")
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = Field([], description="Two that differ in case are one.")
