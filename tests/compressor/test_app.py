import hashlib
import io
import json

import pytest
from PIL import Image

from chipmunk.operations import answers
from compressor import ladder
from tests.compressor.conftest import API_KEY, House, b64, form, gif, photo, working

PHOTO = photo()


async def test_what_is_answered_201_is_on_disk_charged_and_has_its_job(house: House) -> None:
    answer = await house.put(PHOTO, filename="holiday.jpg")
    assert answer.status_code == 201, answer.text
    media = answer.json()
    assert answer.headers["location"] == f"/v1/media/{media['id']}"
    folder = house.folder(media["id"])
    assert (folder / "0").read_bytes() == PHOTO
    assert sorted(p.name for p in folder.iterdir()) == ["0", "1.webp", "2.webp", "3.webp"]
    expected = {
        "owner": "ann", "kind": "image", "status": "processing", "mime": "image/jpeg", "filename": "holiday.jpg",
        "width": 320, "height": 240, "bytes": len(PHOTO), "flows": ["general"],
    }  # fmt: skip
    assert {k: media[k] for k in expected} == expected
    assert media["sha256"] == hashlib.sha256(PHOTO).hexdigest()
    assert [(r["quality"], r["width"], r["height"]) for r in media["rungs"]] == [(1, 10, 8), (2, 40, 30), (3, 160, 120)]
    used, reserved, count = await house.standing()
    assert used == media["total_bytes"] == house.bytes_on_disk()
    assert reserved > 0
    assert count == 1
    assert (await house.one("select kind, state, media_id from jobs"))["kind"] == "ladder"
    assert media["job"] is not None


async def test_a_media_is_for_the_services_account_alone(house: House) -> None:
    media = await house.stored()
    assert house.folder(media["id"]).stat().st_mode & 0o077 == 0


async def test_the_worker_finishes_the_ladder_and_the_books_agree_with_the_disk(house: House) -> None:
    media = await house.stored(photo(1500, 1200))
    async with working(house.parts):
        found = await house.until("ready", media["id"])
    assert [r["quality"] for r in found.rungs] == [1, 2, 3, 4, 5, 6]
    for rung in found.rungs:
        data = (house.folder(media["id"]) / f"{rung['quality']}.webp").read_bytes()
        assert (len(data), Image.open(io.BytesIO(data)).size) == (rung["bytes"], (rung["width"], rung["height"]))
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)
    assert found.total_bytes == house.bytes_on_disk()
    assert (await house.one("select state from jobs"))["state"] == "completed"


