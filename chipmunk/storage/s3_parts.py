"""An object in parts: each is sent and tried again by itself, and what was begun is ended or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chipmunk.errors import Unprocessable
from chipmunk.storage import Missing, StoreUnavailable
from chipmunk.storage.s3_body import Body
from chipmunk.storage.s3_client import Client, Pace

MOST_PARTS = 10_000
ABORT_SECONDS = 20
Part = dict[str, Any]  # {"PartNumber", "ETag"}


async def put(client: Client, name: str, source: Path, size: int, pace: Pace, sealing: dict[str, Any]) -> None:
    """The file as one object, or as nothing: the parts of a put that fails or is given up are dropped."""
    beginning = asyncio.ensure_future(client.call("create_multipart_upload", Key=name, **sealing))
    try:
        upload = (await asyncio.shield(beginning))["UploadId"]
        parts = await _send(client, name, upload, source, size, pace)
        await complete(client, name, upload, parts, size)
    except BaseException:
        dropping = asyncio.ensure_future(_drop(client, name, beginning))
        await asyncio.shield(dropping)
        raise


async def _send(client: Client, name: str, upload: str, source: Path, size: int, pace: Pace) -> list[Part]:
    length = max(pace.part_bytes, -(-size // MOST_PARTS))
    turns = asyncio.Semaphore(pace.parts_at_once)

    async def send(number: int, start: int) -> Part:
        async with turns:
            body = Body(source, start, min(length, size - start))
            sent = await client.call("upload_part", body=body, Key=name, UploadId=upload, PartNumber=number)
        return {"PartNumber": number, "ETag": sent["ETag"]}

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send(n, start)) for n, start in enumerate(range(0, size, length), 1)]
    except BaseExceptionGroup as e:
        raise e.exceptions[0] from None
    return [task.result() for task in tasks]


async def complete(client: Client, name: str, upload: str, parts: Sequence[Part], size: int) -> None:
    """Makes the parts one object of that many bytes. An answer that was lost is found out about."""
    try:
        await client.call(
            "complete_multipart_upload",
            raising={"EntityTooSmall", "InvalidPart"},
            Key=name,
            UploadId=upload,
            MultipartUpload={"Parts": list(parts)},
        )
    except ClientError as e:
        raise Unprocessable("The parts make no object: all but the last must have 5 MiB or more.") from e
    except Missing:
        if not await _completed(client, name, len(parts), size):
            raise


async def _completed(client: Client, name: str, parts: int, size: int) -> bool:
    found = await client.call("head_object", raising={"404"}, Key=name)
    return found["ContentLength"] == size and str(found["ETag"]).strip('"').endswith(f"-{parts}")


async def _drop(client: Client, name: str, beginning: asyncio.Future[Any]) -> None:
    with suppress(StoreUnavailable, TimeoutError):  # what is left then is dropped as stale
        async with asyncio.timeout(ABORT_SECONDS):
            await abort(client, name, (await beginning)["UploadId"])


async def abort(client: Client, name: str, upload: str) -> None:
    """A missing one is fine."""
    with suppress(Missing):
        await client.call("abort_multipart_upload", Key=name, UploadId=upload)


async def arrived(client: Client, name: str, upload: str) -> tuple[list[Part], int]:
    """The parts that are there, in order, and their bytes in all. Missing where there is no such upload."""
    parts: list[Part] = []
    size, marker = 0, 0
    while True:
        page = await client.call("list_parts", Key=name, UploadId=upload, PartNumberMarker=marker)
        for part in page.get("Parts", []):
            parts.append({"PartNumber": part["PartNumber"], "ETag": part["ETag"]})
            size += part["Size"]
        if not page.get("IsTruncated"):
            return parts, size
        marker = page["NextPartNumberMarker"]


async def stale(client: Client, prefix: str, older_than: timedelta) -> AsyncIterator[tuple[str, str]]:
    """Name and id of each upload below `prefix` that was begun so long ago."""
    before = datetime.now(UTC) - older_than
    marks: dict[str, Any] = {}
    while True:
        page = await client.call("list_multipart_uploads", Prefix=prefix, **marks)
        for upload in page.get("Uploads", []):
            if upload["Initiated"] <= before:
                yield upload["Key"], upload["UploadId"]
        if not page.get("IsTruncated"):
            return
        marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
