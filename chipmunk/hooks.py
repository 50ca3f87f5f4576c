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
from typing import Any, BinaryIO, ClassVar, cast, get_type_hints

from chipmunk.errors import Unavailable, Unprocessable

GROUP = "chipmunk.plugins"
KINDS = frozenset({"image", "audio", "video", "file"})
LONGEST_REASON = 300
MOST_TAGS, LONGEST_TAG = 32, 64
MODES = {"file": "rb", "out": "wb"}  # of the fields that are files
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
class Mailing:
    """before_share: a mail that is about to be sent, with a link to a media of this kind and type."""

    media: str
    kind: str
    mime: str
    flows: tuple[str, ...]
    address: str
    subject: str
    text: str


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


Handed = Arrival | Ingested | Mailing | Rendering
Answer = Refused | Tagged | Overlay | None


class BadAnswer(ValueError):
    """What a plug-in answered is nothing that its hook may be answered."""


@dataclass(frozen=True, slots=True)
class Hook:
    """`handed`: the class that is handed over; `answers`: what it may be answered beside None."""

    handed: type[Handed]
    answers: tuple[type[Refused] | type[Tagged] | type[Overlay], ...]


BEFORE_INGEST, AFTER_INGEST, RENDER, BEFORE_SHARE = "before_ingest", "after_ingest", "render", "before_share"
HOOKS = {
    BEFORE_INGEST: Hook(Arrival, (Refused,)),
    AFTER_INGEST: Hook(Ingested, (Tagged,)),
    RENDER: Hook(Rendering, (Overlay,)),
    BEFORE_SHARE: Hook(Mailing, (Refused,)),
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
