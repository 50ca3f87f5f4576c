"""What nginx keeps of a media goes when a tag names it, again when more of it comes a moment later, and no other's does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

from chipmunk.ids import new_id
from gateway import kept
from gateway.kept import Kept
from gateway.memory import Tags

MEDIA, OTHER = new_id(), new_id()


def keep(folder: Path, media: UUID) -> list[Path]:
    paths = [kept.path(folder, media, rung) for rung in range(1, 7)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"rung")
    return paths


def left(paths: list[Path]) -> int:
    return sum(path.exists() for path in paths)


@asynccontextmanager
async def forgetting(folder: Path) -> AsyncIterator[Kept]:
    found = Kept(folder, time.monotonic)
    task = asyncio.create_task(found.keep_forgetting())
    try:
        yield found
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def gone(paths: list[Path], seconds: float = 2) -> None:
    async with asyncio.timeout(seconds):
        while left(paths):
            await asyncio.sleep(0.01)


def test_a_file_lies_where_nginx_puts_it() -> None:
    media = UUID(hex="0190aaaa0000700080000000deadbeef")
    assert kept.path(Path("/c"), media, 3) == Path("/c/e/8a/56cab1485fdfa80b578aedb8cf6e98ae")


async def test_a_tag_of_a_media_has_its_files_deleted_and_no_others(tmp_path: Path) -> None:
    going, staying = keep(tmp_path, MEDIA), keep(tmp_path, OTHER)
    async with forgetting(tmp_path) as found:
        tags = Tags(found.forget)
        tags.arrive([f"link:{OTHER.hex}", "user:1", f"media:{MEDIA.hex}"], 0.0)
        await gone(going)
    assert left(staying) == 6


async def test_what_is_kept_of_variants_goes_by_a_tag_of_its_own(tmp_path: Path) -> None:
    rungs, variants = keep(tmp_path, MEDIA), [kept.path(tmp_path, MEDIA, name) for name in ("v1.webp", "v64.avif")]
    for path in variants:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"variant")
    async with forgetting(tmp_path) as found:
        found.forget([f"media:{OTHER.hex}", f"variants:{MEDIA.hex}"])
        await gone(variants)
        assert left(rungs) == 6
        found.forget([f"media:{MEDIA.hex}"])
        await gone(rungs)


async def test_what_comes_a_moment_later_goes_too(tmp_path: Path) -> None:
    keep(tmp_path, OTHER)
    async with forgetting(tmp_path) as found:
        found.forget([f"media:{MEDIA.hex}"])
        await asyncio.sleep(0.3)
        going = keep(tmp_path, MEDIA)
        await gone(going)
        await asyncio.sleep(0.3)
        await gone(keep(tmp_path, MEDIA))


async def test_after_the_last_look_a_file_stays(tmp_path: Path) -> None:
    keep(tmp_path, OTHER)
    async with forgetting(tmp_path) as found:
        found.forget([f"media:{MEDIA.hex}"])
        await asyncio.sleep(kept.LOOKS[-1] + 0.3)
        staying = keep(tmp_path, MEDIA)
        await asyncio.sleep(0.5)
        assert left(staying) == 6
        assert found._due == {}


async def test_without_a_cache_nothing_is_looked_for(tmp_path: Path) -> None:
    async with forgetting(tmp_path / "none") as found:
        found.forget([f"media:{MEDIA.hex}"])
        await asyncio.sleep(0.2)
        assert not found.anything()
        assert found.patience() > 1
    keep(tmp_path, MEDIA)
    assert Kept(tmp_path, time.monotonic).patience() == 1


async def test_a_file_that_cannot_be_deleted_does_not_end_it(tmp_path: Path) -> None:
    kept.path(tmp_path, MEDIA, 1).mkdir(parents=True)
    going = keep(tmp_path, OTHER)
    async with forgetting(tmp_path) as found:
        found.forget([f"media:{MEDIA.hex}"])
        await asyncio.sleep(0.2)
        found.forget([f"media:{OTHER.hex}"])
        await gone(going, 4)
