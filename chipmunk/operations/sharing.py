"""The shapes of links and of opening them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from chipmunk.operations.shapes import LONGEST_LINK_SECONDS, Audience, Id, Taken

MOST_VIEWS = 1_000_000


def _whole(given: SecretStr) -> SecretStr:
    """Half of a surrogate pair is no letter of any keyboard, and has no bytes."""
    try:
        given.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("a letter of it is half a letter") from None
    return given


Secret = Annotated[SecretStr, AfterValidator(_whole)]


class LinkFields(Taken):
    audience: Audience = Field(description="`owner`, `user:<id>` or `anyone`.")
    ttl_seconds: Annotated[int, Field(ge=1, le=LONGEST_LINK_SECONDS)] | None = Field(
        None, description="Null: until it is revoked."
    )
    original: bool | None = Field(None, description="Whether quality 0 may be had. Null: not by `anyone`, else yes.")
    password: Annotated[Secret, Field(min_length=4, max_length=200)] | None = Field(
        None, description="What opens it; for `anyone` alone. Null: it needs none."
    )
    max_views: Annotated[int, Field(ge=1, le=MOST_VIEWS)] | None = Field(
        None, description="How often it can be opened; for `anyone` alone. Null: any number of times."
    )

    @model_validator(mode="after")
    def _opened_by_anyone(self) -> Self:
        if self.audience != "anyone" and (self.password is not None or self.max_views is not None):
            raise ValueError("password and max_views are for links for anyone")
        return self


class Link(BaseModel):
    id: Id = Field(description="A handle that opens nothing.")
    url: str = Field(description="`/<signed id>/`; a quality and a slash follow.")
    page: str | None = Field(description="A page for people who have no account; of links for `anyone`.")
    media: Id
    audience: Audience
    original: bool
    password: bool = Field(description="Whether it has one.")
    max_views: int | None
    views: int | None = Field(description="How often it was opened. Null: it need not be.")
    expires_at: datetime | None
    created_at: datetime


class OpenFields(Taken):
    password: Annotated[Secret, Field(max_length=200)] | None = Field(None, description="Where the link has one.")


class Opening(BaseModel):
    url: str = Field(description="`/<signed id>/`; with the cookie that came along it can be viewed.")
    expires_at: datetime = Field(description="Until when: for ten minutes, or as long as the link lasts.")
