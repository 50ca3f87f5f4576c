"""Calls of the images library that write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chipmunk import apps, asgi, audit, bodies, flows, ids, images_jobs, jobs, media, presigned, quotas, users
from chipmunk.audit import Actor
from chipmunk.credentials import API_KEY
from chipmunk.db import Connection
from chipmunk.errors import BadRequest, Conflict, Mismatch, NotFound, NotInstalled, TooManyUploads, UnknownUser
from chipmunk.images_jobs import New
from chipmunk.operations.gloflow import AddImage, StartJob
from chipmunk.posting import Posting
from chipmunk.signing import random_identifier
from compressor import asking, importing
from compressor.admission import admit, recognized, room
from compressor.asking import Fields
from compressor.doors.from_url import LEAST
from compressor.parts import Parts

MOST_WAITING = 1000  # files that are still to be fetched for one user
MOST_IN_JOBS = 20_000  # and images of their jobs that are not over
LARGEST_JOB = 2 * 1024 * 1024  # bytes of a body that lists images
T = TypeVar("T", bound=BaseModel)

SMALL = 3  # the rung of a small thumbnail


async def add_img(request: Request) -> Response:
    """Answers at once with the ids that the media will have; a job fetches it."""
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    body = await _body(request, headers, AddImage)
    posting, user, by_app = await _posting(request, parts, body)
    parts.fetcher.check(body.image_extern_url_str)
    return JSONResponse(await _started(parts, posting, user, body, by_app), headers={"cache-control": "no-store"})


async def _posting(request: Request, parts: Parts, body: AddImage | StartJob) -> tuple[Posting, int, bool]:
    """Where it goes, the row of the user whose it is to be, and whether the app says so."""
    asked = asking.of_upload(asgi.headers(request.scope), request.method, asgi.query(request.scope))
    fields = Fields(asked.fields.user, asked.fields.flows).joined(Fields(body.user, tuple(body.flows_names_lst)))
    counting = parts.limiter.counting(request.scope, "uploads")
    posting = await admit(parts, replace(asked, fields=fields), counting)
    await counting.end()
    if posting.user is None:
        raise BadRequest("With an API key the query or the body names the user.")
    return posting, posting.user, asked.given.token.startswith(API_KEY)


async def _started(parts: Parts, posting: Posting, user: int, body: AddImage, by_app: bool) -> dict[str, Any]:
    """Makes the job, where the user has room for the smallest file at least."""
    room(parts, 0)
    identifier, token = ids.new_id(), random_identifier()
    await quotas.reserve(parts.database, user, LEAST, 1, media=identifier)
    payload = {
        "url": body.image_extern_url_str,
        "page": body.image_origin_page_url_str or None,
        "flows": [flow.id for flow in posting.flows],
        "token": token.hex,
        "by_app": by_app,
    }
    async with parts.database.transaction() as connection:
        await quotas.release(connection, identifier)
        if await jobs.unfinished(connection, jobs.FETCH, user) >= MOST_WAITING:
            raise TooManyUploads("Too many files are still to be fetched for this user; wait until some are.")
        job = await jobs.enqueue(connection, jobs.FETCH, app=posting.app, user=user, media=identifier, payload=payload)
        await _noted(connection, posting.by, posting.app, user, job, jobs.FETCH)
    return {
        "images_job_id_str": job.hex,
        "running_job_id_str": job.hex,
        "thumbnail_small_relative_url_str": f"/{parts.links.sign(token)}/{SMALL}/",
        "image_id_str": identifier.hex,
    }


async def jobs_start(request: Request) -> Response:
    """Answers at once with the ids that the images will have."""
    parts, headers = request.app.state.parts, asgi.headers(request.scope)
    body = await _body(request, headers, StartJob, LARGEST_JOB)
    if body.job_type_str == "process_local_images":
        return await _import(request, parts, body)
    if body.job_type_str == "process_uploaded_images":
        return await _collect(request, parts, body)
    if body.job_type_str == "classify_images" and parts.settings.classifies:
        return await _classify(request, parts, body)
    posting, user, by_app = await _posting(request, parts, body)
    if body.job_type_str != "process_extern_images":
        raise NotInstalled(f"There are no {body.job_type_str} here.")
    for url in body.imgs_urls_str:
        parts.fetcher.check(url)
    pages: list[str] = body.imgs_origin_pages_urls_str or [""] * len(body.imgs_urls_str)
    images = [New(url, page or None) for url, page in zip(body.imgs_urls_str, pages, strict=True)]
    job = await _begun(parts, posting, user, images, by_app)
    told = {"running_job_id_str": job.hex, "job_expected_outputs_lst": [_expected(parts, image) for image in images]}
    return JSONResponse(told, headers={"cache-control": "no-store"})


async def _collect(request: Request, parts: Parts, body: StartJob) -> Response:
    """What was sent by presigned uploads that nobody has completed, all of one user; where it goes was said when each began."""
    caller = await recognized(parts, request, "upload")
    named = [ids.parse_id(text) for text in body.imgs_urls_str]
    if body.flows_names_lst or len(set(named)) < len(named):
        raise BadRequest("The uploads say where they go, and each is named once.")
    async with parts.database.connection() as connection:
        found = [await presigned.get(connection, caller.app_id, n, caller.user_id) for n in named if n is not None]
    if len(found) < len(named):
        raise NotFound("There is no such upload.")
    if len({upload.user_id for upload in found}) > 1 or body.user not in (None, found[0].user):
        raise Mismatch("The uploads are not all of one user, or of another than is named.")
    if taken := next((upload for upload in found if upload.state != "open"), None):
        raise Conflict("An upload has been completed already.", upload=taken.id.hex)
    images = [New(upload.id.hex, media=upload.id) for upload in found]
    async with parts.database.transaction() as connection:
        job = await images_jobs.start(
            connection, app=caller.app_id, user=found[0].user_id, payload={"uploads": True}, images=images
        )
        await _noted(connection, audit.by(caller), caller.app_id, found[0].user_id, job)
    told = {"running_job_id_str": job.hex, "job_expected_outputs_lst": [_expected(parts, image) for image in images]}
    return JSONResponse(told, headers={"cache-control": "no-store"})


async def _classify(request: Request, parts: Parts, body: StartJob) -> Response:
    """Media that are there, all of one user; each is looked at anew."""
    caller = await recognized(parts, request, "manage")
    named = list(dict.fromkeys(ids.parse_id(text) or ids.new_id() for text in body.imgs_urls_str))
    async with parts.database.transaction() as connection:
        found = [await media.owned(connection, caller.app_id, one, caller.user_id) for one in named]
        if len({one.owner_id for one in found}) > 1 or body.user not in (None, found[0].owner):
            raise Mismatch("The images are not all of one user, or of another than is named.")
        await _fits(connection, found[0].owner_id, len(found))
        images = [New(one.id.hex, media=one.id, token=one.token or random_identifier()) for one in found]
        job = await images_jobs.start(
            connection,
            app=caller.app_id,
            user=found[0].owner_id,
            payload={"classify": True, "here": True},
            images=images,
        )
        await _noted(connection, audit.by(caller), caller.app_id, found[0].owner_id, job)
    told = {"running_job_id_str": job.hex, "job_expected_outputs_lst": [_expected(parts, image) for image in images]}
    return JSONResponse(told, headers={"cache-control": "no-store"})


async def _import(request: Request, parts: Parts, body: StartJob) -> Response:
    """The operator's alone: files of the server's own disk, for a user of the app."""
    (await recognized(parts, request)).need_operator()
    if len(body.imgs_urls_str) != 1 or body.user is None:
        raise BadRequest("An import names one folder, and the user whose the files are to be.")
    folder = importing.folder_of(parts.settings, body.imgs_urls_str[0])
    async with parts.database.transaction() as connection:
        app = await apps.known_as(connection, body.app or apps.DEFAULT)
        try:
            owner = None if app is None else (await users.get(connection, app, body.user)).key
        except NotFound:
            owner = None
        if app is None or owner is None:
            raise UnknownUser(user=body.user)
        names = body.flows_names_lst or [flows.GENERAL]
        found = await flows.postable(connection, app, names, None)
        payload = {"flows": [flow.id for flow in found], "by_app": True, "folder": str(folder)}
        job = await images_jobs.start(connection, app=app, user=owner, payload=payload, images=[], walk=True)
        await _noted(connection, audit.OPERATOR, app, owner, job)
    told = {"running_job_id_str": job.hex, "job_expected_outputs_lst": []}
    return JSONResponse(told, headers={"cache-control": "no-store"})


async def _begun(parts: Parts, posting: Posting, user: int, images: list[New], by_app: bool) -> UUID:
    room(parts, 0)
    payload = {"flows": [flow.id for flow in posting.flows], "by_app": by_app}
    async with parts.database.transaction() as connection:
        await _fits(connection, user, len(images))
        job = await images_jobs.start(connection, app=posting.app, user=user, payload=payload, images=images)
        await _noted(connection, posting.by, posting.app, user, job)
    return job


async def _fits(connection: Connection, user: int, images: int) -> None:
    """Whether so many images more may wait in the user's jobs."""
    if await images_jobs.waiting(connection, user) + images > MOST_IN_JOBS:
        raise TooManyUploads(
            "Too many images are still to be worked on for this user; wait until some are.", limit=MOST_IN_JOBS
        )


async def _noted(connection: Connection, by: Actor, app: int, user: int, job: UUID, kind: str = jobs.IMAGES) -> None:
    await audit.note(connection, by, "job.started", app=app, user=user, changes={"job": job.hex, "kind": kind})


def _expected(parts: Parts, image: New) -> dict[str, str]:
    sizes = {"small": SMALL, "medium": 5, "large": 6}
    link = parts.links.sign(image.token)
    thumbnails = {f"thumbnail_{size}_relative_url_str": f"/{link}/{rung}/" for size, rung in sizes.items()}
    return {"image_id_str": image.media.hex, "image_source_url_str": image.source, **thumbnails}


async def _body(request: Request, headers: dict[str, str], shape: type[T], most: int = bodies.LARGEST) -> T:
    try:
        return await bodies.read(request.stream(), headers, shape, most)
    except ClientDisconnect:
        raise BadRequest("The body ended early.") from None


ROUTES = [
    Route("/v1/images/flows/add_img", add_img, methods=["POST"]),
    Route("/images/jobs/start", jobs_start, methods=["POST"]),
]
