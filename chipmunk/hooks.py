"""Hooks: the moments at which plug-ins are asked, what each is handed, and what it may answer.

A plug-in is a subclass of `Plugin` that has a method named after each hook it takes part in. It is made and asked in a
process of its own, which has nothing of the service but what the hook hands it. docs/reference/plugins.md is held to
this module by a test.
"""

from __future__ import annotations

import io
import os
import re
import socket
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, BinaryIO, ClassVar, cast, get_type_hints

from chipmunk.errors import Unavailable, Unprocessable

GROUP = "chipmunk.plugins"
KINDS = frozenset({"image", "audio", "video", "file"})
LONGEST_REASON = 300
MOST_TAGS, LONGEST_TAG = 32, 64
MOST_CLASSES, LONGEST_CLASS = 32, 64
MODES = {"file": "rb", "out": "wb"}  # of the fields that are files
SHARING_PATH = "/-/before_share"  # of a compressor, for the API's process
NOT_OPEN = io.BytesIO()  # what the service has in the place of a file: it opens one for each question
UNPRINTABLE = re.compile(r"[^\w\s!-~–—…]")


class RefusedByPlugin(Unprocessable):
    code = "refused_by_plugin"
    sentence = "A plug-in of this installation refuses it."


class PluginUnavailable(Unavailable):
    code = "plugin_unavailable"
    sentence = "A plug-in that has to agree does not answer; try again later."
    retry_after = 30


@dataclass(frozen=True, slots=True)
class Arrival:
    """before_ingest: a file that has arrived whole and is nothing yet. `sha256` is in hexadecimal, `flows` are names."""

    kind: str
    mime: str
    length: int
    sha256: str
    filename: str | None
    flows: tuple[str, ...]
    file: BinaryIO = NOT_OPEN


@dataclass(frozen=True, slots=True)
class Ingested:
    """after_ingest: an original that is a media now, some time later, and maybe more than once."""

    media: str
    kind: str
    mime: str
    length: int
    sha256: str
    filename: str | None
    flows: tuple[str, ...]
    file: BinaryIO = NOT_OPEN


@dataclass(frozen=True, slots=True)
class Sharing:
    """before_share: a link to a media of this kind and type that is about to be made, or a mail with one to be sent.

    `audience` is `anyone`, or `user:` and a name; the others are of a mail.
    """

    media: str
    kind: str
    mime: str
    flows: tuple[str, ...]
    audience: str
    address: str | None = None
    subject: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """render: a picture, or a cover, of which rungs 4 to 6 are about to be made; rung 6 is `width` by `height` pixels.

    An overlay is written into `out`: a PNG of that size, of at most 1 MiB.
    """

    media: str
    kind: str
    mime: str
    width: int
    height: int
    flows: tuple[str, ...]
    out: BinaryIO = NOT_OPEN


@dataclass(frozen=True, slots=True)
class Looked:
    """classify: a picture, a cover or a poster. `file` has `frames` frames of it, 1 to 4 evenly spread where it moves, one
    after another: of each the rows from the top, of three bytes a pixel, red, green and blue; `width` by `height` pixels.
    """

    media: str
    kind: str
    mime: str
    width: int
    height: int
    frames: int
    flows: tuple[str, ...]
    file: BinaryIO = NOT_OPEN


@dataclass(frozen=True, slots=True)
class Refused:
    """It shall not be: before_ingest, before_share. `reason` is a sentence for whoever sent it, at most 300 characters."""

    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise BadAnswer("a refusal has a reason")
        object.__setattr__(self, "reason", UNPRINTABLE.sub("?", self.reason)[:LONGEST_REASON])


@dataclass(frozen=True, slots=True)
class Tagged:
    """after_ingest: tags that the media has from now on, beside those it has: at most 32 of at most 64 characters."""

    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.tags, list | tuple) or len(self.tags) > MOST_TAGS:
            raise BadAnswer(f"at most {MOST_TAGS} tags")
        for tag in self.tags:
            if not isinstance(tag, str) or not tag.strip() or len(tag) > LONGEST_TAG or not tag.isprintable():
                raise BadAnswer(f"a tag is 1 to {LONGEST_TAG} printable characters")
        object.__setattr__(self, "tags", tuple(unicodedata.normalize("NFC", tag).strip() for tag in self.tags))


