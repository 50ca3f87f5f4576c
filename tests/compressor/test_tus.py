import asyncio
import hashlib
import random
from uuid import UUID

import pytest

from chipmunk import quotas, uploads
from chipmunk.config import Settings
from compressor import ladder, leases, tus_headers
from compressor.sweep import Sweeper
from tests.compressor.conftest import House, house_of, photo
from tests.compressor.test_sweep import NOW
from tests.compressor.tus import BYTES, PATH, TUS, checksum, create, created, cut, head, metadata, patch, told

PHOTO = photo()
LARGE = photo(1600, 1200, 3, 95)


def identifier(where: str) -> UUID:
    return UUID(hex=where.removeprefix(PATH))


async def original(house: House, where: str) -> bytes:
    return (house.folder(where.removeprefix(PATH)) / "0").read_bytes()


async def test_options_tell_what_there_is_and_need_no_credential(house: House) -> None:
    for path in (PATH, f"{PATH}{'0' * 32}"):
        answer = await house.http.options(path, headers={"authorization": ""})
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
        assert set(answer.headers["tus-extension"].split(",")) == set(tus_headers.EXTENSIONS)
        assert answer.headers["tus-max-size"] == str(house.settings.max_file_bytes)
        assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"


async def test_an_upload_in_pieces_becomes_one_media_of_the_same_id(house: House) -> None:
    where = await created(house, len(PHOTO), flow="general", filename="a b.jpg")
    third = len(PHOTO) // 3
    for offset in range(0, 2 * third, third):
        answer = await patch(house, where, PHOTO[offset : offset + third], offset)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(offset + third))
        assert "upload-expires" in answer.headers
        looked = await head(house, where)
        assert looked.headers["upload-offset"] == str(offset + third)
        assert looked.headers["upload-length"] == str(len(PHOTO))
        assert looked.headers["cache-control"] == "no-store"
    last = await patch(house, where, PHOTO[2 * third :], 2 * third)
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(PHOTO)))
    media = last.headers["chipmunk-media"]
    assert media == where.removeprefix(PATH)
    found = await house.until("processing", media)
    assert (found.filename, found.flows, found.owner) == ("a b.jpg", ["general"], "ann")
    assert found.sha256 == hashlib.sha256(PHOTO).digest()
    assert await original(house, where) == PHOTO
    assert not list(house.parts.part_files.root.iterdir())
    assert (await head(house, where)).headers["chipmunk-media"] == media
    assert await told(house, where) == {
        "id": media, "state": "stored", "offset": len(PHOTO), "length": len(PHOTO), "media": media, "problem": None,
        "expires_at": (await told(house, where))["expires_at"],
    }  # fmt: skip


async def test_the_quota_is_reserved_at_creation_and_charged_once(house: House) -> None:
    where = await created(house, len(PHOTO))
    assert await house.standing() == (0, len(PHOTO) + ladder.still_cap(len(PHOTO)), 0)
    await patch(house, where, PHOTO)
    used, kept, count = await house.standing()
    assert (count, used) == (1, house.bytes_on_disk())
    assert used + kept == len(PHOTO) + ladder.still_cap(len(PHOTO))
    for _ in range(2):
        assert (await head(house, where)).status_code == 200
        again = await patch(house, where, b"", len(PHOTO))
        assert (again.status_code, again.headers["chipmunk-media"]) == (204, where.removeprefix(PATH))
    assert await house.standing() == (used, kept, 1)


async def test_what_does_not_fit_is_refused_at_creation(house: House) -> None:
    await house.user(quota=100_000)
    answer = await create(house, 100_001)
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
    answer = await create(house, house.settings.max_file_bytes + 1)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.headers["tus-resumable"] == "1.0.0"
    answer = await create(house, 0)
    assert (answer.status_code, answer.json()["code"]) == (422, "empty_file")
    assert await house.nothing()
    assert (await house.one("select count(*) from uploads"))[0] == 0


