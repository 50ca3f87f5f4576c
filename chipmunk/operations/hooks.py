"""Shapes of webhooks, and of what they are told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from chipmunk.goals import LONGEST_URL
from chipmunk.operations.shapes import Id, Name, Taken
from chipmunk.webhooks import Event

Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL, pattern=r"^[^\x00-\x20\x7f]*$")]


class WebhookFields(Taken):
    """What is left out stays as it is."""

    url: Url | None = Field(None, description="Where to send; a new webhook needs one.")
    events: Annotated[list[Event], Field(min_length=1, max_length=32)] | None = Field(
        None, description="What to tell of; null, or left out of a new one: everything."
    )
    enabled: bool = Field(True, description="What happens meanwhile is not told later.")


class LastFailure(BaseModel):
    at: datetime
    error: Literal["status", "timeout", "unreachable", "url_refused", "secret_unavailable"]
    status: int | None = Field(description="What its server answered.")


class Webhook(BaseModel):
    id: Name
    url: str
    events: list[Event] | None = Field(description="Null: everything.")
    enabled: bool
    gone: bool = Field(description="Whether its server answered 410, which disabled it.")
    secret: str | None = Field(None, description="Told once: where the webhook is new, and where it was rotated.")
    rotating_until: datetime | None = Field(description="Until when the secret before signs too.")
    pending: int = Field(description="Deliveries that wait; 10000: so many or more.")
    dead: int = Field(description="Dead letters; 10000: so many or more.")
    oldest_pending_at: datetime | None
    last_success_at: datetime | None
    last_failure: LastFailure | None
    failing_since: datetime | None = Field(description="Since when no attempt has succeeded.")
    created_at: datetime


class Delivery(BaseModel):
    id: Id = Field(description="The `webhook-id` of each attempt.")
    type: Literal[Event, "ping"]
    subject: Id | None = Field(description="The media or job that it is about.")
    data: dict[str, Any]
    at: datetime = Field(description="When it happened.")
    state: Literal["pending", "dead"]
    attempts: int
    next_at: datetime | None = Field(description="When it is tried, or taken for lost while it is.")
    tried_at: datetime | None
    error: str | None
    status: int | None


class Retried(BaseModel):
    retried: int = Field(description="10000: there may be more.")
