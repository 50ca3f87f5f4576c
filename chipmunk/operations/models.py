"""The shapes that calls take and answer. Sizes are bytes; times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chipmunk.operations.places import Placed, Placement, StoredAt
from chipmunk.operations.shapes import (
    Bytes,
    Colour,
    Description,
    Id,
    Name,
    Posting,
    Role,
    Scope,
    Taken,
    Unsafe,
    Visibility,
)
from chipmunk.sessions import LONGEST_SECONDS


class UserFields(Taken):
    quota_bytes: Bytes | None = Field(
        None, description="Null: no limit. Left out: as it is; a new user gets a default."
    )
    suspended: bool = Field(False, description="Left out: as it is.")


class User(BaseModel):
    id: Name
    quota_bytes: int | None = Field(description="Null: no limit.")
    used_bytes: int = Field(description="What is stored, renditions included.")
    reserved_bytes: int = Field(description="What uploads and renditions under way may still take.")
    media_count: int
    suspended: bool
    created_at: datetime


class SessionFields(Taken):
    user: Name
    ttl_seconds: Annotated[int, Field(ge=1, le=LONGEST_SECONDS)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)] = Field(["view", "upload", "manage"])


class Session(BaseModel):
    id: Id
    token: str
    expires_at: datetime
    enter_url: str = Field(description="Opens once, within 60 s: logs a browser in and, with `?next=`, sends it on.")


class FlowFields(Taken):
    """What is left out stays as it is; a new flow gets the defaults."""

    square: bool = Field(False, description="Whether renditions are cut to squares.")
    visibility: Visibility = Field("private", description="`public`: anyone may use the standing links.")
    posting: Posting = Field("editors", description="`users`: any user may add their own media.")
    description: Description = ""
    unsafe: Unsafe = Field("allow", description="What becomes of unsafe media: nothing, a flag, or they are held.")
    backends: Placement = Field([], description="Where its media lie from now on; empty: where the operator says.")


class Flow(BaseModel):
    id: Name
    square: bool
    visibility: Visibility
    posting: Posting
    description: str
    unsafe: Unsafe
    backends: list[Placed] = Field(description="Empty: as the operator says.")
    created_at: datetime


class MemberFields(Taken):
    role: Role


class Member(BaseModel):
    user: Name
    role: Role


class Rung(BaseModel):
    quality: Annotated[int, Field(ge=1, le=6)]
    width: int
    height: int
    bytes: int


class Music(BaseModel):
    """What a music file says of itself."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    duration_seconds: float | None = None
    cover: bool | None = Field(None, description="Whether its rungs are of a cover; else they show how loud it is.")


class Provenance(BaseModel):
    """What a C2PA manifest says of a file, and whether it holds."""

    state: Literal["trusted", "valid", "invalid", "unreadable"] = Field(
        description="`valid`: as it was signed, by somebody whom the operator's certificates do not name."
    )
    title: str | None = None
    generator: str | None = Field(None, description="The camera or program that made it.")
    issuer: str | None = Field(None, description="The organisation of whose certificate signed it.")
    signed_by: str | None = None
    signed_at: str | None = None
    actions: list[str] = Field([], description="What was done, as `c2pa.created`.")
    sources: list[str] = Field([], description="Kinds of source, as `digitalCapture` or `trainedAlgorithmicMedia`.")
    ingredients: int = Field(0, description="How many files it was made from.")
    faults: list[str] = Field([], description="What does not hold, in codes of C2PA.")


class Motion(BaseModel):
    """Of a video or an animation; of all else it is empty."""

    duration_seconds: float | None = Field(
        None, description="Null: the file does not say, and is too long to be counted."
    )
    frame_rate: float | None = Field(None, description="Frames a second, on the average.")
    video_codec: str | None = Field(None, description="`h264`, `vp9`, `av1`, …")
    audio_codec: str | None = Field(None, description="`aac`, `opus`, …; null: it is silent.")
    frames: int | None = Field(None, description="Of an animation.")
    loop: int | None = Field(None, description="How often an animation is shown; 0: for ever.")
    rotation: int | None = Field(
        None, description="0, 90, 180 or 270 degrees clockwise, which players and rungs apply."
    )


class SeenClass(BaseModel):
    class_: str = Field(alias="class")
    score: float = Field(description="From 0 to 1.")


class Origin(BaseModel):
    url: str = Field(description="What it was fetched from.")
    page: str | None = Field(description="The page that showed it there.")


Kind = Literal["image", "audio", "video", "file"]


