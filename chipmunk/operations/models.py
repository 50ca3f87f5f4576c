"""The shapes that calls take and answer. Sizes are bytes; times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Bytes = Annotated[int, Field(ge=0, le=2**62)]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
TEN_YEARS = 10 * 366 * 86400
YEAR = 366 * 86400


class Taken(BaseModel):
    """What a caller sends: no other fields, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class UserFields(Taken):
    quota_bytes: Bytes | None = Field(None, description="Null: no limit. Left out: as it is, or the default.")
    suspended: bool | None = None


class User(BaseModel):
    id: Name
    quota_bytes: int | None
    used_bytes: int
    reserved_bytes: int
    media_count: int
    suspended: bool
    created_at: datetime


class SessionFields(Taken):
    user: Name
    ttl_seconds: Annotated[int, Field(ge=1, le=YEAR)]
    scopes: list[Literal["view", "upload", "manage"]] = Field(["view", "upload", "manage"], max_length=3)


class Session(BaseModel):
    id: Id
    token: str
    expires_at: datetime
    enter_url: str = Field(
        description="Opens once, within 60 s, and logs the browser in; `?next=` says where it goes on."
    )


class LinkFields(Taken):
    audience: Annotated[str, StringConstraints(pattern=r"^(owner|anyone|user:[A-Za-z0-9][A-Za-z0-9._@-]{0,127})$")]
    ttl_seconds: Annotated[int, Field(ge=1, le=TEN_YEARS)] | None = None
    original: bool | None = Field(None, description="Whether quality 0 may be had. Default: not by anyone, else yes.")


class Link(BaseModel):
    id: Id
    url: str
    media: Id
    audience: str
    original: bool
    expires_at: datetime | None
    created_at: datetime


class FlowFields(Taken):
    square: bool | None = None
    visibility: Literal["private", "public"] | None = None
    posting: Literal["editors", "users"] | None = None
    description: Text | None = None


class Flow(BaseModel):
    id: Name
    square: bool
    visibility: Literal["private", "public"]
    posting: Literal["editors", "users"]
    description: str
    created_at: datetime


class MemberFields(Taken):
    role: Literal["viewer", "editor", "admin"]


class Member(BaseModel):
    user: Name
    role: Literal["viewer", "editor", "admin"]


class Rung(BaseModel):
    quality: Annotated[int, Field(ge=1, le=6)]
    width: int
    height: int
    bytes: int


class Media(BaseModel):
    id: Id
    owner: Name
    kind: Literal["image", "audio", "video", "file"]
    status: Literal["processing", "ready", "failed"]
    reason: str | None = None
    mime: str
    filename: str | None = Field(None, description="For the app and the owner.")
    width: int | None
    height: int | None
    bytes: int
    total_bytes: int | None = Field(None, description="Original and renditions; for the app and the owner.")
    sha256: str | None = Field(None, description="For the app and the owner.")
    placeholder: str | None = Field(description="A thumbhash, in base64.")
    rungs: list[Rung]
    tags: dict[str, str | float]
    flows: list[Name]
    url: str | None = Field(description="`/<id>/` of the standing link; a quality follows.")
    created_at: datetime
    job: Id | None = Field(None, description="For the app and the owner.")


class Upload(Taken):
    user: Name | None = None
    flow: Name | list[Name] | None = None
    filename: str | None = None
    data: str = Field(description="Base64, or a `data:` URI whose declared type means nothing.")


class Job(BaseModel):
    id: Id
    kind: str
    state: Literal["queued", "running", "completed", "failed", "cancelled"]
    attempts: int
    reason: str | None
    media: Id | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobStarted(BaseModel):
    job: Id


class Health(BaseModel):
    status: Literal["ok", "degraded", "down"]
    down: list[str]


class Problem(BaseModel):
    """RFC 9457, with a stable `code` and the ids involved."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
