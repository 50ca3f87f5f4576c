"""Calls of the images library that read."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from chipmunk import flows, ids, library, listing, media, metrics, renditions, uploads
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, NotFound, Unprocessable
from chipmunk.flows import Flow
from chipmunk.media import Media
from chipmunk.operations.answers import Answer
from chipmunk.operations.gloflow import ClientMetrics, ImageNames, ImagesExist
from chipmunk.tagging import distinct
from gateway.api.call import FRESH, Call, put
from gateway.api.flows import unknown
from gateway.api.media import flows_of, shown
from gateway.api.public import of_anyone

THUMBNAILS = {"small": 3, "medium": 5, "large": 6}
LARGEST_PAGE, DEEPEST = 200, 10_000
NUMBER = re.compile(r"[0-9]{1,6}")


async def all_flows(call: Call) -> Response:
    async with call.reading() as connection:
        found = await library.counts(connection, call.app, call.key)
    return put({"all_flows_lst": [{"flow_name_str": one.flow, "flow_imgs_count_int": one.media} for one in found]})


async def browser_page(call: Call) -> Response:
    """By number, as the images library has it; what lies deep in a flow is for `/v1/flows/{flow}/media`."""
    index, size = _number(call, "pg_index", 0), _number(call, "pg_size", 20)
    if not 1 <= size <= LARGEST_PAGE or (index + 1) * size > DEEPEST:
        raise Unprocessable(f"A page has 1 to {LARGEST_PAGE} images, of the {DEEPEST:,} newest.", field="pg_index")
    async with call.reading() as connection:
        flow = await _seen(call, connection, call.query("fname") or flows.GENERAL)
        found = await listing.page(connection, call.app, call.key, flow=flow.key, limit=(index + 1) * size)
        told = await flows_of(call, connection)
    page = found[index * size :]
    images = [_image(call, one, shown(call, one, told)) for one in page]
    return put({"pages_lst": [images], "pages_user_names_lst": [[one.owner for one in page]]})


async def get_image(call: Call) -> Response:
    """One that is not there, and one that is not the caller's to see, are the same."""
    identifier = ids.parse_id(call.query("img_id") or "")
    async with call.reading() as connection:
        try:
            if identifier is None:
                raise NotFound()
            found = await media.get(connection, call.app, identifier, call.key)
        except NotFound:
            return put({"image_exists_bool": False, "image_export_map": None})
        answer = shown(call, found, await flows_of(call, connection))
    return put({"image_exists_bool": True, "image_export_map": _image(call, found, answer)})


async def gif_info(call: Call) -> Response:
    """By its id, or by where it was fetched from, which is its owner's to know."""
    given, origin = call.query("gfimg_id"), call.query("orig_url")
    if (given is None) == (origin is None):
        raise BadRequest("Either gfimg_id or orig_url says which image.")
    async with call.reading() as connection:
        if given is not None:
            identifier = ids.parse_id(given)
            if identifier is None:
                raise NotFound("There is no such image.")
            found = [await media.get(connection, call.app, identifier, call.key)]
        else:
            found = await library.of_origins(connection, call.app, call.key, None, [origin or ""])
        if not found:
            raise NotFound("There is no such image.")
        moving = next((one for one in found if "frames" in one.motion), None)
        if moving is None:
            raise Unprocessable("This image does not move.", media=found[0].id.hex)
        answer = shown(call, moving, await flows_of(call, connection))
    return put({"gif_map": _gif(moving, answer)})


async def images_exist(call: Call) -> Response:
    body = call.body
    assert isinstance(body, ImagesExist)
    async with call.reading() as connection:
        try:
            flow = None if body.flow_name_str is None else (await _known(call, connection, body.flow_name_str)).key
        except NotFound:
            if call.key is None:
                raise
            return put({"existing_images_lst": []})  # as of a flow that is none of the user's business
        found = await library.of_origins(connection, call.app, call.key, flow, body.images_extern_urls_lst)
    return put({"existing_images_lst": [_existing(one) for one in found]})


async def upload_metrics(call: Call) -> Response:
    """Of an upload of the caller's, so that nobody can make figures up for others."""
    body, identifier = call.body, ids.parse_id(call.query("imgid") or "")
    assert isinstance(body, ClientMetrics)
    if identifier is None:
        raise NotFound("There is no such image.")
    async with call.reading() as connection:
        upload = await uploads.find(connection, identifier)
        if upload is None or upload.app_id != call.app or call.key not in (None, upload.user_id):
            await media.owned(connection, call.app, identifier, call.key, trashed=True)
    for stage, seconds in (
        ("all", body.upload_client_duration_sec_f),
        ("transfer", body.upload_client_transfer_duration_sec_f),
    ):
        if seconds is not None:
            metrics.CLIENT_SECONDS.labels(stage).observe(seconds)
    return put({})