async def test_a_cut_keeps_what_came_and_the_next_request_goes_on(house: House) -> None:
    where = await created(house, len(LARGE))
    half = len(LARGE) // 2
    chunks = [LARGE[i : i + 20_000] for i in range(0, half, 20_000)]
    came = sum(map(len, chunks))
    assert await cut(house, "PATCH", where, chunks, upload_offset="0", content_length=str(len(LARGE))) == 400
    looked = await head(house, where)
    assert looked.headers["upload-offset"] == str(came)
    assert (await patch(house, where, LARGE[came:], came)).headers["chipmunk-media"]
    assert await original(house, where) == LARGE


async def test_a_killed_holder_loses_the_upload_within_seconds_and_what_it_did_not_record(house: House) -> None:
    where = await created(house, len(PHOTO))
    await patch(house, where, PHOTO[:1000])
    part = house.parts.part_files.original(identifier(where))
    part.write_bytes(PHOTO[:1000] + b"written, and never recorded")
    dead = "update uploads set holder = gen_random_uuid(), held_until = now() + interval '1 s'"
    await house.run(dead)
    answer = await patch(house, where, PHOTO[1000:], 1000)
    assert answer.status_code == 204
    assert await original(house, where) == PHOTO


async def test_a_living_holder_keeps_the_upload(house: House) -> None:
    where = await created(house, len(PHOTO))
    async with leases.held(house.parts, identifier(where)) as lease, lease.kept():
        answer = await patch(house, where, PHOTO)
        assert (answer.status_code, answer.json()["code"]) == (423, "locked")
        assert answer.headers["retry-after"] == "1"
    assert (await patch(house, where, PHOTO)).status_code == 204


async def test_of_two_with_the_same_offset_one_wins(house: House) -> None:
    for _ in range(5):
        where = await created(house, len(PHOTO))
        answers = await asyncio.gather(*(patch(house, where, PHOTO) for _ in range(4)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 204
        assert set(statuses[1:]) <= {400, 409, 423}
        assert await original(house, where) == PHOTO
    assert (await house.standing())[2] == 5


async def test_one_that_was_overtaken_writes_nothing_any_more(house: House) -> None:
    where = await created(house, len(LARGE))
    going, chunks = asyncio.Event(), [LARGE[:70_000], LARGE[70_000:]]

    async def slow() -> object:
        yield b"X" * 70_000
        await going.wait()
        yield b"Y" * (len(LARGE) - 70_000)

    first = asyncio.create_task(patch(house, where, slow(), content_length=str(len(LARGE))))  # type: ignore[arg-type]
    await asyncio.sleep(0.2)
    for chunk, offset in zip(chunks, (0, 70_000), strict=True):
        answer = await patch(house, where, chunk, offset)
        assert answer.status_code == 204
    going.set()
    assert (await first).status_code in (404, 423)
    assert await original(house, where) == LARGE


async def test_several_compressors_share_an_upload(house: House, settings: Settings) -> None:
    async with house_of(settings) as other:
        where, step = await created(house, len(LARGE)), 10_000
        for number, offset in enumerate(range(0, len(LARGE), step)):
            at = (house, other)[number % 2]
            answer = await patch(at, where, LARGE[offset : offset + step], offset)
            assert answer.status_code == 204
            assert (await head((other, house)[number % 2], where)).headers["upload-offset"] == answer.headers[
                "upload-offset"
            ]
        assert await original(house, where) == LARGE
        for seed in range(5):
            data = photo(seed=seed)
            where = await created(house, len(data))
            answers = await asyncio.gather(*(patch((house, other)[n % 2], where, data) for n in range(4)))
            assert sum(answer.status_code == 204 for answer in answers) == 1
            assert await original(house, where) == data
    assert (await house.standing())[2] == 6


async def test_an_offset_that_is_not_the_uploads_is_a_conflict(house: House) -> None:
    where = await created(house, len(PHOTO))
    await patch(house, where, PHOTO[:100])
    for offset in (0, 99, 101):
        answer = await patch(house, where, PHOTO[offset:], offset)
        assert (answer.status_code, answer.json()["code"], answer.json()["offset"]) == (409, "other_offset", 100)


async def test_more_bytes_than_announced_are_refused(house: House) -> None:
    where = await created(house, 1000)
    assert (await patch(house, where, bytes(1001))).status_code == 400

    async def unannounced() -> object:
        for _ in range(3):
            yield bytes(400)

    assert (await patch(house, where, unannounced())).status_code == 400  # type: ignore[arg-type]
    assert (await head(house, where)).headers["upload-offset"] == "0"


async def test_what_ingest_refuses_ends_the_upload_and_leaves_nothing(house: House) -> None:
    for data, status, code in ((b"no picture at all", 415, "unsupported_type"), (PHOTO[:2000], 422, "corrupt_image")):
        where = await created(house, len(data))
        answer = await patch(house, where, data)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (answer.headers["content-type"], answer.headers["tus-resumable"]) == (
            "application/problem+json",
            "1.0.0",
        )
        found = await told(house, where)
        assert (found["state"], found["problem"]["code"], found["media"]) == ("failed", code, None)
        assert (await head(house, where)).status_code == status
        again = await patch(house, where, b"", len(data))
        assert (again.status_code, again.json()["code"]) == (status, code)
        assert await house.nothing()


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "GET", "sweep"])
async def test_an_upload_whose_compressor_died_at_the_end_is_finished_by_whoever_comes(
    house: House, method: str
) -> None:
    where = await created(house, len(PHOTO))
    async with leases.held(house.parts, identifier(where)) as lease:
        part = house.parts.part_files.original(identifier(where))
        part.parent.mkdir(parents=True)
        part.write_bytes(PHOTO)
        await lease.record(len(PHOTO))
    left = house.folder(where.removeprefix(PATH))
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"of the one that died")
    match method:
        case "HEAD":
            assert (await head(house, where)).headers["chipmunk-media"]
        case "PATCH":
            assert (await patch(house, where, b"", len(PHOTO))).headers["chipmunk-media"]
        case "GET":
            assert (await told(house, where))["state"] == "stored"
        case _:
            await Sweeper(house.parts, NOW).sweep()
    assert (await told(house, where))["state"] == "stored"
    assert await original(house, where) == PHOTO
    used, _, count = await house.standing()
    assert (used, count) == (house.bytes_on_disk(), 1)


