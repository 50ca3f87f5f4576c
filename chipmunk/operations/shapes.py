"""What the shapes of calls are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chipmunk.ids import NAME
from chipmunk.sessions import LONGEST_SECONDS

NAME_PATTERN = f"^{NAME.pattern}$"
ID_PATTERN = "^[0-9a-f]{32}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Bytes = Annotated[int, Field(ge=0, le=2**62)]
Description = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Colour = Annotated[str, StringConstraints(pattern="^#[0-9a-f]{6}$")]
Audience = Annotated[str, StringConstraints(pattern=f"^(owner|anyone|user:{NAME.pattern})$")]
Scope = Literal["view", "upload", "manage"]
Visibility = Literal["private", "public"]
Posting = Literal["editors", "users"]
Unsafe = Literal["allow", "flag", "hold"]
Role = Literal["viewer", "editor", "admin"]
LONGEST_LINK_SECONDS = 10 * LONGEST_SECONDS


class Taken(BaseModel):
    """What a caller sends: no other fields, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)