async def test_prefer_wait_answers_once_the_ladder_is_done(house: House) -> None:
    async with working(house.parts):
        answer = await house.put(PHOTO, headers={"prefer": "wait=20"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait")
    assert answer.json()["status"] == "ready"
    assert len(answer.json()["rungs"]) == 6


async def test_an_animation_reserves_the_larger_cap_and_keeps_its_frames(house: House) -> None:
    data = gif()
    media = await house.stored(data, filename="a.gif")
    used, reserved, _ = await house.standing()
    assert used + reserved == len(data) + ladder.animated_cap(len(data))
    async with working(house.parts):
        found = await house.until("ready", media["id"])
    with Image.open(house.folder(media["id"]) / "6.webp") as image:
        assert getattr(image, "n_frames", 1) == 8
    assert await house.standing() == (house.bytes_on_disk(), 0, 1)
    assert found.mime == "image/gif"
    kept = {f"{number}.webp" for number in (*range(1, 7), *range(11, 19))}
    assert {file.name for file in house.folder(media["id"]).iterdir()} == {"0", "21.webm", *kept}
    assert [r["quality"] for r in answers.media(found, house.parts.links)["rungs"]] == [1, 2, 3, 4, 5, 6]


async def test_a_square_flow_makes_squares(house: House) -> None:
    await house.flow("avatars", square=True)
    media = await house.stored(photo(400, 200), flow="avatars")
    assert [(r["width"], r["height"]) for r in media["rungs"]] == [(10, 10), (40, 40), (160, 160)]


async def test_the_first_flow_named_decides_and_all_of_them_hold_the_media(house: House) -> None:
    await house.flow("zebra", square=True)
    media = (await house.http.put("/v1/media?user=ann&flow=zebra&flow=general", content=photo(400, 200))).json()
    assert media["flows"] == ["general", "zebra"]
    assert media["rungs"][0]["width"] == media["rungs"][0]["height"]


async def test_each_door_gives_the_same_media(house: House) -> None:
    await house.flow("pets")
    body, headers = form(("user", None, b"ann"), ("flow", None, b"pets"), ("file", "cat.jpg", PHOTO))
    answers = [
        await house.put(PHOTO, flow="pets", filename="cat.jpg"),
        await house.put(PHOTO, flow="pets", headers={"content-disposition": 'attachment; filename="cat.jpg"'}),
        await house.http.post("/v1/media", content=body, headers=headers),
        await house.http.post(
            "/v1/media", json={"user": "ann", "flow": "pets", "filename": "cat.jpg", "data": b64(PHOTO)}
        ),
        await house.http.post(
            "/v1/media?user=ann",
            json={"flow": ["pets"], "filename": "cat.jpg", "data": f"data:image/png;base64,{b64(PHOTO)}"},
        ),
        await house.http.post(
            "/v1/media?user=ann&flow=pets&filename=cat.jpg", content=PHOTO, headers={"content-type": "image/png"}
        ),
    ]
    told = []
    for answer in answers:
        assert answer.status_code == 201, answer.text
        told.append({k: v for k, v in answer.json().items() if k not in ("id", "url", "created_at", "job")})
    assert all(t == told[0] for t in told)
    assert len(house.files()) == 4 * len(answers)


REFUSED = {
    "empty": (b"", 422, "empty_file"),
    "one byte": (b"\xff", 415, "unsupported_type"),
    "truncated": (PHOTO[: len(PHOTO) // 2], 422, "corrupt_image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_type"),
    "pdf": (b"%PDF-1.7 " + bytes(100), 415, "unsupported_type"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_leaves_nothing(house: House, name: str) -> None:
    data, status, code = REFUSED[name]
    answer = await house.put(data, filename="a.jpg", headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await house.nothing()


BAD = {
    "two files": (form(("file", "a", b"x"), ("file", "b", b"x")), 400),
    "no file": (form(("user", None, b"ann")), 400),
    "unknown user": (form(("user", None, b"bob"), ("file", "a", PHOTO)), 422),
    "no user": (form(("file", "a", PHOTO)), 400),
    "a user's name that is none": (form(("user", None, b"../x"), ("file", "a", PHOTO)), 400),
    "two users": (form(("user", None, b"ann"), ("user", None, b"ann"), ("file", "a", PHOTO)), 400),
    "a long field": (form(("user", None, b"a" * 5000), ("file", "a", PHOTO)), 400),
    "many parts": (form(*[("x", None, b"1")] * 101), 400),
    "not UTF-8": (form(("user", None, b"\xff\xfe"), ("file", "a", PHOTO)), 400),
    "cut": ((form(("user", None, b"ann"), ("file", "a", PHOTO))[0][:-20], form()[1]), 400),
    "no boundary": ((b"--x\r\n\r\n--x--", {"content-type": "multipart/form-data"}), 400),
    "unknown flow": (form(("user", None, b"ann"), ("flow", None, b"nope"), ("file", "a", PHOTO)), 422),
    "empty file": (form(("user", None, b"ann"), ("file", "a", b"")), 422),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_form_is_refused_and_leaves_nothing(house: House, name: str) -> None:
    (body, headers), status = BAD[name]
    answer = await house.http.post("/v1/media", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await house.nothing()


async def test_the_query_and_the_body_agree_or_it_is_a_mismatch(house: House) -> None:
    await house.user("bob")
    for query, fields in (("user=bob", {}), ("flow=pets", {"flow": "general"})):
        await house.flow("pets")
        body = {"user": "ann", "data": b64(PHOTO), **fields}
        answer = await house.http.post(f"/v1/media?{query}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "mismatch")
    assert await house.nothing()


async def test_a_session_uploads_for_its_own_user_alone(house: House) -> None:
    await house.user("bob")
    headers = {"authorization": f"Bearer {await house.token('bob')}"}
    assert (await house.put(PHOTO, headers=headers)).status_code == 403
    mine = await house.put(PHOTO, user=None, headers=headers)
    assert (mine.status_code, mine.json()["owner"]) == (201, "bob")
    viewer = {"authorization": f"Bearer {await house.token('bob', ('view',))}"}
    refused = await house.put(PHOTO, user=None, headers=viewer)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    for authorization in ("", "Bearer x", "Bearer cmk_wrong", "Basic abc"):
        assert (await house.put(PHOTO, headers={"authorization": authorization})).status_code == 401


async def test_a_cookie_uploads_from_the_same_origin_alone(house: House) -> None:
    cookie = {"authorization": "", "cookie": f"chipmunk_session={await house.token('ann')}"}
    assert (await house.put(PHOTO, headers=cookie)).json()["code"] == "cross_site"
    assert (await house.put(PHOTO, headers={**cookie, "sec-fetch-site": "same-origin"})).status_code == 201
    key = await house.put(PHOTO, headers={"origin": "https://app.example"})
    assert (key.status_code, key.json()["code"]) == (403, "key_in_browser")


async def test_a_flow_of_editors_takes_no_others_media(house: House) -> None:
    await house.flow("club")
    headers = {"authorization": f"Bearer {await house.token('ann')}"}
    answer = await house.put(PHOTO, flow="club", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_flow")
    assert (await house.put(PHOTO, flow="club")).status_code == 201


async def test_a_suspended_user_gets_nothing_stored(house: House) -> None:
    await house.run("update users set suspended = true")
    assert (await house.put(PHOTO)).status_code == 403
    assert await house.nothing()


async def test_deleting_takes_every_byte_and_gives_the_quota_back(house: House) -> None:
    media = await house.stored()
    answer = await house.http.delete(f"/v1/media/{media['id']}")
    assert answer.status_code == 204
    assert not house.folder(media["id"]).exists()
    assert await house.nothing()
    assert (await house.one("select count(*) from media"))[0] == 0
    tags = {r["tag"] for r in await house.many("select tag from revocations")}
    assert f"media:{media['id']}" in tags
    assert (await house.http.delete(f"/v1/media/{media['id']}")).status_code == 404


async def test_only_the_app_and_the_owner_with_manage_may_delete(house: House) -> None:
    media = await house.stored()
    await house.user("bob")
    for name, scopes, status in (
        ("bob", ("manage",), 404),
        ("ann", ("view", "upload"), 403),
        ("ann", ("manage",), 204),
    ):
        headers = {"authorization": f"Bearer {await house.token(name, scopes)}"}
        assert (await house.http.delete(f"/v1/media/{media['id']}", headers=headers)).status_code == status
    for path in ("nope", "0" * 32, media["id"].upper()):
        assert (await house.http.delete(f"/v1/media/{path}")).status_code == 404


async def test_allowed_types_are_downloads_without_rungs_and_ready_at_once(house: House) -> None:
    object.__setattr__(
        house.parts, "settings", house.settings.model_copy(update={"allowed_types": ("application/pdf",)})
    )
    media = await house.stored(b"%PDF-1.7 " + bytes(1000), filename="paper.pdf")
    assert (media["kind"], media["mime"], media["status"]) == ("file", "application/pdf", "ready")
    assert (media["rungs"], media["job"]) == ([], None)
    assert await house.standing() == (1009, 0, 1)
    assert (await house.put(b"<html><script>1</script>", filename="a.html")).status_code == 415


async def test_errors_name_no_path_and_no_secret(house: House) -> None:
    for answer in (
        await house.put(b"\xff\xd8\xff"),
        await house.put(PHOTO, user="../../x"),
        await house.put(PHOTO, flow="x"),
    ):
        text = json.dumps(answer.json())
        assert str(house.settings.data_dir) not in text
        assert API_KEY not in text


async def test_unknown_addresses_and_methods_are_problems(house: House) -> None:
    assert (await house.http.get("/nope")).json()["code"] == "not_found"
    assert (await house.http.get("/v1/media")).json()["code"] == "method_not_allowed"
    assert (await house.http.get("/livez")).status_code == 200