@dataclass(frozen=True, slots=True)
class Overlay:
    """render: what was written into `out` is laid over these rungs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """classify: at most 32 classes, of at most 64 characters, and how likely it is unsafe, or None; scores are from 0 to 1."""

    classes: tuple[tuple[str, float], ...] = ()
    unsafe: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.classes, list | tuple) or len(self.classes) > MOST_CLASSES:
            raise BadAnswer(f"at most {MOST_CLASSES} classes")
        object.__setattr__(self, "classes", tuple(_class(one) for one in self.classes))
        if self.unsafe is not None:
            object.__setattr__(self, "unsafe", _score(self.unsafe))


def _class(given: object) -> tuple[str, float]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise BadAnswer("a class is a name and a score")
    name, score = given
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_CLASS or not name.isprintable():
        raise BadAnswer(f"a class is 1 to {LONGEST_CLASS} printable characters")
    return unicodedata.normalize("NFC", name).strip(), _score(score)


def _score(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, Real) or given < 0 or not given <= 1:
        raise BadAnswer("a score is a number from 0 to 1")
    return round(float(given), 4)


Handed = Arrival | Ingested | Looked | Rendering | Sharing
Answer = Refused | Tagged | Overlay | Seen | None


class BadAnswer(ValueError):
    """What a plug-in answered is nothing that its hook may be answered."""


@dataclass(frozen=True, slots=True)
class Hook:
    """`handed`: the class that is handed over; `answers`: what it may be answered beside None."""

    handed: type[Handed]
    answers: tuple[type[Refused] | type[Tagged] | type[Overlay] | type[Seen], ...]


BEFORE_INGEST, AFTER_INGEST, RENDER, CLASSIFY, BEFORE_SHARE = (
    "before_ingest", "after_ingest", "render", "classify", "before_share"
)  # fmt: skip
HOOKS = {
    BEFORE_INGEST: Hook(Arrival, (Refused,)),
    AFTER_INGEST: Hook(Ingested, (Tagged,)),
    RENDER: Hook(Rendering, (Overlay,)),
    CLASSIFY: Hook(Looked, (Seen,)),
    BEFORE_SHARE: Hook(Sharing, (Refused,)),
}


class Plugin:
    """What plug-ins inherit from.

    `kinds` of media it is asked about; `connects` names the option that holds an address, `unix:/path` or `host:port`:
    for each question the service opens a connection there and hands it over as `self.connection`. `options` are the
    plug-in's own of `CHIPMUNK_PLUGIN_OPTIONS`; one whose name ends in `_file` is a path that it may read.
    """

    kinds: ClassVar[frozenset[str]] = KINDS
    connects: ClassVar[str | None] = None
    connection: socket.socket

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options


def taken(plugin: type[Plugin]) -> tuple[str, ...]:
    """The hooks that a plug-in takes part in."""
    return tuple(name for name in HOOKS if callable(getattr(plugin, name, None)))


def sent(handed: Handed) -> dict[str, Any]:
    """What is handed over as JSON; its file goes beside that."""
    return {name: getattr(handed, name) for name in get_type_hints(type(handed)) if name not in MODES}


def received(hook: str, fields: Mapping[str, Any], descriptors: list[int]) -> tuple[Handed, BinaryIO | None]:
    """What `sent` sent, with its file opened from the first descriptor, which it owns; and that file."""
    given, file = {**fields, "flows": tuple(fields["flows"])}, None
    for name, mode in MODES.items():
        if name in get_type_hints(HOOKS[hook].handed):
            file = given[name] = os.fdopen(descriptors.pop(0), mode)
    return HOOKS[hook].handed(**given), cast(BinaryIO | None, file)


def told(hook: str, answer: object) -> dict[str, Any] | None:
    """An answer as JSON, or BadAnswer."""
    if answer is None:
        return None
    if not isinstance(answer, HOOKS[hook].answers):
        raise BadAnswer(f"{hook} is not answered by {type(answer).__name__}")
    return {type(answer).__name__: asdict(answer)}


def heard(hook: str, answer: object) -> Answer:
    """What `told` told, however little it is to be trusted, or BadAnswer."""
    if answer is None:
        return None
    for cls in HOOKS[hook].answers:
        if isinstance(answer, dict) and list(answer) == [cls.__name__]:
            try:
                return cls(**answer[cls.__name__])
            except TypeError:
                raise BadAnswer(f"{cls.__name__} has other fields") from None
    raise BadAnswer(f"{hook} has other answers")
