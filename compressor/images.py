"""Calls of the images library that write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chipmunk import asgi, bodies, ids, jobs, quotas
from chipmunk.credentials import API_KEY
from chipmunk.errors import BadRequest, TooManyUploads
from chipmunk.operations.gloflow import AddImage
from chipmunk.posting import Posting
from chipmunk.signing import random_identifier
from compressor import asking
from compressor.admission import admit, room
from compressor.asking import Fields
from compressor.doors.from_url import LEAST
from compressor.parts import Parts

MOST_WAITING = 1000  # files that are still to be fetched for one user

SMALL = 3  # the rung of a small thumbnail


async def add_img(request: Request) -> Response:
    """Answers at once with the ids that the media will have; a job fetches it."""
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    try:
        body = await bodies.read(request.stream(), headers, AddImage)
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None
    asked = asking.of_upload(headers, request.method, asgi.query(request.scope))
    fields = Fields(asked.fields.user, asked.fields.flows).joined(Fields(body.user, tuple(body.flows_names_lst)))
    counting = parts.limiter.counting(request.scope, "uploads")
    posting = await admit(parts, replace(asked, fields=fields), counting)
    await counting.end()
    if posting.user is None:
        raise BadRequest("With an API key the query or the body names the user.")
    parts.fetcher.check(body.image_extern_url_str)
    by_app = asked.given.token.startswith(API_KEY)
    return JSONResponse(
        await _started(parts, posting, posting.user, body, by_app), headers={"cache-control": "no-store"}
    )


async def _started(parts: Parts, posting: Posting, user: int, body: AddImage, by_app: bool) -> dict[str, Any]:
    """Makes the job, where the user has room for the smallest file at least."""
    room(parts, 0)
    media, token = ids.new_id(), random_identifier()
    await quotas.reserve(parts.database, user, LEAST, 1, media=media)
    payload = {
        "url": body.image_extern_url_str,
        "page": body.image_origin_page_url_str or None,
        "flows": [flow.id for flow in posting.flows],
        "token": token.hex,
        "by_app": by_app,
    }
    async with parts.database.transaction() as connection:
        await quotas.release(connection, media)
        if await jobs.unfinished(connection, jobs.FETCH, user) >= MOST_WAITING:
            raise TooManyUploads("Too many files are still to be fetched for this user; wait until some are.")
        job = await jobs.enqueue(connection, jobs.FETCH, app=posting.app, user=user, media=media, payload=payload)
    return {
        "images_job_id_str": job.hex,
        "running_job_id_str": job.hex,
        "thumbnail_small_relative_url_str": f"/{parts.links.sign(token)}/{SMALL}/",
        "image_id_str": media.hex,
    }


ROUTES = [Route("/v1/images/flows/add_img", add_img, methods=["POST"])]