async def test_an_upload_that_cannot_be_stored_now_waits_and_is_stored_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await created(house, len(PHOTO))
    monkeypatch.setattr(type(house.parts.store), "place", full)
    answer = await patch(house, where, PHOTO)
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert (await head(house, where)).status_code == 507
    monkeypatch.undo()
    assert (await head(house, where)).headers["chipmunk-media"]
    assert await original(house, where) == PHOTO
    assert (await house.standing())[2] == 1


async def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_an_upload_ends_when_it_is_deleted(house: House) -> None:
    where = await created(house, len(PHOTO))
    await patch(house, where, PHOTO[:1000])
    assert (await house.http.delete(where, headers=TUS)).status_code == 204
    assert await house.nothing()
    for answer in (await head(house, where), await house.http.delete(where, headers=TUS)):
        assert answer.status_code == 404


async def test_deleting_a_finished_upload_leaves_its_media(house: House) -> None:
    where = await created(house, len(PHOTO))
    await patch(house, where, PHOTO)
    assert (await house.http.delete(where, headers=TUS)).status_code == 204
    assert (await head(house, where)).status_code == 404
    assert await original(house, where) == PHOTO
    assert (await house.standing())[2] == 1


async def test_what_expires_goes_with_its_bytes_and_its_place(house: House) -> None:
    where, younger = await created(house, len(PHOTO)), await created(house, len(PHOTO))
    await patch(house, where, PHOTO[:1000])
    await patch(house, younger, PHOTO[:1000])
    await house.run("update uploads set expires_at = now() - interval '1 s' where id = $1", identifier(where))
    assert (await head(house, where)).status_code == 404
    assert (await patch(house, where, PHOTO[1000:], 1000)).status_code == 404
    await Sweeper(house.parts, NOW).sweep()
    assert [r["id"] for r in await house.many("select id from uploads")] == [identifier(younger)]
    assert await house.standing() == (0, len(PHOTO) + ladder.still_cap(len(PHOTO)), 0)
    assert (await patch(house, younger, PHOTO[1000:], 1000)).status_code == 204
    await Sweeper(house.parts, NOW).sweep()
    assert (await house.standing())[2] == 1


