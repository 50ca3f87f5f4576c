"""The shapes of the calls that keep the names which they have in GloFlow's images library."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from chipmunk.operations.shapes import Id, Name, Taken

Url = Annotated[str, StringConstraints(max_length=2048)]
Page = Annotated[str, StringConstraints(max_length=2048, pattern=r"^(https?://[^\s\x00-\x20\x7f]+)?$")]


class AddImage(Taken):
    image_extern_url_str: Url = Field(description="Where to fetch it.")
    image_origin_page_url_str: Page | None = Field(None, description="The page that shows it there.")
    client_type_str: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="Says nothing.")
    flows_names_lst: list[Name] = Field([], max_length=32, description="None: `general`.")
    user: Name | None = Field(None, description="Whose it is; needed with an API key.")


class AddedImage(BaseModel):
    images_job_id_str: Id = Field(description="The job that fetches it.")
    running_job_id_str: Id = Field(description="The same.")
    thumbnail_small_relative_url_str: str = Field(description="Rung 3, once it is there.")
    image_id_str: Id = Field(description="Of the media, once it is there.")


MOST_IMAGES = 5000
JobType = Literal[
    "process_extern_images", "process_uploaded_images", "process_local_images", "classify_images", "transform_images"
]


def _urls(value: Any) -> Any:
    """A list, or its items in one text: separated by commas, and each encoded as in a URL."""
    return [unquote(one.strip()) for one in value.split(",") if one.strip()] if isinstance(value, str) else value


Urls = Annotated[list[Url], BeforeValidator(_urls), Field(max_length=MOST_IMAGES)]
Pages = Annotated[list[Page], BeforeValidator(_urls), Field(max_length=MOST_IMAGES)]


class StartJob(Taken):
    job_type_str: JobType
    imgs_urls_str: Urls = Field(
        min_length=1,
        description="Where to fetch them: a list, or separated by commas and each URL-encoded. Of uploaded images their"
        " ids, of those to be classified too, of local ones their folder.",
    )
    imgs_origin_pages_urls_str: Pages = Field([], description="The pages that show them there; none, or one for each.")
    client_type_str: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="Says nothing.")
    flows_names_lst: list[Name] = Field([], max_length=32, description="None: `general`.")
    user: Name | None = Field(None, description="Whose they are; needed with a key.")
    app: Name | None = Field(None, description="Of local images the app whose user that is; none: the first.")

    @model_validator(mode="after")
    def _as_many_pages(self) -> Self:
        if len(self.imgs_origin_pages_urls_str) not in (0, len(self.imgs_urls_str)):
            raise PydanticCustomError("pages", "There are as many pages as images, or none")
        return self


class ExpectedImage(BaseModel):
    image_id_str: Id = Field(description="Of the media, once it is there.")
    image_source_url_str: str
    thumbnail_small_relative_url_str: str = Field(description="Rung 3, once it is there.")
    thumbnail_medium_relative_url_str: str = Field(description="Rung 5.")
    thumbnail_large_relative_url_str: str = Field(description="Rung 6.")


class ClassifyImages(Taken):
    images_ids_lst: list[Id] = Field(min_length=1, max_length=50)
    client_type_str: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="Says nothing.")


class ImageClass(BaseModel):
    class_str: str
    score_f: float = Field(description="From 0 to 1.")


class ClassifiedImage(BaseModel):
    image_id_str: Id
    classes: list[ImageClass] = Field(
        description="The best first; none where there is no picture, or nothing is likely."
    )


class Classified(BaseModel):
    classes_lst: list[str] = Field(description="Of all these images, the best first.")
    images: list[ClassifiedImage]


class StartedJob(BaseModel):
    running_job_id_str: Id
    job_expected_outputs_lst: list[ExpectedImage] = Field(description="Empty where a folder is walked first.")


class CountedFlow(BaseModel):
    flow_name_str: Name
    flow_imgs_count_int: int = Field(description="Live ones; of a flow that others' are hidden in, the caller's.")


class AllFlows(BaseModel):
    all_flows_lst: list[CountedFlow]


class ImageMap(BaseModel):
    id_str: Id
    title_str: str
    user_name_str: Name
    flows_names_lst: list[Name]
    origin_page_url_str: str | None
    origin_url_str: str | None
    thumbnail_small_url_str: str | None = Field(description="Rung 3.")
    thumbnail_medium_url_str: str | None = Field(description="Rung 5.")
    thumbnail_large_url_str: str | None = Field(description="Rung 6.")
    format_str: str = Field(description="Of the original: `jpeg`, `png`, …")
    width_int: int | None
    height_int: int | None
    dominant_color_hex_str: str | None = Field(description="`#rrggbb`.")
    palette_lst: list[str] = Field(description="By how much of it they are, six at most.")
    tags_lst: list[str]
    meta_map: dict[str, Any] | None
    creation_unix_time_f: float


class BrowserPage(BaseModel):
    pages_lst: list[list[ImageMap]] = Field(description="The one page that was asked for.")
    pages_user_names_lst: list[list[Name]] = Field(description="Whose each of them is.")


class GotImage(BaseModel):
    image_exists_bool: bool = Field(description="For this caller: one that they may not see is none.")
    image_export_map: ImageMap | None


MOST_URLS, MOST_NAMES = 1000, 200


class ImagesExist(Taken):
    images_extern_urls_lst: list[Url] = Field(max_length=MOST_URLS)
    flow_name_str: Name | None = Field(None, description="None: whatever the flow.")
    client_type_str: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="Says nothing.")


class ExistingImage(BaseModel):
    creation_unix_time_f: float
    id_str: Id
    origin_url_str: str
    origin_page_url_str: str | None
    flows_names_lst: list[Name]
    tags_lst: list[str]


class ExistingImages(BaseModel):
    existing_images_lst: list[ExistingImage]


class ClientMetrics(BaseModel):
    """What else there is in it says nothing."""

    model_config = ConfigDict(extra="ignore", strict=True)
    upload_client_duration_sec_f: Annotated[float, Field(ge=0, le=86_400, strict=False)] | None = None
    upload_client_transfer_duration_sec_f: Annotated[float, Field(ge=0, le=86_400, strict=False)] | None = None


class GifMap(BaseModel):
    id_str: Id
    gf_image_id_str: Id = Field(description="The same.")
    title_str: str
    origin_url_str: str | None
    origin_page_url_str: str | None
    flows_names_lst: list[Name]
    tags_lst: list[str]
    frames_count: int
    duration: float = Field(description="Of all frames once, in seconds.")
    loop: int = Field(description="How often they are shown; 0: for ever.")
    width_int: int | None
    height_int: int | None
    preview_frames_num_int: int
    preview_frames_urls_lst: list[str] = Field(description="Evenly spread, in order; none while they are being made.")
    video_url_str: str | None = Field(description="All of it as WebM, where that is smaller than the GIF.")
    creation_unix_time_f: float


class GotGif(BaseModel):
    gif_map: GifMap


class Empty(BaseModel):
    pass


Hex = Annotated[str, StringConstraints(pattern="^#?[0-9A-Fa-f]{6}$")]


class BrowserResult(Taken):
    i: Annotated[str, StringConstraints(max_length=64)] = Field(description="The image's id.")
    c: Hex = Field(description="Its dominant colour.")
    p: list[Hex] = Field([], max_length=32, description="Its palette.")
    st: float | int | None = Field(None, description="When the browser began. Says nothing.")
    et: float | int | None = Field(None, description="When it was done. Says nothing.")
    f: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        None, description="Which browser it was; of an app's backend, who is told from others by it."
    )


class BrowserResults(Taken):
    jr: list[BrowserResult] = Field(max_length=200)


class ImageNames(Taken):
    names: list[Annotated[str, StringConstraints(max_length=255)]] = Field(max_length=MOST_NAMES)
    fname: Name | None = Field(None, description="The flow; none: `general`.")


class NamedImage(BaseModel):
    name: str
    url: str | None = Field(description="Null: there is none of that name.")


class NamedImages(BaseModel):
    images: list[NamedImage]


class UploadPart(BaseModel):
    number: int
    presigned_url_str: str


class UploadInfo(BaseModel):
    upload_gf_image_id_str: Id = Field(description="Of the media, once it is there.")
    presigned_url_str: str = Field(
        description="Where to send the bytes, with no credential; of one in parts, the first."
    )
    method: Literal["PUT", "POST"]
    headers: dict[str, str] = Field(description="What the request must carry, no more and no less.")
    fields: dict[str, str] = Field(description="Of a form (POST), before the field `file`.")
    expires_at: datetime = Field(description="Until when it can be sent to.")
    name_str: str
    flows_names_lst: list[Name]
    creation_unix_time_f: float
    user_id_str: Name
    parts: list[UploadPart] | None = Field(None, description="Of one in parts: each is sent by PUT.")
    part_bytes: int | None = Field(None, description="How long each of them but the last is.")


class UploadInit(BaseModel):
    upload_info_map: UploadInfo


MOST_META = 16 * 1024
MOST_LEVELS = 32  # whoever reads or writes it deep in a stack can do so
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as JSON text has it


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """What PostgreSQL keeps as it is: no infinite number, no NUL and no half of a surrogate pair in a string."""
    if _deeper(value, MOST_LEVELS):
        raise PydanticCustomError("meta", "It has more than 32 levels")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise PydanticCustomError("meta", "It holds a value that cannot be kept") from None
    if NUL.search(text) or len(text) > MOST_META:
        raise PydanticCustomError("meta", "It is longer than 16 KiB, or has a NUL in it")
    return value


def _deeper(value: Any, levels: int) -> bool:
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return within is not None and (levels == 0 or any(_deeper(one, levels - 1) for one in within))


class UploadComplete(Taken):
    meta_map: Annotated[dict[str, Any], AfterValidator(_storable)] = Field(
        {}, description="Kept with the media, as `meta`; 16 KiB and 32 levels at most."
    )


class UploadCompleted(BaseModel):
    images_job_id_str: Id = Field(description="The job that makes it a media.")
