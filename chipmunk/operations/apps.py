"""Shapes of apps and their API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from chipmunk.keys import KeyScope
from chipmunk.operations.shapes import Bytes, Id, Name, Taken

PerMinute = Annotated[int, Field(ge=1, le=100_000_000)]
Note = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
LONGEST_GRACE_SECONDS = 2_592_000


class AppFields(Taken):
    """What is left out stays as it is; null is as the settings say."""

    quota_bytes: Bytes | None = Field(None, description="Of all its users together; null: no limit.")
    user_quota_bytes: Bytes | None = Field(None, description="Of a user that is made without a quota.")
    calls_per_minute: PerMinute | None = Field(None, description="Of all its keys and users together; null: no limit.")
    uploads_per_minute: PerMinute | None = Field(None, description="Likewise.")
    mails_per_day: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(None, description="Mails in any 24 hours.")


class App(BaseModel):
    id: Name
    quota_bytes: int | None
    user_quota_bytes: int | None
    calls_per_minute: int | None
    uploads_per_minute: int | None
    mails_per_day: int | None
    used_bytes: int = Field(description="What its users have stored, renditions included.")
    reserved_bytes: int = Field(description="What uploads and renditions under way may still take.")
    media_count: int
    user_count: int
    created_at: datetime


class KeyFields(Taken):
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=3)] = Field(
        ["admin"], description="`read` looks at everything, `upload` uploads for any user, `admin` does all there is."
    )
    description: Note = Field("", description="What it is for.")


class RotateFields(Taken):
    grace_seconds: Annotated[int, Field(ge=0, le=LONGEST_GRACE_SECONDS)] = Field(
        0, description="How long the key before goes on working."
    )


class ApiKey(BaseModel):
    id: Id = Field(description="A handle; it opens nothing.")
    scopes: list[KeyScope]
    description: str
    key: str | None = Field(None, description="Told once: where it was made.")
    from_settings: bool = Field(description="Whether it is that of `CHIPMUNK_API_KEY`, which changes it.")
    expires_at: datetime | None = Field(description="When it ends that another has taken the place of.")
    created_at: datetime