async def test_files_that_no_upload_needs_are_swept_and_others_stay(house: House) -> None:
    where = await created(house, len(PHOTO))
    await patch(house, where, PHOTO[:1000])
    stray = house.parts.part_files.folder(UUID(int=5))
    stray.mkdir()
    (stray / "0").write_bytes(b"x")
    await Sweeper(house.parts, NOW).sweep()
    assert not stray.exists()
    assert house.parts.part_files.original(identifier(where)).exists()


async def test_each_patch_puts_the_end_off(house: House) -> None:
    where = await created(house, len(PHOTO))
    await house.run("update uploads set expires_at = now() + interval '5 s', created_at = now() - interval '2 days'")
    await house.run("update reservations set expires_at = now() + interval '5 s'")
    await patch(house, where, PHOTO[:1000])
    left, kept = await house.one(
        "select u.expires_at - now(), r.expires_at - now() from uploads u join reservations r on r.id = u.id"
    )
    assert left.total_seconds() > house.settings.upload_seconds - 60
    assert kept > left


async def test_a_user_may_have_so_many_unfinished_uploads(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    first = await created(house, 1000)
    await created(house, 1000)
    answer = await create(house, 1000)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_uploads")
    await house.http.delete(first, headers=TUS)
    await created(house, 1000)
    assert (await house.standing())[1] == 2 * (1000 + ladder.still_cap(1000))


async def test_many_creations_at_once_do_not_pass_the_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 3)
    statuses = [answer.status_code for answer in await asyncio.gather(*(create(house, 1000) for _ in range(12)))]
    assert sorted(statuses) == [201] * 3 + [429] * 9
    assert (await house.standing())[1] == 3 * (1000 + ladder.still_cap(1000))


async def test_a_checksum_that_is_wrong_keeps_nothing_of_its_request(house: House) -> None:
    data = random.Random(1).randbytes(3_000_000)
    where = await created(house, len(data))
    half = len(data) // 2
    wrong = await patch(house, where, data[:half], **checksum(data[1:half]))
    assert (wrong.status_code, wrong.json()["code"]) == (460, "checksum_mismatch")
    assert (await head(house, where)).headers["upload-offset"] == "0"
    for algorithm, start, end in (("sha1", 0, half), ("sha256", half, len(data) - 1)):
        answer = await patch(house, where, data[start:end], start, **checksum(data[start:end], algorithm))
        assert answer.status_code == 204
    for bad in ("md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha1", "sha1 ???", "sha1 AAAA"):
        assert (await patch(house, where, data[-1:], len(data) - 1, upload_checksum=bad)).status_code == 400
    part = house.parts.part_files.original(identifier(where)).read_bytes()
    assert part == data[:-1]


async def test_a_cut_of_a_body_with_a_checksum_keeps_nothing(house: House) -> None:
    where = await created(house, len(LARGE))
    assert await cut(house, "PATCH", where, [LARGE[:50_000]], upload_offset="0", **checksum(LARGE)) == 400
    assert (await head(house, where)).headers["upload-offset"] == "0"
    assert (await patch(house, where, LARGE, **checksum(LARGE))).headers["chipmunk-media"]


async def test_bytes_may_come_with_the_creation(house: House) -> None:
    answer = await create(house, len(PHOTO), content=PHOTO)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(PHOTO)))
    assert answer.headers["chipmunk-media"] == answer.headers["location"].removeprefix(PATH)
    some = await create(house, len(PHOTO), content=PHOTO[:500])
    assert (some.status_code, some.headers["upload-offset"]) == (201, "500")
    assert (await patch(house, some.headers["location"], PHOTO[500:], 500)).headers["chipmunk-media"]
    refused = await create(house, 5, content=b"hello")
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_type")
    wrong = await create(house, len(PHOTO), content=PHOTO, headers=checksum(b"x"))
    assert wrong.status_code == 460
    about = metadata(user="ann")
    assert await cut(house, "POST", PATH, [PHOTO[:99]], upload_length="1000", upload_metadata=about) == 400
    assert (await house.standing())[2] == 2
    assert (await house.one("select count(*) from uploads where state <> 'stored'"))[0] == 0


