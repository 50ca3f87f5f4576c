"""Presigned uploads on the local volume, and everything about them that is the same on S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from chipmunk import ids, jobs
from chipmunk.config import Settings
from chipmunk.jobs import Job
from compressor import incoming_sweep, ladder, sweep, worker
from compressor.incoming import longest, room_of
from tests.compressor.conftest import House, house_of, photo, working

PHOTO = photo()
GENERAL = {"imgf": "jpeg", "imgn": "a.jpg", "f": "general", "ct": "browser"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_delay", lambda tries: timedelta(0))


async def init(house: House, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
    params = {**GENERAL, "user": "ann", **query}
    given = {k: v for k, v in params.items() if v is not None}
    return await house.http.get("/v1/images/upload_init", params=given, headers=headers)


async def begun(house: House, **query: Any) -> dict[str, Any]:
    answer = await init(house, **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["upload_info_map"])


async def send(house: House, info: dict[str, Any], data: bytes, **headers: str) -> httpx.Response:
    """Sends it as a browser would: with what it was told to send, and no credential."""
    path = urlsplit(info["presigned_url_str"]).path
    async with httpx.AsyncClient(transport=house.http._transport, base_url="http://x") as http:
        return await http.request(info["method"], path, headers={**info["headers"], **headers}, content=data)


async def complete(
    house: House, info: dict[str, Any], headers: dict[str, str] | None = None, meta: Any = None, **query: Any
) -> httpx.Response:
    params = {"imgid": info["upload_gf_image_id_str"], **query}
    body = {} if meta is None else {"content": json.dumps({"meta_map": meta})}
    headers = {"content-type": "application/json", **(headers or {})}
    return await house.http.post("/v1/images/upload_complete", params=params, headers=headers, **body)


async def ended(house: House, job: str, seconds: float = 15) -> Job:
    async with asyncio.timeout(seconds):
        while True:
            async with house.database.connection() as connection:
                found = await jobs.find(connection, UUID(hex=job))
            if found is not None and found.state not in ("queued", "running"):
                return found
            await asyncio.sleep(0.02)


async def collected(house: House, info: dict[str, Any], **given: Any) -> Job:
    answer = await complete(house, info, **given)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"images_job_id_str"}
    async with working(house.parts):
        return await ended(house, answer.json()["images_job_id_str"])


async def row(house: House, info: dict[str, Any]) -> Any:
    return await house.one("select * from uploads where id = $1", UUID(hex=info["upload_gf_image_id_str"]))


async def pass_by(house: House, info: dict[str, Any], seconds: int) -> None:
    """So much later."""
    await house.run(
        "update uploads set created_at = created_at - $2::interval, expires_at = expires_at - $2 where id = $1",
        UUID(hex=info["upload_gf_image_id_str"]), timedelta(seconds=seconds),
    )  # fmt: skip


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_what_was_sent_becomes_the_media_whose_id_was_told_first(house: House) -> None:
    await house.flow("trips")
    info = await begun(house, f="trips,general", imgn="beach.jpg")
    assert set(info) == {
        "upload_gf_image_id_str", "presigned_url_str", "method", "headers", "fields", "expires_at", "name_str",
        "flows_names_lst", "creation_unix_time_f", "user_id_str",
    }  # fmt: skip
    assert (info["method"], info["headers"], info["fields"]) == ("PUT", {"Content-Type": "image/jpeg"}, {})
    assert (info["name_str"], info["flows_names_lst"], info["user_id_str"]) == (
        "beach.jpg",
        ["trips", "general"],
        "ann",
    )
    assert abs(info["creation_unix_time_f"] - house.parts.now()) < 60
    assert info["presigned_url_str"].startswith(f"{house.settings.base_url}/v1/images/direct/")
    assert await house.standing() == (0, 0, 0)
    assert (await send(house, info, PHOTO)).status_code == 200
    assert await house.standing() == (0, room_of(len(PHOTO)), 0)
    job = await collected(house, info, meta={"camera": "x"}, f="general,trips")
    assert (job.state, job.media_id and job.media_id.hex) == ("completed", info["upload_gf_image_id_str"])
    async with working(house.parts):
        found = await house.until("ready", info["upload_gf_image_id_str"])
    assert (found.filename, found.flows, found.owner, found.bytes) == (
        "beach.jpg",
        ["general", "trips"],
        "ann",
        len(PHOTO),
    )
    assert found.meta == {"camera": "x"}
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)
    assert not [f for f in house.files() if f.startswith(".")]


async def test_a_user_without_limit_sends_as_others_do(house: House) -> None:
    await house.user("bob", quota=None)
    info = await begun(house, user="bob", size=len(PHOTO))
    assert (await send(house, info, PHOTO)).status_code == 200
    assert (await collected(house, info)).state == "completed"


async def test_completed_again_it_is_the_same_job(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    first = (await complete(house, info, meta={"a": 1})).json()
    assert (await complete(house, info, meta={"a": 2})).json() == first
    async with working(house.parts):
        await ended(house, first["images_job_id_str"])
        found = await house.until("ready", info["upload_gf_image_id_str"])
    assert (await complete(house, info)).json() == first
    assert found.meta == {"a": 1}
    assert (await house.one("select count(*) from jobs where kind = 'collect'"))[0] == 1


async def test_completed_by_many_at_once_it_is_one_job(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    answers = await asyncio.gather(*(complete(house, info) for _ in range(5)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.json()["images_job_id_str"] for a in answers}) == 1
    assert await house.standing() == (0, room_of(len(PHOTO)), 0)


async def test_nothing_that_is_sent_after_it_was_completed_counts(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    answer = await complete(house, info)
    assert code(await send(house, info, photo(seed=2))) == (409, "conflict")
    async with working(house.parts):
        await ended(house, answer.json()["images_job_id_str"])
    assert code(await send(house, info, photo(seed=3))) == (409, "conflict")
    assert (house.folder(info["upload_gf_image_id_str"]) / "0").read_bytes() == PHOTO


async def test_the_last_that_came_whole_counts(house: House) -> None:
    info, second = await begun(house), photo(640, 480, seed=2)
    await send(house, info, PHOTO)
    await send(house, info, second)
    assert await house.standing() == (0, room_of(len(second)), 0)

    async def cut() -> AsyncIterator[bytes]:
        yield PHOTO[:1000]

    path = urlsplit(info["presigned_url_str"]).path
    answer = await house.http.put(path, content=cut(), headers={**info["headers"], "content-length": str(len(PHOTO))})
    assert code(answer) == (400, "bad_request")
    assert await house.standing() == (0, room_of(len(second)), 0)
    assert (await collected(house, info)).state == "completed"
    assert (house.folder(info["upload_gf_image_id_str"]) / "0").read_bytes() == second


async def test_what_is_cut_leaves_nothing(house: House) -> None:
    info = await begun(house)

    async def cut() -> AsyncIterator[bytes]:
        yield PHOTO[:1000]

    path = urlsplit(info["presigned_url_str"]).path
    answer = await house.http.put(path, content=cut(), headers={**info["headers"], "content-length": str(len(PHOTO))})
    assert code(answer) == (400, "bad_request")
    assert await house.nothing()
    assert code(await complete(house, info)) == (409, "conflict")


async def test_while_something_is_being_sent_it_is_not_completed(house: House) -> None:
    info, going = await begun(house), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PHOTO[:1000]
        await going.wait()
        yield PHOTO[1000:]

    path = urlsplit(info["presigned_url_str"]).path
    headers = {**info["headers"], "content-length": str(len(PHOTO))}
    sending = asyncio.create_task(house.http.put(path, content=slow(), headers=headers))
    async with asyncio.timeout(5):
        while (await row(house, info))["holder"] is None:
            await asyncio.sleep(0.01)
    assert code(await complete(house, info)) == (423, "locked")
    assert code(await send(house, info, PHOTO)) == (423, "locked")
    going.set()
    assert (await sending).status_code == 200
    assert (await collected(house, info)).state == "completed"


async def test_a_user_uploads_for_themselves_and_sees_no_other_s(house: House) -> None:
    await house.user("bob")
    await house.flow("closed")
    ann, bob, viewer = [
        {"authorization": f"Bearer {token}"}
        for token in (await house.token("ann"), await house.token("bob"), await house.token("ann", ("view",)))
    ]
    info = (await init(house, ann, user=None)).json()["upload_info_map"]
    assert info["user_id_str"] == "ann"
    await send(house, info, PHOTO)
    for headers, query, wanted in (
        (ann, {"user": "bob"}, (403, "forbidden")),
        (viewer, {"user": None}, (403, "scope_missing")),
        (ann, {"user": None, "f": "closed"}, (422, "unknown_flow")),
        (None, {"user": "nobody"}, (422, "unknown_user")),
        (None, {"user": None}, (400, "bad_request")),
        ({"authorization": "Bearer cmk_wrong"}, {}, (401, "unauthorized")),
    ):
        assert code(await init(house, headers, **query)) == wanted, query
    foreign, unknown = (
        await complete(house, info, bob),
        await complete(house, {"upload_gf_image_id_str": "0" * 32}, bob),
    )
    assert code(foreign) == code(unknown) == (404, "not_found")
    assert foreign.json()["detail"] == unknown.json()["detail"]
    assert code(await complete(house, info, {"authorization": "Bearer no"})) == (401, "unauthorized")
    assert code(await complete(house, info, viewer)) == (403, "scope_missing")
    assert code(await complete(house, info, f="closed")) == (422, "mismatch")
    assert (await complete(house, info, ann)).status_code == 200


async def test_a_page_of_another_site_begins_nothing_with_the_cookie(house: House) -> None:
    cookie = {"cookie": f"chipmunk_session={await house.token('ann')}"}
    async with httpx.AsyncClient(transport=house.http._transport, base_url="http://x") as http:
        answer = await http.get("/v1/images/upload_init", params=GENERAL, headers=cookie)
        assert code(answer) == (403, "cross_site")
        same = {**cookie, "sec-fetch-site": "same-origin"}
        assert (await http.get("/v1/images/upload_init", params=GENERAL, headers=same)).status_code == 200
    assert (await house.one("select count(*) from uploads"))[0] == 1


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"imgf": None}, (400, "bad_request")),
        ({"imgf": "exe"}, (415, "unsupported_type")),
        ({"imgf": "avi"}, (415, "unsupported_type")),
        ({"imgf": "a/b"}, (400, "bad_request")),
        ({"f": "no such"}, (400, "bad_request")),
        ({"f": "none"}, (422, "unknown_flow")),
        ({"size": "0"}, (422, "empty_file")),
        ({"size": "-1"}, (400, "bad_request")),
        ({"size": "20000000000"}, (413, "too_large")),
        ({"size": "60000000"}, (413, "quota_exceeded")),
        ({"method": "get"}, (400, "bad_request")),
        ({"parts": "1"}, (400, "bad_request")),
        ({"parts": "1", "size": "1000", "method": "post"}, (400, "bad_request")),
    ],
)
async def test_what_cannot_become_a_media_is_refused_before_anything_is_sent(
    house: House, query: dict[str, str | None], wanted: tuple[int, str]
) -> None:
    assert code(await init(house, **query)) == wanted
    assert (await house.one("select count(*) from uploads"))[0] == 0


async def test_types_that_settings_allow_can_be_sent(settings: Settings) -> None:
    async with house_of(settings.model_copy(update={"allowed_types": ("video/*",)})) as house:
        await house.user()
        assert (await begun(house, imgf="AVI"))["headers"] == {"Content-Type": "video/x-msvideo"}


async def test_a_url_takes_what_it_was_signed_for(house: House) -> None:
    info = await begun(house, size=len(PHOTO))
    assert code(await send(house, info, PHOTO, **{"Content-Type": "image/png"})) == (415, "unsupported_type")
    assert code(await send(house, info, PHOTO + b"\0")) == (422, "mismatch")
    assert code(await send(house, info, b"")) == (422, "empty_file")
    url = info["presigned_url_str"]
    for wrong in (url[:-1], url[:-1] + ("A" if url[-1] != "A" else "B"), url + "/x"):
        assert (await send(house, {**info, "presigned_url_str": wrong}, PHOTO)).status_code == 404
    await house.run("update users set suspended = true")
    assert code(await send(house, info, PHOTO)) == (403, "forbidden")
    assert await house.nothing()


async def test_a_file_larger_than_any_is_refused_unread(settings: Settings) -> None:
    async with house_of(settings.model_copy(update={"max_file_bytes": 1000})) as house:
        await house.user()
        assert code(await send(house, await begun(house), PHOTO)) == (413, "too_large")
        assert await house.nothing()


async def test_the_quota_holds_from_the_first_byte(house: House) -> None:
    await house.user("bob", quota=room_of(len(PHOTO)))
    await house.user("eve", quota=room_of(len(PHOTO)) - 1)
    assert code(await init(house, user="eve", size=len(PHOTO))) == (413, "quota_exceeded")
    refused = await begun(house, user="eve")
    assert code(await send(house, refused, PHOTO)) == (413, "quota_exceeded")
    assert await house.standing("eve") == (0, 0, 0)
    info = await begun(house, user="bob", size=len(PHOTO))
    assert (await send(house, info, PHOTO)).status_code == 200
    assert (await collected(house, info)).state == "completed"
    async with working(house.parts), asyncio.timeout(15):
        while (await house.standing("bob"))[1]:
            await asyncio.sleep(0.02)
    assert code(await init(house, user="bob")) == (413, "quota_exceeded")


def test_the_longest_file_is_the_longest_that_fits() -> None:
    for room in (0, 1, 40_000, 500_000, 2_000_000, 10**9):
        most = longest(room)
        assert most == 0 or room_of(most) <= room < room_of(most + 1)
    assert longest(room_of(len(PHOTO))) == len(PHOTO)
    assert ladder.still_cap(0) > 0


async def test_a_user_has_so_many_open_and_no_more(settings: Settings) -> None:
    async with house_of(settings.model_copy(update={"presigned_uploads": 2})) as house:
        await house.user()
        await house.user("bob")
        answers = await asyncio.gather(*(init(house) for _ in range(4)))
        assert sorted(a.status_code for a in answers) == [200, 200, 429, 429]
        refused = next(a for a in answers if a.status_code == 429)
        assert (refused.json()["code"], refused.json()["limit"]) == ("too_many_uploads", 2)
        assert (await init(house, user="bob")).status_code == 200
        info = next(a for a in answers if a.status_code == 200).json()["upload_info_map"]
        await send(house, info, PHOTO)
        await complete(house, info)
        assert (await init(house)).status_code == 200


async def test_what_is_never_completed_is_removed(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    await pass_by(house, info, house.settings.presigned_seconds)
    assert code(await send(house, info, PHOTO)) == (404, "not_found")
    await sweep.Sweeper(house.parts).sweep()
    assert await row(house, info) is not None
    await pass_by(house, info, house.settings.presigned_seconds)
    assert code(await complete(house, info)) == (404, "not_found")
    await sweep.Sweeper(house.parts).sweep()
    assert await row(house, info) is None
    assert await house.nothing()


async def test_what_was_sent_in_time_can_be_completed_for_a_while(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    await pass_by(house, info, house.settings.presigned_seconds + 60)
    assert (await collected(house, info)).state == "completed"


@pytest.mark.parametrize(
    ("data", "reason"), [(b"<svg>", "not a format"), (PHOTO[:3000], "damaged")], ids=["no format", "corrupt"]
)
async def test_what_is_refused_by_its_content_leaves_a_reason_and_nothing_else(
    house: House, data: bytes, reason: str
) -> None:
    info = await begun(house)
    await send(house, info, data)
    job = await collected(house, info)
    assert job.state == "failed"
    assert reason in str(job.reason)
    assert await house.nothing()
    assert (await complete(house, info)).json()["images_job_id_str"] == job.id.hex


@pytest.mark.parametrize(
    "meta", [[1], "x", {"a": "\0"}, {"a": "x" * 20_000}, {"a": "\ud800"}], ids=["list", "text", "nul", "long", "half"]
)
async def test_a_meta_map_that_cannot_be_kept_is_refused(house: House, meta: Any) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    assert code(await complete(house, info, meta=meta)) == (422, "unprocessable")


async def test_a_job_whose_worker_died_half_way_ends_the_same(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    answer = await complete(house, info)
    media = UUID(hex=info["upload_gf_image_id_str"])
    left = house.parts.store.path(ids.folder(media))
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"of an attempt that got so far")
    await house.run("delete from reservations")
    await house.run("update users set reserved_bytes = 0")
    async with working(house.parts):
        job = await ended(house, answer.json()["images_job_id_str"])
        await house.until("ready", media.hex)
    assert job.state == "completed"
    assert (left / "0").read_bytes() == PHOTO
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)


async def test_what_its_job_gave_up_is_given_back(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    await complete(house, info)
    assert await incoming_sweep.expired(house.parts) == 0
    await house.run("update jobs set state = 'failed'")
    await incoming_sweep.expired(house.parts)
    assert (await row(house, info))["state"] == "failed"
    assert await house.nothing()


async def test_with_its_user_it_goes(house: House) -> None:
    info = await begun(house)
    await send(house, info, PHOTO)
    async with house.database.transaction() as connection:
        from chipmunk import users

        await users.delete(connection, house.app_id, "ann")
    async with working(house.parts):
        async with asyncio.timeout(10):
            while await row(house, info) is not None:
                await asyncio.sleep(0.05)
    assert house.files() == []
