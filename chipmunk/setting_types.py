"""Kinds of values that settings have, each checked where it is read. A list is words with commas between them."""

from __future__ import annotations

import json
import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from chipmunk.addresses import Allowed
from chipmunk.backend_fields import pinned

ORIGIN = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?"
)  # as browsers send it
SHORTEST_KEY = 16  # 128 bits, were each character a random byte
ASYMMETRIC = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
TOLD = {"classes", "unsafe"}


def _words(value: object) -> object:
    return tuple(w.strip() for w in value.split(",") if w.strip()) if isinstance(value, str) else value


def _key(prefix: str) -> AfterValidator:
    def checked(value: str) -> str:
        if value and not re.fullmatch(prefix + r"[A-Za-z0-9._~+/=-]{8,200}", value):
            raise ValueError(f"must be {prefix} and 8 to 200 letters, digits or . _ ~ + / = -")
        return value

    return AfterValidator(checked)


def _long_enough(value: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(v) < SHORTEST_KEY for v in value):
        raise ValueError(f"each must have {SHORTEST_KEY} characters or more")
    return value


def _pinned(value: str) -> str:
    if value:
        pinned(value)
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ip_network(v, strict=False)) for v in value)


def _allowed(value: tuple[str, ...]) -> tuple[str, ...]:
    Allowed.parse(value)
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for v in value:
        if not ORIGIN.fullmatch(v):
            raise ValueError(f"{v!r} is not an origin like https://app.example.com")
    return value


def _plugin_options(value: str) -> str:
    try:
        found = json.loads(value or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise ValueError('must be JSON: {"name of a plug-in": {"option": value}}')
    for name, options in found.items():
        flows = options.get("flows", [])
        if not isinstance(flows, list) or not all(isinstance(f, str) for f in flows):
            raise ValueError(f"{name}: flows is a list of names")
    return value


def _web(value: str) -> str:
    if value and urlsplit(value).scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


def _asymmetric(value: tuple[str, ...]) -> tuple[str, ...]:
    if not set(value) <= ASYMMETRIC:
        raise ValueError(f"only asymmetric ones: {', '.join(sorted(ASYMMETRIC))}")
    return value


def _told(value: tuple[str, ...]) -> tuple[str, ...]:
    if not set(value) <= TOLD:
        raise ValueError(f"only {' and '.join(sorted(TOLD))}")
    return value


def _up_to(most: int) -> AfterValidator:
    def checked(value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 <= v <= most for v in value):
            raise ValueError(f"six numbers from 0 to {most}, rung 1 first")
        return value

    return AfterValidator(checked)


def _smtp(value: str) -> str:
    if value:
        from chipmunk import mail  # with all that writes mails, which most processes never do

        mail.server(value)
    return value


def _sender(value: str) -> str:
    if value:
        from chipmunk import mail

        mail.sender(value)
    return value


def _certificates(value: str) -> str:
    try:
        if value and "-----BEGIN CERTIFICATE-----" not in Path(value).read_text():
            raise ValueError("must be the path of certificates in PEM")
    except OSError as e:
        raise ValueError(f"cannot be read: {e.strerror}") from None
    return value


def _printable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:/\[\]@%+-]*", value):
        raise ValueError("has a character that such a value cannot have")
    return value


def _network(value: str) -> str:
    if value and not re.fullmatch(r"efficientnet-lite0|open-nsfw|/[^/.][^\x00]*\.onnx", value):
        raise ValueError("is the name of a model, or the path of a file that ends in .onnx, from the root on")
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Folder = Annotated[str, Field(pattern="^/[^/.]")]
Folders = Annotated[tuple[Folder, ...], BeforeValidator(_words)]
PluginOptions = Annotated[str, AfterValidator(_plugin_options)]
Six = Annotated[tuple[int, int, int, int, int, int], BeforeValidator(_words)]
ApiKey = Annotated[str, _key("cmk_")]
OperatorKey = Annotated[str, _key("cmo_")]
Keys = Annotated[Words, AfterValidator(_long_enough)]
Pinned = Annotated[str, AfterValidator(_pinned)]
Absolute = Annotated[Path, AfterValidator(lambda value: Path(os.path.abspath(value)))]
Networks = Annotated[Words, AfterValidator(_networks)]
Reachable = Annotated[Words, AfterValidator(_allowed)]
Origins = Annotated[Words, AfterValidator(_origins)]
WebAddress = Annotated[str, AfterValidator(_web)]
Certificates = Annotated[str, AfterValidator(_certificates)]
Asymmetric = Annotated[Words, AfterValidator(_asymmetric)]
Told = Annotated[Words, AfterValidator(_told)]
Qualities = Annotated[Six, _up_to(100)]
Efforts = Annotated[Six, _up_to(6)]
MailServer = Annotated[str, AfterValidator(_smtp)]
Network = Annotated[str, AfterValidator(_network)]
Sender = Annotated[str, AfterValidator(_sender)]
Printable = Annotated[str, AfterValidator(_printable)]
