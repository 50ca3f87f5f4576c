"""Shapes of backends, and of where media lie."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from chipmunk.backend_fields import Described
from chipmunk.backend_fields import Role as Purpose
from chipmunk.operations.shapes import Name, Taken


class Placed(Taken):
    """A backend and what it is to the flow: the primary serves, else a backup, else an archive."""

    backend: Name
    role: Purpose


def _one_primary(placed: list[Placed]) -> list[Placed]:
    if len({one.backend for one in placed}) != len(placed):
        raise PydanticCustomError("placement", "A backend is named twice")
    if placed and [one.role for one in placed].count("primary") != 1:
        raise PydanticCustomError("placement", "Exactly one backend is the primary")
    return placed


Placement = Annotated[list[Placed], Field(max_length=16), AfterValidator(_one_primary)]


class FlowBackends(Taken):
    """Empty: as the operator says."""

    backends: Placement


class MoveFields(Taken):
    backends: Placement | None = Field(None, description="Left out: to where the flow is to lie already.")


class BackendFields(Described):
    """What is left out stays as it is; a new backend gets the defaults. Which fields there are follows from the URL."""

    unchecked: bool = Field(False, description="Whether to keep it without a look whether it can be used.")


class Backend(BaseModel):
    """Options of its scheme are there, those of others are not; secrets never are."""

    id: Name
    kind: Literal["local", "s3", "ipfs"]
    url: str
    region: str | None = None
    addressing: Literal["path", "virtual"] | None = None
    encryption: Literal["", "AES256", "aws:kms"] | None = None
    kms_key: str | None = None
    cors: bool | None = None
    plain: Literal["never", "public"] | None = None
    role: Purpose | None = Field(description="What it is to flows that name no backends.")
    choosable: bool
    status: Literal["ok", "down", "unknown"] = Field(description="As of `checked_at`.")
    reason: str | None = Field(description="Why it is down.")
    checked_at: datetime | None
    copies: int = Field(description="Media of which it has a copy.")
    deletions_waiting: int = Field(description="Copies that still have to go.")
    created_at: datetime


class StoredAt(BaseModel):
    backend: Name
    role: Purpose | None = Field(description="Null: it is on its way out.")
    state: Literal["wanted", "stored", "damaged"]