async def test_a_length_may_be_said_later(house: House) -> None:
    where = await created(house, headers={"upload-defer-length": "1"})
    looked = await head(house, where)
    assert (looked.headers["upload-defer-length"], "upload-length" in looked.headers) == ("1", False)
    await patch(house, where, PHOTO[:1000])
    assert (await house.standing())[1] == 1000 + ladder.still_cap(1000)
    answer = await patch(house, where, PHOTO[1000:], 1000, upload_length=str(len(PHOTO)))
    assert answer.headers["chipmunk-media"]
    used, _, count = await house.standing()
    assert (used, count) == (house.bytes_on_disk(), 1)
    other = await created(house, headers={"upload-defer-length": "1"})
    await patch(house, other, PHOTO)
    assert (await patch(house, other, b"", len(PHOTO), upload_length=str(len(PHOTO) - 1))).status_code == 400
    ended = await patch(house, other, b"", len(PHOTO), upload_length=str(len(PHOTO)))
    assert ended.headers["chipmunk-media"] == other.removeprefix(PATH)


async def test_a_length_that_is_said_stays(house: House) -> None:
    where = await created(house, headers={"upload-defer-length": "1"})
    await patch(house, where, PHOTO[:10], upload_length=str(len(PHOTO)))
    assert (await patch(house, where, PHOTO[10:], 10, upload_length=str(len(PHOTO) + 1))).status_code == 400
    assert (await patch(house, where, PHOTO[10:], 10, upload_length=str(len(PHOTO)))).headers["chipmunk-media"]


async def test_an_upload_of_no_known_length_ends_where_the_quota_does(house: House) -> None:
    await house.user(quota=1_500_000)
    where = await created(house, headers={"upload-defer-length": "1"})

    async def endless() -> object:
        for _ in range(40):
            yield bytes(100_000)

    answer = await patch(house, where, endless())  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
    assert (await told(house, where))["state"] == "failed"
    assert await house.nothing()


async def test_an_upload_of_no_known_length_that_lost_its_place_takes_no_more(house: House) -> None:
    where = await created(house, headers={"upload-defer-length": "1"})
    await patch(house, where, LARGE[:1000])
    async with house.parts.database.connection() as connection:
        await quotas.release(connection, identifier(where))

    async def more() -> object:
        yield LARGE[1000:]

    answer = await patch(house, where, more(), 1000)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert (await head(house, where)).headers["upload-offset"] == "1000"


async def test_what_is_reserved_as_an_upload_grows_never_shrinks_below_what_was_announced(house: House) -> None:
    where = await created(house, headers={"upload-defer-length": "1"})
    before = await house.standing()
    assert await cut(house, "PATCH", where, [LARGE[:1000]], upload_offset="0", content_length="500000") in (None, 400)
    after = await house.standing()
    assert after[1] >= 500_000 > before[1]


async def test_parts_become_one_file_in_the_order_of_their_naming(house: House) -> None:
    third = len(LARGE) // 3
    pieces = [LARGE[:third], LARGE[third : 2 * third], LARGE[2 * third :]]
    partial = {"upload-concat": "partial"}
    parts = [await created(house, len(piece), headers=partial) for piece in pieces]
    assert (await house.standing())[1] == len(LARGE)
    for where, piece in list(zip(parts, pieces, strict=True))[::-1]:
        answer = await patch(house, where, piece)
        assert (answer.status_code, "chipmunk-media" in answer.headers) == (204, False)
        assert (await head(house, where)).headers["upload-concat"] == "partial"
    final = {"upload-concat": f"final;{parts[0]} http://x{parts[1]} {parts[2]}"}
    answer = await create(house, headers=final)
    assert answer.status_code == 201, answer.text
    where = answer.headers["location"]
    assert answer.headers["chipmunk-media"] == where.removeprefix(PATH)
    assert await original(house, where) == LARGE
    looked = await head(house, where)
    assert looked.headers["upload-concat"] == f"final;{' '.join(parts)}"
    assert looked.headers["upload-length"] == looked.headers["upload-offset"] == str(len(LARGE))
    again = await create(house, headers=final)
    assert (again.status_code, again.headers["location"]) == (201, where)
    used, kept, count = await house.standing()
    assert (used, count) == (house.bytes_on_disk(), 1)
    assert used + kept == len(LARGE) + ladder.still_cap(len(LARGE))
    assert (await patch(house, where, b"x", len(LARGE))).status_code == 403


