"""Calls to S3 that are made again while that helps, and end in time. What they need is loaded with the first."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import ssl
from base64 import b64encode
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import Any, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from chipmunk.storage import StoreUnavailable
from chipmunk.storage.s3_address import Address, Options
from chipmunk.storage.s3_body import Body
from chipmunk.storage.s3_errors import FAILURES, code, passes, translated

CONNECTIONS = 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: to connect, without a byte moving, and for one call in all, where it moves no body. Part sizes in bytes.

    Reads give up sooner, since there may be another copy.
    """

    connect: float = 5
    idle: float = 20
    deadline: float = 40
    tries: int = 6
    read_tries: int = 3
    first_pause: float = 0.2
    longest_pause: float = 10
    part_bytes: int = 64 * 1024 * 1024
    parts_at_once: int = 2

    def pause(self, tried: int) -> float:
        """Before the next try: exponential, with full jitter, so that many callers do not come back as one."""
        return random.uniform(0, min(self.longest_pause, self.first_pause * 2**tried))  # noqa: S311


@cache
def session() -> AioSession:
    """Holds the service's description, once a process, and nothing of this machine's AWS settings or credentials."""
    for name in ("botocore", "aiobotocore"):  # at DEBUG they write signatures
        logging.getLogger(name).setLevel(logging.WARNING)
    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return AioSession(session_vars={"profile": (None, None, None, None), **nowhere})


def configuration(options: Options, pace: Pace) -> AioConfig:
    return AioConfig(
        region_name=options.region,
        signature_version="s3v4",
        connect_timeout=pace.connect,
        read_timeout=pace.idle,
        max_pool_connections=CONNECTIONS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Content-MD5, which all servers know, holds each body to what was read from disk.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": options.addressing, "payload_signing_enabled": False},
        use_dualstack_endpoint=False,
        use_fips_endpoint=False,
        ignore_configured_endpoint_urls=True,
        warm_up_loader_caches=True,
        user_agent="chipmunk",
    )


class Client:
    """One endpoint with one pair of keys."""

    def __init__(self, address: Address, options: Options, keys: tuple[str, str], pace: Pace) -> None:
        self._address = address
        self._options = options
        self._keys = keys
        self._pace = pace
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._closed = False

    async def opened(self) -> Any:
        """aiobotocore's client."""
        async with self._opening:
            if self._closed:
                raise StoreUnavailable("This connection to the S3 store is closed.")
            if self._client is None:
                client = await self._stack.enter_async_context(
                    session().create_client(
                        "s3",
                        region_name=self._options.region,
                        endpoint_url=self._address.endpoint,
                        aws_access_key_id=self._keys[0],
                        aws_secret_access_key=self._keys[1],
                        verify=ssl.get_default_verify_paths().cafile,
                        config=configuration(self._options, self._pace),
                    )
                )
                for operation in ("DeleteObjects", "PutBucketCors"):
                    client.meta.events.register(f"before-call.s3.{operation}", _with_md5)
                self._client = client
            return self._client

    async def close(self) -> None:
        self._closed = True
        await self._stack.aclose()

    async def call(
        self, operation: str, *, body: Body | None = None, tries: int = 0, raising: Collection[str] = (), **given: Any
    ) -> Any:
        """The answer. Raises Missing, StoreUnavailable, and as it came an error whose code is in `raising`."""
        began, tried, stalled = monotonic(), 0, 0.0
        while True:
            try:
                return await self._once(operation, body, given)
            except FAILURES as e:
                tried += 1
                pause = self._pace.pause(tried)
                stalled += self._pace.idle if isinstance(e, TimeoutError) else 0
                spent = monotonic() - began if body is None else stalled
                if code(e) in raising:
                    raise
                late = spent + pause > self._pace.deadline
                if late or tried >= (tries or self._pace.tries) or not passes(e):
                    raise translated(e) from None
            await asyncio.sleep(pause)

    async def _once(self, operation: str, body: Body | None, given: dict[str, Any]) -> Any:
        method = getattr(await self.opened(), operation)
        given = {"Bucket": self._address.bucket, **given}
        if body is None:
            async with asyncio.timeout(self._pace.deadline):
                return await method(**given)
        digest = await body.digest()
        with body.stream() as stream:
            call = method(Body=stream, ContentLength=body.length, ContentMD5=digest, **given)
            return await moving(call, stream.tell, self._pace.idle)


def _with_md5(params: dict[str, Any], **_: Any) -> None:
    """Holds the body to Content-MD5, in place of the newer checksums that not all servers know."""
    params["context"].pop("checksum", None)
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = b64encode(digest).decode()


async def moving(call: Coroutine[Any, Any, T], position: Callable[[], int], idle: float) -> T:
    """The call's result, or TimeoutError once `position` has not changed for `idle` seconds."""
    task = asyncio.ensure_future(call)
    try:
        before = position()
        while not (await asyncio.wait({task}, timeout=idle))[0]:
            now = position()
            if now == before:
                raise TimeoutError
            before = now
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
