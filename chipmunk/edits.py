"""Edits: what is done to a picture, as data and as a short string. Pure.

`crop.10.20.300.200~rotate.90~saturation.-100`: operations in their order, each a name and its values, which are whole numbers,
words, the id of a media or a text in base64url. Nothing in it has to be quoted in a URL, in JSON or by a shell, and it has one
spelling only.
"""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chipmunk.errors import BadEdits, TooManyPixels
from chipmunk.ids import parse_id

MOST, LONGEST = 16, 512  # operations; characters of all of them
MOST_STAMPS = 4  # of these operations: each has another original brought and decoded
LARGEST_SIDE = 16_383  # what WebP holds
LONGEST_TEXT = 64
MOST_VARIANTS, LAST_VARIANT = 64, 256  # of a media, each with a number from 1 on that no other ever has
FORMATS = ("webp", "jpeg", "avif")  # that variants may be had in
SHIFT = 65_536  # sines and cosines are counted in parts of this, so that no machine's rounding shows
NUMBER = re.compile(r"0|-?[1-9][0-9]{0,9}")
# What the font has: ASCII, Latin as European languages and Vietnamese write it, Greek, Cyrillic, and some signs.
TEXT = re.compile("[ -~¡-¬®-žȘ-țẞẠ-ỹΆΈ-ΊΌΎ-ΡΣ-ώЀ-џҐґ–—‘-‚“-„†‡•…‰‹›€№℗™←↑→↓]+")

Value = int | str


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within bounds; where it is not `idle` it is not 0, which would do nothing."""

    least: int
    most: int
    idle: bool = True

    def check(self, value: Value) -> bool:
        return isinstance(value, int) and self.least <= value <= self.most and (self.idle or value != 0)

    def read(self, text: str) -> Value | None:
        return int(text) if NUMBER.fullmatch(text) else None

    @property
    def help(self) -> str:
        return f"{self.least} to {self.most}" + ("" if self.idle or self.least > 0 else ", not 0")


@dataclass(frozen=True, slots=True)
class Word:
    """One of these words."""

    words: tuple[str, ...]

    def check(self, value: Value) -> bool:
        return value in self.words

    def read(self, text: str) -> Value | None:
        return text

    @property
    def help(self) -> str:
        return ", ".join(self.words)


@dataclass(frozen=True, slots=True)
class Id:
    """The id of a media, in its one spelling."""

    def check(self, value: Value) -> bool:
        return isinstance(value, str) and parse_id(value) is not None

    def read(self, text: str) -> Value | None:
        return text

    @property
    def help(self) -> str:
        return "the id of a picture"


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; in the string it is base64url of UTF-8, without padding."""

    def check(self, value: Value) -> bool:
        return isinstance(value, str) and len(value) <= LONGEST_TEXT and TEXT.fullmatch(value) is not None

    def read(self, text: str) -> Value | None:
        try:
            return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        except ValueError:
            return None

    @property
    def help(self) -> str:
        return f"up to {LONGEST_TEXT} characters that the font has, in base64url"


Kind = Number | Word | Id | Text
SHARE, PERCENT, SIDE = Number(1, 100), Number(-100, 100, idle=False), Number(0, LARGEST_SIDE)
PLACES = ("nw", "n", "ne", "w", "c", "e", "sw", "s", "se")
KINDS: dict[str, dict[str, Kind]] = {
    "crop": {"left": SIDE, "top": SIDE, "width": Number(1, LARGEST_SIDE), "height": Number(1, LARGEST_SIDE)},
    "rotate": {"degrees": Word(("90", "180", "270"))},
    "straighten": {"tenths": Number(-450, 450, idle=False)},
    "flip": {"axis": Word(("h", "v"))},
    "resize": {"width": SIDE, "height": SIDE},
    "brightness": {"percent": PERCENT},
    "contrast": {"percent": PERCENT},
    "saturation": {"percent": PERCENT},
    "sharpen": {"percent": SHARE},
    "sepia": {"percent": SHARE},
    "hue": {"degrees": Number(-180, 180, idle=False)},
    "blur": {"pixels": SHARE},
    "noise": {"levels": SHARE, "seed": Number(0, 2**32 - 1)},
    "watermark": {"place": Word(PLACES), "size": Number(1, 50), "opacity": SHARE, "text": Text()},
    "stamp": {"place": Word(PLACES), "size": SHARE, "opacity": SHARE, "media": Id()},
}


