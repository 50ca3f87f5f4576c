"""after_ingest and before_share, as a worker asks them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from compressor import worker
from tests.compressor.conftest import House, photo, settings_of, working
from tests.compressor.plugs import install_kindly
from tests.compressor.test_sharing import BASE, Post, post_of
from tests.servers.mail import mailbox

DYING_SECONDS = 1.5


@pytest.fixture
async def post(tmp_path: Path, database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    install_kindly(monkeypatch, tmp_path / "packages")
    monkeypatch.setattr(worker, "LONGEST_DELAY", timedelta(seconds=0.2))
    options = {"within": "example.com", "flows": ["general"], "dies_until": time.time() + DYING_SECONDS}
    with mailbox() as box:
        given = settings_of(
            tmp_path / "data", database, redis_url, public_url=BASE, decoders=1,
            smtp_url=f"smtp://127.0.0.1:{box.port}", mail_from="media@chipmunk.example",
            plugins=("kindly",), plugin_options=json.dumps({"kindly": options}),
        )  # fmt: skip
        async with post_of(given, box) as post:
            yield post


async def tags(house: House, media: str) -> list[str]:
    found = await house.one("select tags from media where id = $1::text::uuid", media)
    return list(found["tags"])


async def ended(house: House, number: int) -> list[str]:
    async with asyncio.timeout(20):
        while True:
            rows = await house.many("select state from jobs where kind = 'after_ingest' and finished_at is not null")
            if len(rows) >= number:
                return [r["state"] for r in rows]
            await asyncio.sleep(0.02)


async def test_it_is_asked_about_each_media_afterwards_again_where_it_died_and_its_tags_stay(post: Post) -> None:
    house = post.house
    await house.flow("private")
    one = await house.stored(photo(), filename="deadly")
    await house.stored(photo(), flow="private")
    gone = await house.stored(photo())
    assert (await house.http.delete(f"/v1/media/{gone['id']}")).status_code == 204
    await house.run("update media set tags = '{sea}' where id = $1::text::uuid", one["id"])
    async with working(house.parts):
        assert await ended(house, 2) == ["completed"] * 2
        await house.until("ready", one["id"])
    assert await tags(house, one["id"]) == ["sea", "image/jpeg", "whole", "É"]
    [found] = (await post.api.get("/v1/search", params={"tag": "whole"})).json()["items"]
    assert found["id"] == one["id"]


async def test_what_it_refuses_to_share_is_not_mailed_and_the_job_says_why(post: Post) -> None:
    media = (await post.house.stored())["id"]
    await post.share(media, email_address="bob@elsewhere.org")
    await post.share(media)
    async with working(post.house.parts):
        refused, sent = await post.ended(2)
    assert (refused["state"], sent["state"]) == ("failed", "completed")
    assert refused["reason"] == "image 'Look' may not leave for bob@elsewhere.org."
    assert [to for _, to in post.box.sent_to] == [["ann@example.com"]]
    assert await post.kept() == 0