async def test_a_final_upload_is_made_of_finished_parts_of_the_same_user(house: House) -> None:
    await house.user("bob")
    partial = {"upload-concat": "partial"}
    done = await created(house, 10, headers=partial, content=bytes(10))
    unfinished = await created(house, 10, headers=partial)
    plain = await created(house, 10)
    foreign = await created(house, 10, headers=partial, content=bytes(10), user="bob")
    for urls, status in (
        (f"{done} {unfinished}", 400),
        (f"{done} {plain}", 400),
        (f"{done} {foreign}", 404),
        (f"{done} {PATH}{'0' * 32}", 404),
        (f"{done} /etc/passwd", 404),
        (f"{done} {done}", 422),
        ("", 400),
    ):
        answer = await create(house, headers={"upload-concat": f"final;{urls}"})
        assert answer.status_code == status, urls
    assert (await create(house, 10, headers={"upload-concat": f"final;{done}"})).status_code == 400
    assert (await head(house, done)).headers["upload-offset"] == "10"


async def test_parts_neither_pass_the_quota_nor_keep_out_what_fits(house: House) -> None:
    size = len(LARGE) + ladder.still_cap(len(LARGE))
    partial = {"upload-concat": "partial"}
    for quota, status in ((size, 201), (size - 1, 413)):
        name = f"user{quota}"
        await house.user(name, quota=quota)
        half = len(LARGE) // 2
        parts = [
            await created(house, len(piece), headers=partial, content=piece, user=name)
            for piece in (LARGE[:half], LARGE[half:])
        ]
        answer = await create(house, headers={"upload-concat": f"final;{' '.join(parts)}"}, user=name)
        assert answer.status_code == status, answer.text
        used, reserved, _ = await house.standing(name)
        assert used + reserved <= quota


async def test_a_final_upload_whose_compressor_died_is_finished_by_whoever_comes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = len(PHOTO) // 2
    partial = {"upload-concat": "partial"}
    parts = [await created(house, len(piece), headers=partial, content=piece) for piece in (PHOTO[:half], PHOTO[half:])]
    final = {"upload-concat": f"final;{' '.join(parts)}"}
    monkeypatch.setattr(type(house.parts.store), "place", full)
    assert (await create(house, headers=final)).status_code == 507
    monkeypatch.undo()
    assert (await house.http.delete(parts[0], headers=TUS)).status_code == 204
    await Sweeper(house.parts, NOW).sweep()
    answer = await create(house, headers=final)
    assert answer.status_code == 201
    assert await original(house, answer.headers["location"]) == PHOTO
    assert (await house.standing())[2] == 1


async def test_unknown_foreign_and_malformed_ids_are_all_the_same(house: House) -> None:
    await house.user("bob")
    where = await created(house, len(PHOTO))
    bob = {"authorization": f"Bearer {await house.token('bob')}"}
    for path in (
        where,
        f"{PATH}{'0' * 32}",
        f"{PATH}nonsense",
        f"{PATH}{'0' * 31}G",
        where.upper().replace("V1", "v1"),
    ):
        for method in ("HEAD", "GET", "PATCH", "DELETE"):
            headers = {**TUS, **BYTES, **bob, "upload-offset": "0"}
            answer = await house.http.request(method, path, headers=headers)
            assert answer.status_code == 404, (method, path)
    assert (await head(house, where)).status_code == 200


async def test_a_session_uploads_for_its_own_user_and_needs_the_scope(house: House) -> None:
    await house.user("bob")
    bob = {"authorization": f"Bearer {await house.token('bob', ('upload',))}"}
    where = await created(house, len(PHOTO), user=None, headers=bob)
    assert (await patch(house, where, PHOTO, **bob)).headers["chipmunk-media"]
    assert (await house.standing("bob"))[2] == 1
    assert (await create(house, 10, user="ann", headers=bob)).status_code == 403
    viewer = {"authorization": f"Bearer {await house.token('bob', ('view',))}"}
    assert (await create(house, 10, user=None, headers=viewer)).json()["code"] == "scope_missing"
    assert (await head(house, where, **viewer)).status_code == 403
    assert (await create(house, 10, user=None)).status_code == 400
    assert (await create(house, 10, headers={"authorization": ""})).status_code == 401
    assert (await head(house, where, authorization="Bearer nonsense")).status_code == 401