@dataclass(frozen=True, slots=True)
class Edit:
    """An operation, its values in the order of `KINDS`. Raises BadEdits where it has not just those."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        kinds = _kinds(self.name)
        if len(kinds) != len(self.values):
            raise BadEdits(f"{self.name} has {len(kinds)} values: {', '.join(kinds)}.", field=self.name)
        for (named, kind), value in zip(kinds.items(), self.values, strict=True):
            if not kind.check(value):
                raise BadEdits(f"The {named} of {self.name} is not as it must be: {kind.help}.", field=self.name)
        if self.name == "resize" and self.values == (0, 0):
            raise BadEdits("Of a new size one side is more than 0; the other follows where it is 0.", field=self.name)

    def __str__(self) -> str:
        kinds = KINDS[self.name].values()
        return ".".join([self.name, *(_written(k, v) for k, v in zip(kinds, self.values, strict=True))])

    def number(self, at: int) -> int:
        """The value at that place, which is a number or is written as one."""
        return int(self.values[at])


def _kinds(name: str) -> dict[str, Kind]:
    if name not in KINDS:
        raise BadEdits(f"An edit is one of {', '.join(KINDS)}.")
    return KINDS[name]


def _written(kind: Kind, value: Value) -> str:
    if isinstance(kind, Text):
        return urlsafe_b64encode(str(value).encode()).rstrip(b"=").decode()
    return str(value)


def parse(text: str) -> tuple[Edit, ...]:
    """The edits of a string; BadEdits where it is none, has too many, or is not spelt as `write` does it."""
    if not text or len(text) > LONGEST:
        raise BadEdits(f"Edits are a string of 1 to {LONGEST} characters.")
    found = tuple(_parsed(one) for one in text.split("~"))
    if len(found) > MOST:
        raise BadEdits(f"There are {MOST} edits at most.")
    if sum(edit.name == "stamp" for edit in found) > MOST_STAMPS:
        raise BadEdits(f"There are {MOST_STAMPS} stamps at most.", field="stamp")
    if write(found) != text:
        raise BadEdits(f"Edits have one spelling only, which here is {write(found)}.")
    return found


def _parsed(text: str) -> Edit:
    name, *values = text.split(".")
    kinds, read = _kinds(name), []
    for (named, kind), value in zip(kinds.items(), values, strict=False):
        one = kind.read(value)
        if one is None:
            raise BadEdits(f"The {named} of {name} is not as it must be: {kind.help}.", field=name)
        read.append(one)
    return Edit(name, (*read, *values[len(read) :]))


def write(edits: Sequence[Edit]) -> str:
    return "~".join(map(str, edits))


def stamps(edits: Sequence[Edit]) -> list[UUID]:
    """The media whose pictures these edits lay over another, each once."""
    return list(dict.fromkeys(UUID(hex=str(edit.values[3])) for edit in edits if edit.name == "stamp"))


def sized(edits: Sequence[Edit], width: int, height: int, most_pixels: int) -> tuple[int, int]:
    """The size that edits give a picture of this size. BadEdits where a crop reaches beyond it, TooManyPixels."""
    for edit in edits:
        width, height = size_after(edit, width, height)
        if max(width, height) > LARGEST_SIDE:
            raise BadEdits(f"No side gets longer than {LARGEST_SIDE} pixels.", field=edit.name)
        if width * height > most_pixels:
            raise TooManyPixels(width=width, height=height, most_pixels=most_pixels)
    return width, height


def size_after(edit: Edit, width: int, height: int) -> tuple[int, int]:
    match edit.name:
        case "crop":
            left, top, wide, high = map(int, edit.values)
            if left + wide > width or top + high > height:
                size = f"{width} by {height}"
                raise BadEdits(f"The crop reaches beyond the picture, which is {size} there.", field="crop")
            return wide, high
        case "rotate":
            return (width, height) if edit.number(0) == 180 else (height, width)
        case "straighten":
            sine, cosine = turn(edit.number(0))
            short, long = sorted((width, height))
            whole = cosine * short + abs(sine) * long
            return max(1, width * SHIFT * short // whole), max(1, height * SHIFT * short // whole)
        case "resize":
            wide, high = edit.number(0), edit.number(1)
            return wide or _share(width, high, height), high or _share(height, wide, width)
        case _:
            return width, height


def turn(tenths: int) -> tuple[int, int]:
    """Sine and cosine of an angle in tenths of a degree, in parts of `SHIFT`."""
    angle = math.radians(tenths / 10)
    return round(math.sin(angle) * SHIFT), round(math.cos(angle) * SHIFT)


def _share(side: int, new: int, old: int) -> int:
    return max(1, (2 * side * new + old) // (2 * old))