async def image_by_name(call: Call) -> Response:
    """Sends on to a rendition of the newest image of that name. Whoever comes may look into a public flow."""
    name, quality = call.request.path_params["name"], call.query("q") or "6"
    if not re.fullmatch("[0-6]", quality):
        raise BadRequest("q is a quality from 0 to 6.")
    found = await _urls(call, call.query("fname") or flows.GENERAL, [name])
    if name not in found:
        raise NotFound("There is no such image.")
    return Response(status_code=302, headers={**FRESH, "location": f"{found[name]}{quality}/"})


async def images_by_name(call: Call) -> Response:
    body = call.body
    assert isinstance(body, ImageNames)
    found = await _urls(call, body.fname or flows.GENERAL, body.names)
    return put({"images": [{"name": name, "url": found.get(name)} for name in body.names]})


async def _urls(call: Call, flow_name: str, names: list[str]) -> dict[str, str]:
    """The addresses of the newest images of these names in a flow that the caller, or anybody, may look into."""
    async with call.reading() as connection:
        app = await of_anyone(call, connection) if call.caller is None else call.app
        if app is None:
            raise unknown(flow_name)
        try:
            flow = await flows.get(connection, app, ids.name(flow_name, "flow"))
        except NotFound:
            if call.caller is not None and call.key is not None:
                return {}  # as of a flow that is none of the user's business
            raise
        public = flow.visibility == "public"
        if call.caller is None and not public:
            raise unknown(flow_name)
        viewer = None if call.caller is None else call.key
        found = await library.tokens_by_name(connection, app, flow.key, viewer, names, public=public)
    return {name: f"/{call.parts.links.sign(token)}/" for name, token in found.items()}


async def _seen(call: Call, connection: Connection, name: str) -> Flow:
    """A flow that the caller may look into: of `general`, and where they may post, at their own."""
    flow = await _known(call, connection, name)
    if call.key is None or flow.posting == "users" or await flows.role(connection, flow.key, call.key) is not None:
        return flow
    raise unknown(name)


async def _known(call: Call, connection: Connection, name: str) -> Flow:
    return await flows.get(connection, call.app, ids.name(name, "flow"))


def _number(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    if text is not None and not NUMBER.fullmatch(text):
        raise BadRequest(f"{name} is a number.")
    return default if text is None else int(text)


def _image(call: Call, found: Media, answer: Answer) -> dict[str, Any]:
    """By its documented names, and no more of it than the caller's `answer` has."""
    url, origin = answer["url"], answer.get("origin") or {}
    thumbnails = {f"thumbnail_{size}_url_str": url and f"{url}{rung}/" for size, rung in THUMBNAILS.items()}
    return {
        "id_str": found.id.hex,
        "title_str": answer["title"],
        "user_name_str": found.owner,
        "flows_names_lst": answer["flows"],
        "origin_page_url_str": origin.get("page"),
        "origin_url_str": origin.get("url"),
        **thumbnails,
        "format_str": found.mime.partition("/")[2],
        "width_int": found.width,
        "height_int": found.height,
        "dominant_color_hex_str": answer["dominant_colour"],
        "palette_lst": answer["palette"],
        "tags_lst": distinct([*found.tags, *(one["class"] for one in found.classes or ())]),
        "meta_map": answer.get("meta"),
        "creation_unix_time_f": found.created_at.timestamp(),
    }


def _gif(found: Media, answer: Answer) -> dict[str, Any]:
    url, origin, motion = answer["url"], answer.get("origin") or {}, found.motion
    frames = renditions.previews(found.rungs) if url else []
    return {
        "id_str": found.id.hex,
        "gf_image_id_str": found.id.hex,
        "title_str": answer["title"],
        "origin_url_str": origin.get("url"),
        "origin_page_url_str": origin.get("page"),
        "flows_names_lst": answer["flows"],
        "tags_lst": found.tags,
        "frames_count": motion["frames"],
        "duration": motion["duration_seconds"],
        "loop": motion["loop"],
        "width_int": found.width,
        "height_int": found.height,
        "preview_frames_num_int": len(frames),
        "preview_frames_urls_lst": [f"{url}{number}/" for number in frames],
        "video_url_str": f"{url}{renditions.REEL}/" if url and renditions.has_reel(found.rungs) else None,
        "creation_unix_time_f": found.created_at.timestamp(),
    }


def _existing(found: Media) -> dict[str, Any]:
    origin = found.origin or {}
    return {
        "creation_unix_time_f": found.created_at.timestamp(),
        "id_str": found.id.hex,
        "origin_url_str": origin.get("url"),
        "origin_page_url_str": origin.get("page"),
        "flows_names_lst": found.flows,
        "tags_lst": found.tags,
    }
