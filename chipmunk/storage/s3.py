"""S3, any that is compatible: a bucket, or what lies below a prefix in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from chipmunk.errors import BadBackend
from chipmunk.storage import BadKey, Missing, Stat, StoreUnavailable, check_key, s3_parts
from chipmunk.storage.s3_address import Options, parse
from chipmunk.storage.s3_body import Body
from chipmunk.storage.s3_client import Client, Pace
from chipmunk.storage.s3_errors import FAILURES, code, translated
from chipmunk.storage.s3_presigning import Presigning

CHUNK = 256 * 1024
MOST_AT_ONCE = 1000  # keys that one DeleteObjects takes
VERSIONS_SECONDS = 60.0
REPLACED = {"PreconditionFailed", "412"}


class S3Store(Presigning):
    """A Store that can also be checked, listed and presigned for. Nothing is asked of S3 before the first call."""

    def __init__(
        self, url: str, options: Mapping[str, Any], secret: Mapping[str, str], *, pace: Pace | None = None
    ) -> None:
        """BadBackend where one of them is not right."""
        self.address = parse(url)
        self.options = Options.read(options)
        self._pace = pace or Pace()
        keys = secret.get("access_key", ""), secret.get("secret_key", "")
        if not all(keys) or set(secret) != {"access_key", "secret_key"}:
            raise BadBackend("The secret of an S3 backend is {access_key, secret_key}.")
        self._client = Client(self.address, self.options, keys, self._pace)
        self._versions: tuple[float, bool] | None = None

    def _name(self, key: str) -> str:
        return self.address.prefix + check_key(key)

    async def put(self, key: str, source: Path) -> str:
        name = self._name(key)
        size = (await asyncio.to_thread(source.stat)).st_size
        sealing = self.options.sealing()
        if size <= self._pace.part_bytes:
            await self._client.call("put_object", body=Body(source, 0, size), Key=name, **sealing)
        else:
            await s3_parts.put(self._client, name, source, size, self._pace, sealing)
        return key

    async def put_new(self, key: str, source: Path) -> bool:
        """As `put`, unless something has the key already: whether it did. One request, so 5 GiB at most.

        Where the answer of a first try was lost, what it kept counts as something.
        """
        body = Body(source, 0, (await asyncio.to_thread(source.stat)).st_size)
        given = {"Key": self._name(key), "IfNoneMatch": "*", **self.options.sealing()}
        try:
            await self._client.call("put_object", body=body, raising=REPLACED, **given)
        except ClientError:
            return False
        return True

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Goes on where a connection broke, as long as it is the same object."""
        name = self._name(key)
        if end is not None and end <= start:
            if await self.stat(key) is None:
                raise Missing()
            return
        asked: dict[str, Any] = {}
        failed = 0
        while True:
            if start or end is not None:
                asked["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            answer = await self._get(name, asked)
            if answer is None:
                return
            asked["IfMatch"] = answer["ETag"]
            end = start + answer["ContentLength"]
            try:
                async for chunk in _chunks(answer["Body"]):
                    start, failed = start + len(chunk), 0
                    yield chunk
                if start < end:
                    raise ConnectionError
                return
            except FAILURES as e:
                failed += 1
                if failed >= self._pace.read_tries:
                    raise translated(e) from None
            await asyncio.sleep(self._pace.pause(failed))

    async def _get(self, name: str, asked: dict[str, Any]) -> Any:
        """None where nothing of the object lies in that range."""
        try:
            answer = await self._client.call(
                "get_object", tries=self._pace.read_tries, raising={"InvalidRange", *REPLACED}, Key=name, **asked
            )
        except ClientError as e:
            if code(e) == "InvalidRange":
                return None
            raise StoreUnavailable("The object was replaced while it was read.") from None
        if "Range" in asked and "ContentRange" not in answer:
            answer["Body"].close()
            raise StoreUnavailable("The S3 store gives no ranges.")
        return answer

    async def stat(self, key: str) -> Stat | None:
        name = self._name(key)
        try:
            found = await self._client.call(
                "head_object", tries=self._pace.read_tries, raising={"400", "403", "404"}, Key=name
            )
        except ClientError:
            return await self._whether(name)
        return Stat(found["ContentLength"], found["LastModified"])

    async def _whether(self, name: str) -> Stat | None:
        """As `stat`, by a call whose error has a body, and so tells a missing object from a missing bucket."""
        try:
            found = await self._client.call("get_object", tries=self._pace.read_tries, Key=name)
        except Missing:
            return None
        found["Body"].close()
        return Stat(found["ContentLength"], found["LastModified"])

    async def delete(self, key: str) -> None:
        name = self.address.prefix + check_key(key, folder=True)
        if key.endswith("/") or await self._keeps_versions():
            found = [one async for one in self._versions_or_objects(name)]
            await self._delete_all(one for one in found if key.endswith("/") or one["Key"] == name)
        else:
            with suppress(Missing):
                await self._client.call("delete_object", Key=name)

    async def _delete_all(self, objects: Iterable[dict[str, str]]) -> None:
        left = iter(objects)
        while some := list(islice(left, MOST_AT_ONCE)):
            told = await self._client.call("delete_objects", Delete={"Objects": some, "Quiet": True})
            if errors := [e for e in told.get("Errors", []) if e.get("Code") != "NoSuchKey"]:
                raise translated(ClientError({"Error": errors[0]}, "DeleteObjects"))

    async def _keeps_versions(self) -> bool:
        """Whether deleting an object would leave its bytes there under another name."""
        if self._versions is None or monotonic() - self._versions[0] > VERSIONS_SECONDS:
            try:
                told = await self._client.call(
                    "get_bucket_versioning", raising={"NotImplemented", "AccessDenied", "MethodNotAllowed"}
                )
            except ClientError:
                told = {}
            self._versions = (monotonic(), told.get("Status") in ("Enabled", "Suspended"))
        return self._versions[1]

    async def _versions_or_objects(self, prefix: str) -> AsyncIterator[dict[str, str]]:
        if not await self._keeps_versions():
            async for found in self._objects(prefix):
                yield {"Key": found["Key"]}
            return
        marks: dict[str, Any] = {}
        while True:
            page = await self._client.call("list_object_versions", Prefix=prefix, **marks)
            for found in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                yield {"Key": found["Key"], "VersionId": found["VersionId"]}
            if not page.get("IsTruncated"):
                return
            marks = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    async def _objects(self, prefix: str) -> AsyncIterator[dict[str, Any]]:
        marks: dict[str, Any] = {}
        while True:
            page = await self._client.call("list_objects_v2", Prefix=prefix, **marks)
            for found in page.get("Contents", []):
                yield found
            if not page.get("IsTruncated"):
                return
            marks = {"ContinuationToken": page["NextContinuationToken"]}

    async def listed(self, prefix: str = "") -> AsyncIterator[tuple[str, Stat]]:
        """What is no object key of ours is not told of."""
        async for found in self._objects(self.address.prefix + prefix):
            with suppress(BadKey):
                key = check_key(found["Key"].removeprefix(self.address.prefix))
                yield key, Stat(found["Size"], found["LastModified"])

    async def check(self) -> None:
        name = f"{self.address.prefix}.chipmunk-check-{uuid4().hex}"
        await self._client.call("list_objects_v2", tries=2, Prefix=name, MaxKeys=1)
        kept = await self._client.call("put_object", tries=2, Key=name, Body=b"chipmunk", **self.options.sealing())
        try:
            if self.options.encryption not in ("", kept.get("ServerSideEncryption")):
                raise StoreUnavailable("The S3 store does not encrypt as the backend says.")
            answer = await self._client.call("get_object", tries=2, Key=name)
            found = b"".join([chunk async for chunk in _chunks(answer["Body"])])
        except FAILURES as e:
            raise translated(e) from None
        finally:
            await self._client.call("delete_object", tries=2, Key=name)
        if found != b"chipmunk":
            raise StoreUnavailable("The S3 store does not give back what it was given.")

    async def abort_stale(self, older_than: timedelta) -> int:
        """Drops the uploads in parts that were begun so long ago, and returns how many."""
        found = [u async for u in s3_parts.stale(self._client, self.address.prefix, older_than)]
        for name, upload in found:
            await s3_parts.abort(self._client, name, upload)
        return len(found)

    async def close(self) -> None:
        await self._client.close()


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    try:
        while chunk := await body.read(CHUNK):
            yield chunk
    finally:
        body.close()
