"""Requests that a browser may make straight to S3, signed here and bound to one key, one type and a size."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from chipmunk.storage import Missing, Presigned, check_key, s3_parts
from chipmunk.storage.s3_address import Address, Options
from chipmunk.storage.s3_client import Client

LONGEST = timedelta(days=7)  # what signature version 4 allows
RULE = "chipmunk"


class Presigning:
    """Of an S3Store."""

    address: Address
    options: Options
    _client: Client

    def _name(self, key: str) -> str:
        return self.address.prefix + check_key(key)

    async def presign_get(self, key: str, ttl: timedelta) -> Presigned:
        return Presigned("GET", await self._url("get_object", ttl, Key=self._name(key)), {}, {})

    async def presign_put(self, key: str, mime: str, ttl: timedelta, length: int | None = None) -> Presigned:
        """The browser sends exactly these headers; without them, or with others, the signature does not hold."""
        bound: dict[str, Any] = {"ContentType": mime, **self.options.sealing()}
        if length is not None:
            bound["ContentLength"] = length
        url = await self._url("put_object", ttl, Key=self._name(key), **bound)
        return Presigned("PUT", url, {"Content-Type": mime, **self._sealing_headers()}, {})

    async def presign_post(self, key: str, mime: str, ttl: timedelta, most_bytes: int) -> Presigned:
        fields = {"Content-Type": mime, **self._sealing_headers()}
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        conditions.append(["content-length-range", 1, most_bytes])
        client = await self._client.opened()
        signed = await client.generate_presigned_post(
            self.address.bucket, self._name(key), Fields=fields, Conditions=conditions, ExpiresIn=_seconds(ttl)
        )
        return Presigned("POST", signed["url"], {}, signed["fields"])

    async def begin_parts(self, key: str, mime: str) -> str:
        begun = await self._client.call(
            "create_multipart_upload", Key=self._name(key), ContentType=mime, **self.options.sealing()
        )
        return str(begun["UploadId"])

    async def presign_part(self, key: str, upload: str, number: int, ttl: timedelta) -> Presigned:
        if not 1 <= number <= s3_parts.MOST_PARTS:
            raise ValueError("parts are numbered from 1 to 10,000")
        url = await self._url("upload_part", ttl, Key=self._name(key), UploadId=upload, PartNumber=number)
        return Presigned("PUT", url, {}, {})

    async def finish_parts(self, key: str, upload: str) -> None:
        name = self._name(key)
        parts, size = await s3_parts.arrived(self._client, name, upload)
        if not parts:
            raise Missing("None of the parts has arrived.")
        await s3_parts.complete(self._client, name, upload, parts, size)

    async def abort_parts(self, key: str, upload: str) -> None:
        await s3_parts.abort(self._client, self._name(key), upload)

    async def cors(self, origins: Collection[str]) -> None:
        """Lets pages of these origins send straight to the bucket. Rules that are not this system's stay."""
        try:
            told = await self._client.call("get_bucket_cors", raising={"NoSuchCORSConfiguration", "404"})
        except ClientError:
            told = {}
        rules = [rule for rule in told.get("CORSRules", []) if rule.get("ID") != RULE]
        ours = {
            "ID": RULE,
            "AllowedOrigins": sorted(origins),
            "AllowedMethods": ["PUT", "POST"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 3600,
        }
        if wanted := [*rules, *([ours] if origins else [])]:
            await self._client.call("put_bucket_cors", CORSConfiguration={"CORSRules": wanted})
        else:
            await self._client.call("delete_bucket_cors")

    async def _url(self, operation: str, ttl: timedelta, **given: Any) -> str:
        client = await self._client.opened()
        bound = {"Bucket": self.address.bucket, **given}
        return str(await client.generate_presigned_url(operation, Params=bound, ExpiresIn=_seconds(ttl)))

    def _sealing_headers(self) -> dict[str, str]:
        names = {
            "x-amz-server-side-encryption": self.options.encryption,
            "x-amz-server-side-encryption-aws-kms-key-id": self.options.kms_key,
        }
        return {name: value for name, value in names.items() if value}


def _seconds(ttl: timedelta) -> int:
    return int(min(ttl, LONGEST).total_seconds())
