"""Files of the server's own disk: whose call it is, which folders and files count, and what is stored once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from chipmunk import apps, users
from chipmunk.config import Settings
from compressor import importing
from tests.compressor.conftest import House, photo, working
from tests.compressor.test_images_jobs import ended, found, heard, images

OPERATOR = "cmo_" + "o" * 40


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "2019" / "sea").mkdir(parents=True)
    for n in range(6):
        (folder / f"{n}.jpg").write_bytes(photo(seed=n))
    (folder / "2019" / "sea" / "again 3.jpg").write_bytes(photo(seed=3))
    (folder / "2019" / "ä ö.jpg").write_bytes(photo(seed=7))
    (folder / "notes.txt").write_text("no picture\n" * 20)
    (folder / "empty.jpg").touch()
    (folder / ".hidden.jpg").write_bytes(photo(seed=8))
    (tmp_path / "outside.jpg").write_bytes(photo(seed=9))
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return folder


@pytest.fixture
def settings(settings: Settings, library: Path) -> Settings:
    return settings.model_copy(update={"import_dirs": (str(library),), "operator_key": OPERATOR})


async def start(house: House, folder: Path | str, key: str = OPERATOR, **fields: Any) -> httpx.Response:
    body = {"job_type_str": "process_local_images", "imgs_urls_str": [str(folder)], "user": "ann", **fields}
    return await house.http.post("/images/jobs/start", json=body, headers={"authorization": f"Bearer {key}"})


async def started(house: House, folder: Path | str, **fields: Any) -> UUID:
    answer = await start(house, folder, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.json()["job_expected_outputs_lst"] == []
    return UUID(hex=answer.json()["running_job_id_str"])


async def test_a_folder_is_taken_in_each_content_once(house: House, library: Path) -> None:
    await house.flow("old")
    job = await started(house, library, flows_names_lst=["old"])
    async with working(house.parts):
        now = await ended(house, job)
        by_name = {image.source: image for image in await images(house, job)}
        for name in ("2019/ä ö.jpg", "0.jpg"):
            media = await house.until("ready", by_name[name].media_id.hex)
            assert (media.owner, media.flows, media.filename) == ("ann", ["old"], name.rpartition("/")[2])
        for image in by_name.values():
            if image.state == "stored":
                await house.until("ready", image.media_id.hex)
    assert (now.state, now.kind) == ("failed_partial", "images")
    assert now.progress == {"total": 10, "done": 8, "failed": 2, "there": 1}
    assert {name: image.state for name, image in by_name.items()} == {
        **{f"{n}.jpg": "stored" for n in (0, 1, 2, 4, 5)}, "2019/ä ö.jpg": "stored", "notes.txt": "failed",
        "empty.jpg": "failed", "3.jpg": by_name["3.jpg"].state, "2019/sea/again 3.jpg": by_name["2019/sea/again 3.jpg"].state,
    }  # fmt: skip
    twins = [by_name["3.jpg"], by_name["2019/sea/again 3.jpg"]]
    assert {twin.state for twin in twins} == {"stored", "there"}
    assert twins[0].media_id == twins[1].media_id
    assert (await house.standing())[1:] == (0, 7)
    assert {event.data["there"] for event in await heard(house, job) if "there" in event.data} >= {True}


async def test_taken_in_again_nothing_is_stored_twice_and_what_was_deleted_is_stored_anew(
    house: House, library: Path
) -> None:
    async with working(house.parts):
        await ended(house, await started(house, library))
        async with asyncio.timeout(20):
            while (first := await house.standing())[1]:
                await asyncio.sleep(0.05)
        again = await started(house, library)
        now = await ended(house, again)
        assert now.progress == {"total": 10, "done": 8, "failed": 2, "there": 8}
        assert await house.standing() == first
        gone = next(image for image in await images(house, again) if image.source == "0.jpg")
        assert (await house.http.delete(f"/v1/media/{gone.media_id.hex}")).status_code == 204
        third = await started(house, library)
        assert (await ended(house, third)).progress == {"total": 10, "done": 8, "failed": 2, "there": 7}
        await house.user("bob")
        await started(house, library, user="bob")
        async with asyncio.timeout(30):
            while (await house.standing("bob"))[2] < 7:
                await asyncio.sleep(0.05)


async def test_a_folder_is_taken_in_for_a_user_of_the_app_that_is_named(house: House, library: Path) -> None:
    async with house.database.transaction() as connection:
        app, _ = await apps.put(connection, "shop", {})
        await users.put(connection, app.key, "ann", quota=None, suspended=None, given=frozenset())
    job = await started(house, library / "2019" / "sea", app="shop")
    async with working(house.parts), asyncio.timeout(20):
        while (await house.one("select state from jobs where id = $1", job))[0] != "completed":
            await asyncio.sleep(0.05)
    assert (await house.one("select app_id from media"))[0] == app.key
    assert await house.standing() == (0, 0, 0)


async def test_only_the_operator_and_only_below_the_folders_that_settings_name(house: House, library: Path) -> None:
    outside = library.parent
    (library / "way out").symlink_to(outside)
    for folder, key, fields, status, code in (
        (library, house.http.headers["authorization"].removeprefix("Bearer "), {}, 403, "forbidden"),
        (library, await house.token("ann"), {}, 403, "forbidden"),
        (library, "cmo_wrong", {}, 401, "unauthorized"),
        (outside, OPERATOR, {}, 422, "unprocessable"),
        ("/", OPERATOR, {}, 422, "unprocessable"),
        ("/etc", OPERATOR, {}, 422, "unprocessable"),
        (f"{library}/../", OPERATOR, {}, 422, "unprocessable"),
        (f"{library}/way out", OPERATOR, {}, 422, "unprocessable"),
        (f"{library}/nothing", OPERATOR, {}, 422, "unprocessable"),
        (f"{library}/0.jpg", OPERATOR, {}, 422, "unprocessable"),
        ("library", OPERATOR, {}, 422, "unprocessable"),
        (f"{library}\0", OPERATOR, {}, 422, "unprocessable"),
        (library, OPERATOR, {"user": "nobody"}, 422, "unknown_user"),
        (library, OPERATOR, {"app": "nope"}, 422, "unknown_user"),
        (library, OPERATOR, {"user": None}, 400, "bad_request"),
        (library, OPERATOR, {"imgs_urls_str": [str(library)] * 2}, 400, "bad_request"),
        (library, OPERATOR, {"flows_names_lst": ["nope"]}, 422, "unknown_flow"),
        (library, OPERATOR, {"job_type_str": "process_extern_images", "imgs_urls_str": ["http://a.example/"]}, 403, "forbidden"),
    ):  # fmt: skip
        answer = await start(house, folder, key, **fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (folder, fields, answer.text)
        assert "library" not in answer.json()["detail"]
    assert (await house.one("select count(*) from jobs"))[0] == 0


async def test_a_file_that_becomes_a_link_leads_nowhere(
    house: House, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await started(house, library / "2019")
    real = importing._copied

    def swapped(settings: Settings, folder: str, name: str, target: Path) -> tuple[int, bytes]:
        if name == "ä ö.jpg":
            (library / "2019" / name).unlink(missing_ok=True)
            (library / "2019" / name).symlink_to(library.parent / "outside.jpg")
        elif (library / "2019" / "sea").is_dir() and not (library / "2019" / "sea").is_symlink():
            (library / "2019" / "sea").rename(library.parent / "sea")
            (library / "2019" / "sea").symlink_to(library.parent / "sea")
        return real(settings, folder, name, target)

    monkeypatch.setattr(importing, "_copied", swapped)
    async with working(house.parts):
        assert (await ended(house, job)).state == "failed"
    assert await house.nothing()


async def test_a_walk_that_fails_ends_the_job(house: House, library: Path) -> None:
    job = await started(house, library / "2019")
    (library / "2019").rename(library / "2020")
    async with working(house.parts):
        now = await ended(house, job)
    assert (now.state, "CHIPMUNK_IMPORT_DIRS" in (now.reason or "")) == ("failed", True)


async def test_of_an_empty_folder_nothing_comes(house: House, library: Path) -> None:
    (library / "none").mkdir()
    job = await started(house, library / "none")
    async with working(house.parts):
        now = await ended(house, job)
    assert (now.state, now.progress) == ("completed", {"total": 0, "done": 0, "failed": 0})


async def test_an_import_that_is_stopped_goes_on_where_it_was(house: House, library: Path) -> None:
    for n in range(40):
        (library / f"more {n}.jpg").write_bytes(photo(seed=100 + n))
    job = await started(house, library)
    for _ in range(3):
        async with working(house.parts):
            await asyncio.sleep(0.7)
    assert (await found(house, job)).state in ("running", "failed_partial")
    async with working(house.parts):
        now = await ended(house, job, 60)
    assert now.progress == {"total": 50, "done": 48, "failed": 2, "there": 1}
    assert (await house.standing())[2] == 47
    folders = {str(Path(name).parent) for name in house.files()}
    assert len(folders) == 47