class Media(BaseModel):
    """What is marked so is for the app and the owner; other members of its flows get neither it nor their other flows."""

    id: Id
    owner: Name
    kind: Kind
    status: Literal["processing", "ready", "failed"]
    reason: str | None = Field(None, description="Why it failed. For the app and the owner.")
    mime: str
    filename: str
    title: str = Field(description="The file name, where nobody has set one.")
    notes: str | None = Field(None, description="For the app and the owner.")
    tags: list[str]
    classes: list[SeenClass] | None = Field(description="What a model saw, the best first; null: none looked.")
    unsafe: float | None = Field(None, description="How likely it is unsafe, 0 to 1. For the app and the owner.")
    review: Literal["flagged", "held", "approved"] | None = Field(description="What came of that.")
    width: int | None
    height: int | None
    bytes: int = Field(description="Of the original.")
    total_bytes: int | None = Field(None, description="Original and renditions. For the app and the owner.")
    sha256: str | None = Field(None, description="Of the original. For the app and the owner.")
    placeholder: str | None = Field(description="A thumbhash, in base64.")
    dominant_colour: Colour | None = Field(description="What most of the picture has; the first of `palette`.")
    palette: list[Colour] = Field(max_length=6, description="Its colours that differ, by how much of it they are.")
    rungs: list[Rung]
    music: Music
    provenance: Provenance | None = Field(None, description="Of an original with a C2PA manifest.")
    motion: Motion
    origin: Origin | None = Field(None, description="Of one that was fetched. For the app and the owner.")
    meta: dict[str, Any] | None = Field(None, description="What its uploader said of it. For the app and the owner.")
    source: Id | None = Field(None, description="The media that it is an edit of. For the app and the owner.")
    edits: str | None = Field(None, description="What was done to that, where it was done here. Likewise.")
    flows: list[Name]
    url: str | None = Field(description="`/<signed id>/` of the standing link; a quality and a slash follow.")
    created_at: datetime
    job: Id | None = Field(None, description="What makes the renditions. For the app and the owner.")
    trashed_at: datetime | None = Field(None, description="Since when it is in the trash. For the app and the owner.")
    purge_at: datetime | None = Field(None, description="When it will be purged from there. For the app and the owner.")
    stored: list[StoredAt] | None = Field(
        None, description="Where it lies or is to lie. For the app and the owner, of one media, in no list."
    )
    cid: str | None = Field(None, description="Of an original that lies on IPFS unencrypted. Likewise.")


class Similar(BaseModel):
    distance: int = Field(ge=0, le=11, description="How many of 64 bits are others: 0 to 4, the same picture.")
    media: Media


class Upload(Taken):
    user: Name | None = Field(None, description="Whose it is; needed with an API key.")
    flow: Name | list[Name] | None = None
    filename: str | None = None
    data: str | None = Field(None, description="Base64, or a `data:` URI.")
    url: str | None = Field(None, description="Where to fetch it, in place of `data`.")


class Form(Taken):
    file: str = Field(json_schema_extra={"contentMediaType": "application/octet-stream"})
    user: Name | None = Field(None, description="Whose it is; needed with an API key.")
    flow: Name | list[Name] | None = Field(None, description="May be repeated.")


class Job(BaseModel):
    id: Id
    kind: Literal[
        "ladder", "purge_media", "purge_user", "copy", "move", "scrub", "fetch", "collect", "images", "mail", "after_ingest",
        "classify", "judge",
    ]  # fmt: skip
    state: Literal["queued", "running", "completed", "failed", "failed_partial", "cancelled"]
    attempts: int
    reason: str | None
    media: Id | None
    progress: dict[str, int] | None = Field(None, description="How far it has come, where that can be counted.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobStarted(BaseModel):
    job: Id


class JobImage(BaseModel):
    number: int
    media: Id = Field(description="The id that it has, or will have.")
    state: Literal["waiting", "running", "stored", "there", "failed", "cancelled"] = Field(
        description="`there`: its like was there already, and `media` is that one."
    )
    reason: str | None
    source: str
    page: str | None


class Health(BaseModel):
    status: Literal["ok", "degraded"] = Field(description="`degraded`: Redis or a backend is down; slower, but right.")
    down: list[str] = Field(description="`redis`, and `backends` where one failed its last check.")


class Problem(BaseModel):
    """RFC 9457, with a stable `code` and the ids involved."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str


class Resumable(BaseModel):
    """A resumable upload. `ingesting`: all its bytes are there; `stored`: it is a media, of the same id."""

    id: Id
    state: Literal["open", "ingesting", "stored", "failed"]
    offset: int = Field(description="How many bytes are there for good.")
    length: int | None = Field(description="Null: it has not been said yet.")
    expires_at: datetime
    media: Id | None
    problem: Problem | None = Field(description="What it was refused with, where it failed.")
