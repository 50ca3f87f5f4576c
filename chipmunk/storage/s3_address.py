"""Where a bucket is and how it wants to be spoken to: the URL and the options of an S3 backend, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from chipmunk.errors import BadBackend
from chipmunk.storage import BadKey, check_key

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SHAPE = "The URL of an S3 backend is s3+https://host[:port]/bucket[/prefix]."
ENCRYPTIONS = ("", "AES256", "aws:kms")


@dataclass(frozen=True, slots=True)
class Address:
    """`prefix` is empty or ends in a slash."""

    endpoint: str
    bucket: str
    prefix: str


def parse(url: str) -> Address:
    """BadBackend where it is none; that one never repeats the URL, which may hold what should not be in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadBackend(SHAPE) from None
    if "@" in parts.netloc:
        raise BadBackend("The URL of a backend holds no credentials: give them as its secret.")
    if parts.scheme not in ("s3+https", "s3+http") or not host or "?" in url or "#" in url:
        raise BadBackend(SHAPE)
    bucket, _, prefix = parts.path.removeprefix("/").partition("/")
    if not BUCKET.fullmatch(bucket) or ".." in bucket:
        raise BadBackend("This is not the name of an S3 bucket.", bucket=bucket)
    try:
        prefix = check_key(f"{prefix.removesuffix('/')}/", folder=True) if prefix else ""
    except BadKey:
        raise BadBackend("The prefix in the URL is not a path that objects could lie below.") from None
    name = f"[{host}]" if ":" in host else host
    return Address(f"{parts.scheme[3:]}://{name}{f':{port}' if port else ''}", bucket, prefix)


@dataclass(frozen=True, slots=True)
class Options:
    """As in the row of the backend. `encryption` is what the server is asked to do, `kms_key` with which of its keys."""

    region: str = "us-east-1"
    addressing: Literal["path", "virtual"] = "path"
    encryption: Literal["", "AES256", "aws:kms"] = ""
    kms_key: str = ""
    cors: bool = False

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """BadBackend names the option that is wrong or unknown."""
        if unknown := sorted(set(given) - set(cls.__slots__)):
            raise BadBackend(f"An S3 backend has no option {unknown[0]!r}.", option=unknown[0])
        options = cls(**given)
        right = {
            "region": isinstance(options.region, str) and bool(REGION.fullmatch(options.region)),
            "addressing": options.addressing in ("path", "virtual"),
            "encryption": options.encryption in ENCRYPTIONS,
            "kms_key": isinstance(options.kms_key, str) and (not options.kms_key or options.encryption == "aws:kms"),
            "cors": isinstance(options.cors, bool),
        }
        if wrong := [name for name, fine in right.items() if not fine]:
            raise BadBackend(f"The option {wrong[0]!r} of an S3 backend cannot be that.", option=wrong[0])
        return options

    def sealing(self) -> dict[str, Any]:
        """What an operation that keeps bytes says about their encryption at rest."""
        said = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in said.items() if value}