async def test_a_cookie_uploads_from_allowed_pages_alone(house: House) -> None:
    cookie = {"authorization": "", "cookie": f"chipmunk_session={await house.token('ann')}"}
    assert (await create(house, 10, user=None, headers=cookie)).json()["code"] == "cross_site"
    same = {**cookie, "sec-fetch-site": "same-origin"}
    where = await created(house, 10, user=None, headers=same)
    assert (await patch(house, where, bytes(5), **cookie)).json()["code"] == "cross_site"
    assert (await patch(house, where, bytes(5), **same)).status_code == 204
    assert (await house.http.delete(where, headers={**TUS, **cookie})).json()["code"] == "cross_site"
    assert (await create(house, 10, headers={"origin": "https://app.example"})).json()["code"] == "key_in_browser"


async def test_every_request_says_which_tus_it_speaks(house: House) -> None:
    where = await created(house, len(PHOTO))
    for version in ({}, {"tus-resumable": "0.2.2"}):
        for method, path in (("POST", PATH), ("HEAD", where), ("PATCH", where), ("DELETE", where)):
            answer = await house.http.request(method, path, headers={**BYTES, "upload-offset": "0", **version})
            assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0"), method
    assert (await head(house, where)).headers["upload-offset"] == "0"


async def test_a_method_may_be_said_in_a_header(house: House) -> None:
    where = await created(house, len(PHOTO))
    headers = {**TUS, **BYTES, "upload-offset": "0", "x-http-method-override": "PATCH"}
    answer = await house.http.post(where, headers=headers, content=PHOTO)
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(PHOTO)))
    answer = await house.http.post(where, headers=TUS)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "PATCH" in answer.headers["allow"]


async def test_flows_are_those_that_the_user_may_post_to(house: House) -> None:
    await house.flow("club")
    await house.flow("open", posting="users", square=True)
    token = {"authorization": f"Bearer {await house.token('ann')}"}
    answer = await create(house, 10, user=None, flow="club", headers=token)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_flow")
    where = await created(house, len(PHOTO), user=None, flow="open, general", headers=token)
    await patch(house, where, PHOTO, **token)
    found = await house.until("processing", where.removeprefix(PATH))
    assert (found.flows, found.square) == (["general", "open"], True)
    by_app = await created(house, len(PHOTO), flow="club")
    assert (await patch(house, by_app, PHOTO)).headers["chipmunk-media"]
    gone = await created(house, len(PHOTO), flow="club")
    await house.run("delete from flow_media")
    await house.run("delete from flows where name = 'club'")
    assert (await patch(house, gone, PHOTO)).json()["code"] == "unknown_flow"


async def test_a_suspended_user_appends_nothing(house: House) -> None:
    where = await created(house, len(PHOTO))
    await house.run("update users set suspended = true")
    assert (await patch(house, where, PHOTO)).status_code == 403


async def test_the_address_is_absolute_where_the_settings_say_how_we_are_reached(house: House) -> None:
    settings = house.settings.model_copy(update={"public_url": "https://media.example/x"})
    object.__setattr__(house.parts, "settings", settings)
    answer = await create(house, 10)
    assert answer.headers["location"].startswith(f"https://media.example/x{PATH}")


async def test_a_deleted_users_uploads_go(house: House) -> None:
    from chipmunk import users
    from tests.compressor.conftest import working

    where = await created(house, len(PHOTO))
    await patch(house, where, PHOTO[:1000])
    async with house.database.transaction() as connection:
        await users.delete(connection, house.app_id, "ann")
    assert (await head(house, where)).status_code == 404
    async with working(house.parts):
        async with asyncio.timeout(20):
            while (await house.one("select count(*) from users"))[0]:
                await asyncio.sleep(0.05)
    assert (await house.one("select (select count(*) from uploads) + (select count(*) from reservations)"))[0] == 0
    assert house.files() == []
