"""What an operator says of a backend, in a call or in a setting: its URL, the options of its scheme, and its secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from chipmunk.errors import Unprocessable
from chipmunk.ids import NAME

LOCAL_NAME, LOCAL_URL = "local", "local:"
LONGEST_URL = 1000
MOST_PINNED = 64

Role = Literal["primary", "backup", "archive"]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+$")]
Word = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[\x21-\x7e]*$")]

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "local": {},
    "s3": {"region": "us-east-1", "addressing": "path", "encryption": "", "kms_key": "", "cors": False},
    "ipfs": {"plain": "never"},
}
SECRETS: Mapping[str, tuple[str, ...]] = {"local": (), "s3": ("access_key", "secret_key"), "ipfs": ("token",)}


def kind_of(url: str) -> str:
    """`local`, `s3` or `ipfs`."""
    return url.partition(":")[0].partition("+")[0]


def origin_of(url: str) -> tuple[str, str]:
    """Scheme and host, with the port, which a secret is for."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


class Described(BaseModel):
    """A backend. What is left out is as it was; of a new one, as the defaults say."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    url: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)] = Field(
        description="`s3+https://host/bucket`, `ipfs+http://host:5001`, or `local:` of the backend `local`. No credentials."
    )
    role: Role | None = Field(None, description="What it is to flows that name no backends.")
    choosable: bool = Field(False, description="Whether admins of flows may put them there.")
    access_key: Secret | None = Field(None, repr=False, description="Of S3, with `secret_key`.")
    secret_key: Secret | None = Field(None, repr=False, description="Of S3. Never shown.")
    token: Secret | None = Field(None, repr=False, description="Of IPFS, a bearer token. Never shown; null: none.")
    region: Word = Field("us-east-1", description="Of S3.")
    addressing: Literal["path", "virtual"] = Field("path", description="Of S3: where the bucket's name stands.")
    encryption: Literal["", "AES256", "aws:kms"] = Field("", description="Of S3: by the server, at rest.")
    kms_key: Word = Field("", description="Of S3, with `aws:kms`.")
    cors: bool = Field(False, description="Of S3: whether the bucket is to let in pages of CHIPMUNK_ORIGINS.")
    plain: Literal["never", "public"] = Field(
        "never", description="Of IPFS: whether media of public flows lie there unencrypted, for anyone to read."
    )

    @property
    def kind(self) -> str:
        return kind_of(self.url)

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if url == LOCAL_URL:
            return url
        wrong = _what_is_wrong(url)
        if wrong:
            raise PydanticCustomError("url", "{why}", {"why": wrong})
        return url

    @field_validator("access_key", "secret_key", "token", *OPTIONS["s3"], *OPTIONS["ipfs"])
    @classmethod
    def _of_its_scheme(cls, value: object, info: ValidationInfo) -> object:
        kind = kind_of(info.data.get("url", ""))
        if kind in OPTIONS and info.field_name not in (*OPTIONS[kind], *SECRETS[kind]):
            raise PydanticCustomError("foreign", "This is no field of a backend whose URL begins so")
        return value


def _what_is_wrong(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "This is no URL"
    if url.partition(":")[0] not in ("s3+https", "s3+http", "ipfs+https", "ipfs+http"):
        return "It begins with s3+https:, s3+http:, ipfs+https: or ipfs+http:, or is local:"
    if not re.fullmatch(r"[\x21-\x7e]+", url) or "\\" in url or not parts.hostname or port == 0:
        return "This is no URL of a server"
    if "@" in parts.netloc:
        return "Credentials do not belong into the URL: they have fields of their own"
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        return "Such a URL has no query and no fragment"
    if kind_of(url) == "s3" and not parts.path.strip("/"):
        return "The bucket is missing: s3+https://host/bucket"
    return ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a backend is from now on."""

    url: str
    options: dict[str, Any]
    secret: dict[str, str] = field(repr=False)
    role: Role | None
    choosable: bool


def settled(name: str, given: Described, before: Settled | None = None) -> Settled:
    """What was given, completed by what was there before. Unprocessable, which names the field, where it is not whole.

    A secret is kept for the server that it was given for, and for no other.
    """
    if (name == LOCAL_NAME) != (given.url == LOCAL_URL):
        raise Unprocessable(f"The backend {LOCAL_NAME}, and no other, has the URL {LOCAL_URL}", field="url")
    kept = before if before is not None and kind_of(before.url) == given.kind else None
    said = given.model_dump(exclude_unset=True)
    options = {**OPTIONS[given.kind], **(kept.options if kept else {})}
    options |= {option: said[option] for option in options if option in said}
    if given.kind == "s3" and options["encryption"] != "aws:kms":
        if said.get("kms_key"):
            raise Unprocessable("A KMS key is for the encryption aws:kms.", field="kms_key")
        options["kms_key"] = ""
    return Settled(
        given.url,
        options,
        _secret(given, said, kept),
        said.get("role", before.role if before else None),
        said.get("choosable", before.choosable if before else False),
    )


def _secret(given: Described, said: Mapping[str, Any], kept: Settled | None) -> dict[str, str]:
    names = SECRETS[given.kind]
    if any(name in said for name in names):
        secret = {name: said[name] for name in names if said.get(name)}
    elif kept is not None and origin_of(kept.url) == origin_of(given.url):
        secret = kept.secret
    elif kept is not None and kept.secret:
        raise Unprocessable("Another server needs the credentials anew.", field=names[0])
    else:
        secret = {}
    for name in names if given.kind == "s3" else ():
        if name not in secret:
            raise Unprocessable("A bucket needs access_key and secret_key, both.", field=name)
    return secret


def pinned(text: str) -> dict[str, Settled]:
    """The backends that a setting names, by name. ValueError with a sentence that holds none of its values."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise ValueError("must be a JSON object of backends by name, each named once") from None
    if not isinstance(value, dict) or not 0 < len(value) <= MOST_PINNED:
        raise ValueError(f"must be a JSON object of 1 to {MOST_PINNED} backends by name")
    found = {}
    for name, fields in value.items():
        if not NAME.fullmatch(name):
            raise ValueError("names a backend as none can be named")
        try:
            found[name] = settled(name, Described.model_validate(fields))
        except ValidationError as e:
            first = e.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:64]
            raise ValueError(f"{name}: {where}: {first['msg']}") from None
        except Unprocessable as e:
            raise ValueError(f"{name}: {e.detail.rstrip('.')}") from None
    if [b.role for b in found.values()].count("primary") != 1:
        raise ValueError("needs exactly one backend with the role primary")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found
