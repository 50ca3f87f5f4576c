"""Having images classified; a worker does it, and the answer waits for that."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from starlette.responses import Response

from chipmunk import classes, ids, jobs, media
from chipmunk.errors import NotInstalled, Unavailable, Unprocessable
from chipmunk.media import Media
from chipmunk.operations import answers
from chipmunk.operations.gloflow import ClassifyImages
from gateway.api.call import Call, put

WAIT_SECONDS = 25
LOOK_SECONDS = 0.05


async def classify(call: Call) -> Response:
    """What is known of them, and of the others what a worker then sees; each is looked at once."""
    body = call.body
    assert isinstance(body, ClassifyImages)
    if not call.parts.settings.classifies:
        raise NotInstalled("No images are classified here: no model is set, and no plug-in tells classes.")
    wanted = list(dict.fromkeys(ids.parse_id(text) for text in body.images_ids_lst))
    asked: list[UUID] = []
    async with call.changing() as connection:
        found = [await media.owned(connection, call.app, one or ids.new_id(), call.key) for one in wanted]
        for one in found:
            if one.classes is None:
                asked.append(
                    await jobs.enqueue(connection, jobs.CLASSIFY, app=call.app, user=one.owner_id, media=one.id)
                )
                await call.note(connection, "job.started", user=one.owner_id, media=one.id, changes=_begun(asked[-1]))
    if asked:
        await _ended(call, asked)
        async with call.reading() as connection:
            found = [await media.owned(connection, call.app, one.id, call.key) for one in found]
    return put(_told(found))


def _begun(job: UUID) -> dict[str, str]:
    return {"job": job.hex, "kind": jobs.CLASSIFY}


async def _ended(call: Call, asked: list[UUID]) -> None:
    """Once all these jobs are. Unprocessable where one failed; Unavailable where they take too long, and go on."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                async with call.reading() as connection:
                    left, reason = await jobs.outcome(connection, asked)
                if reason is not None:
                    raise Unprocessable(reason)
                if not left:
                    return
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise Unavailable("The images are still being looked at; ask again shortly.") from None


def _told(found: list[Media]) -> dict[str, Any]:
    images = [
        {
            "image_id_str": one.id.hex,
            "classes": [{"class_str": seen["class"], "score_f": seen["score"]} for seen in one.classes or ()],
        }
        for one in found
    ]
    scores: dict[str, float] = {}
    for one in found:
        for seen in one.classes or ():
            scores[seen["class"]] = max(seen["score"], scores.get(seen["class"], 0))
    return {"classes_lst": sorted(scores, key=lambda name: (-scores[name], name)), "images": images}


async def approve(call: Call) -> Response:
    """The app has looked at it itself."""
    identifier = call.id("media")
    async with call.changing() as connection:
        found = await classes.approve(connection, call.app, identifier)
        await call.note(connection, "media.approved", user=found.owner_id, media=identifier)
    return put(answers.media(found, call.parts.links))
