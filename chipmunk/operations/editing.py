"""The shapes of edits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from chipmunk.edits import LONGEST
from chipmunk.operations.shapes import Id, Name, Taken
from chipmunk.operations.tagging import Title

MOST_FILTERS = 64


class EditFields(Taken):
    edits: Annotated[str, Field(max_length=LONGEST)] = Field(description="As `crop.10.20.300.200~rotate.90`.")
    title: Title | None = Field(None, description="Null or empty: the file name.")
    flow: Name | Annotated[list[Name], Field(max_length=32)] | None = Field(None, description="None: `general`.")


class SaveEdited(Taken):
    new_title_str: Title | None = Field(None, description="Null or empty: the file name.")
    source_image_id_str: Id
    source_flow_name_str: Name | None = Field(None, description="Given, the source is in that flow.")
    target_flow_name_str: Name | None = Field(None, description="None: `general`.")
    image_base64_data_str: str = Field(description="Base64, or a `data:` URI.")
    applied_filters_lst: list[Title] = Field([], max_length=MOST_FILTERS, description="Kept with the media, in `meta`.")
    new_height_int: int | None = Field(None, description="Says nothing: the picture is measured.")
    new_width_int: int | None = Field(None, description="Likewise.")


class SavedEdit(BaseModel):
    image_id_str: Id


class VariantFields(Taken):
    edits: Annotated[str, Field(max_length=LONGEST)] = Field(description="As `resize.320.0`.")
    format: Literal["webp", "jpeg", "avif", "auto"] = Field(
        "webp", description="`auto`: AVIF or JPEG in place of WebP where the client's Accept asks for it."
    )


class Variant(BaseModel):
    number: int = Field(description="From 1 on; no other of this media ever has it.")
    url: str | None = Field(description="`/<signed id>/v/<signed edits>/`; from `v` on it goes with each link.")
    edits: str
    format: Literal["webp", "jpeg", "avif", "auto"]
    width: int
    height: int
