"""The shapes of sharing by mail."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from pydantic_core import PydanticCustomError

from chipmunk import recipients
from chipmunk.operations.shapes import Taken

LONGEST_SUBJECT, LONGEST_BODY, LONGEST_ADDRESS = 200, 5000, 254
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # by which a text looks other than it is
REFUSED = {"Cc", "Cs", "Zl", "Zp"}
WEB = re.compile(r"://|\bwww\.|[\w-]\.[a-z]{2,24}(:\d+)?/", re.IGNORECASE)


def _address(text: str) -> str:
    found = recipients.normal(text)
    if found is None:
        raise PydanticCustomError("address", "It is not one plain address, without accents before the @")
    return found


def _written(text: str, but: str) -> str:
    """What a person writes: no control characters but these, no halves of characters, no URLs."""
    if any((unicodedata.category(c) in REFUSED and c not in but) or c in DIRECTIONS for c in text):
        raise PydanticCustomError("text", "It has a character that a mail cannot have")
    if WEB.search(text):
        raise PydanticCustomError("text", "It has the address of a page: mails lead to what is shared and nowhere else")
    return text


def _line(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("text", "It is blank")
    return _written(text.strip(), but="")


def _lines(text: str) -> str:
    return _written(text, but="\n\r\t")


class ShareFields(Taken):
    image_id: Annotated[str, StringConstraints(max_length=128)] = Field(description="Which media.")
    email_address: Annotated[str, StringConstraints(max_length=LONGEST_ADDRESS), AfterValidator(_address)] = Field(
        description="Whom to send it to: one address, in ASCII before the @."
    )
    email_subject: Annotated[str, StringConstraints(max_length=LONGEST_SUBJECT), AfterValidator(_line)] = Field(
        description="One line, without URLs."
    )
    email_body: Annotated[str, StringConstraints(max_length=LONGEST_BODY), AfterValidator(_lines)] = Field(
        description="Text, without URLs; the link comes below it."
    )


class Shared(BaseModel):
    """Nothing: what becomes of the mail is not told."""
