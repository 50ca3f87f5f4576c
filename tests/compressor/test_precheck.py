import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

from compressor import ladder
from tests.compressor.conftest import House, form, photo

PHOTO = photo()


async def ask(house: House, query: str = "user=ann", length: int | None = 1000, **headers: str) -> httpx.Response:
    told = {
        "x-original-method": "PUT",
        "x-original-uri": f"/v1/media?{query}",
        "x-original-length": "" if length is None else str(length),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return await house.http.get("/-/precheck", headers=told)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """The true status and code of a refusal, which travel in headers."""
    assert answer.status_code == 403, answer.status_code
    problem: dict[str, Any] = json.loads(answer.headers["x-problem"])
    assert problem["status"] == int(answer.headers["x-status"])
    assert answer.headers["x-problem"].isascii()
    return problem["status"], problem["code"]


async def test_what_may_come_gets_a_ticket_that_reserves_file_and_renditions(house: House) -> None:
    answer = await ask(house, length=5000)
    assert answer.status_code == 204
    row = await house.one("select id, bytes, user_id from reservations")
    assert (row["id"].hex, row["bytes"]) == (answer.headers["x-ticket"], 5000 + ladder.still_cap(5000))
    assert await house.standing() == (0, row["bytes"], 0)


async def test_done_gives_an_unused_ticket_back_and_leaves_a_settled_one(house: House) -> None:
    ticket = (await ask(house)).headers["x-ticket"]
    for _ in range(2):
        assert (await house.http.get("/-/done", headers={"x-ticket": ticket})).status_code == 204
        assert await house.nothing()
    media = await house.stored()
    before = await house.standing()
    assert (await house.http.get("/-/done", headers={"x-ticket": media["id"]})).status_code == 204
    assert (await house.http.get("/-/done", headers={"x-ticket": "junk"})).status_code == 204
    assert await house.standing() == before


@pytest.mark.parametrize(
    ("query", "length", "headers", "expected"),
    [
        ("user=ann", 1000, {"authorization": "Bearer nope"}, (401, "unauthorized")),
        ("user=ann", 1000, {"origin": "https://app.example"}, (403, "key_in_browser")),
        ("user=bob", 1000, {}, (422, "unknown_user")),
        ("user=../x", 1000, {}, (400, "bad_request")),
        ("user=ann&flow=nope", 1000, {}, (422, "unknown_flow")),
        ("user=ann", None, {}, (411, "length_required")),
        ("user=ann", None, {"x_original_encoding": "chunked"}, (411, "length_required")),
        ("user=ann", 0, {}, (422, "empty_file")),
        ("user=ann", 6 * 2**30, {}, (413, "too_large")),
        ("user=ann", 60_000_000, {}, (413, "quota_exceeded")),
        ("", 1000, {}, (400, "bad_request")),
        ("user=ann", 1000, {"idempotency_key": "x" * 300}, (400, "bad_request")),
        ("user=ann", 40 * 2**20, {"x_original_method": "POST", "x_original_type": "application/json"}, (413, "too_large")),
    ],
)  # fmt: skip
async def test_what_may_not_come_is_refused_unread(
    house: House, query: str, length: int | None, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert refusal(await ask(house, query, length, **headers)) == expected
    assert await house.nothing()


async def test_more_than_the_disk_holds_is_507(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.user("rich", quota=None)
    monkeypatch.setattr("compressor.admission.SPARE_BYTES", 2**60)
    assert refusal(await ask(house, "user=rich")) == (507, "disk_full")


async def test_a_form_need_not_tell_its_user_before_its_body(house: House) -> None:
    form_headers = {"x_original_method": "POST", "x_original_type": "multipart/form-data; boundary=x"}
    answer = await ask(house, "", **form_headers)
    assert (answer.status_code, "x-ticket" in answer.headers) == (204, False)


JSON_BODY = {"x_original_method": "POST", "x_original_type": "application/json"}


async def test_a_json_body_reserves_before_it_is_read_and_uses_its_ticket(house: House) -> None:
    body = json.dumps({"user": "ann", "data": base64.b64encode(PHOTO).decode()}).encode()
    ticket = (await ask(house, length=len(body), **JSON_BODY)).headers["x-ticket"]
    headers = {"content-type": "application/json", "x-ticket": ticket}
    answer = await house.http.post("/v1/media?user=ann", content=body, headers=headers)
    assert (answer.status_code, answer.json()["id"]) == (201, ticket)
    await house.user("tight", quota=1_000_000)
    assert refusal(await ask(house, "user=tight", 20 * 2**20, **JSON_BODY)) == (413, "quota_exceeded")


async def test_a_percent_encoded_file_is_never_refused_for_its_wrapping(house: House) -> None:
    await house.user("tight", quota=len(PHOTO) + ladder.still_cap(len(PHOTO)))
    body = {"user": "tight", "data": "data:image/jpeg," + "".join(f"%{b:02x}" for b in PHOTO)}
    answer = await house.http.post("/v1/media?user=tight", json=body)
    assert answer.status_code == 201, answer.text


async def test_a_form_is_never_refused_for_its_own_wrapping(house: House) -> None:
    await house.user("tight", quota=len(PHOTO) + ladder.still_cap(len(PHOTO)))
    body, headers = form(("file", "a.jpg", PHOTO))
    answer = await house.http.post("/v1/media?user=tight", content=body, headers=headers)
    assert answer.status_code == 201, answer.text


async def test_when_only_unsettled_uploads_stand_in_the_way_it_is_busy_not_over(house: House) -> None:
    await house.user("tight", quota=100_000)
    assert (await ask(house, "user=tight", 20_000)).status_code == 204
    answer = await ask(house, "user=tight", 20_000)
    assert refusal(answer) == (503, "busy")
    assert int(answer.headers["x-retry-after"]) > 0


async def test_it_waits_a_little_for_what_others_give_back(house: House) -> None:
    await house.user("tight", quota=100_000)
    ticket = (await ask(house, "user=tight", 20_000)).headers["x-ticket"]
    waiting = asyncio.create_task(ask(house, "user=tight", 20_000))
    await asyncio.sleep(0.4)
    await house.http.get("/-/done", headers={"x-ticket": ticket})
    assert (await waiting).status_code == 204


async def spooled(house: House, ticket: str | None, data: bytes = PHOTO, **query: str) -> httpx.Response:
    """The upload as nginx hands it over after its pre-check."""
    spool = house.settings.spool_dir / "0000000001"
    spool.write_bytes(data)
    headers = {"x-spool": str(spool), "content-length": "0", **({} if ticket is None else {"x-ticket": ticket})}
    answer = await house.http.put("/v1/media", params={"user": "ann", **query}, headers=headers)
    spool.unlink()
    return answer


async def test_a_spooled_body_is_taken_by_its_second_name_and_uses_its_ticket(house: House) -> None:
    ticket = (await ask(house, length=len(PHOTO))).headers["x-ticket"]
    answer = await spooled(house, ticket)
    assert (answer.status_code, answer.json()["id"]) == (201, ticket)
    assert (house.folder(ticket) / "0").read_bytes() == PHOTO
    assert (await house.one("select count(*) from reservations"))[0] == 1


async def test_a_ticket_that_has_run_out_is_replaced_by_a_fresh_reservation(house: House) -> None:
    ticket = (await ask(house, length=len(PHOTO))).headers["x-ticket"]
    await house.http.get("/-/done", headers={"x-ticket": ticket})
    answer = await spooled(house, ticket)
    assert answer.status_code == 201
    assert answer.json()["id"] != ticket


async def test_a_ticket_of_another_user_is_worth_nothing(house: House) -> None:
    await house.user("bob")
    ticket = (await ask(house, "user=bob", len(PHOTO))).headers["x-ticket"]
    before = await house.standing("bob")
    answer = await spooled(house, ticket)
    assert answer.json()["id"] != ticket
    assert await house.standing("bob") == before


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../0", "{spool}/../../keys", "{spool}/.hidden", "{spool}/sub/x", "{spool}/link"]
)
async def test_only_a_plain_file_of_the_spool_is_taken(house: House, name: str) -> None:
    spool = house.settings.spool_dir
    (spool / "link").symlink_to("/etc/passwd")
    headers = {"x-spool": name.replace("{spool}", str(spool)), "content-length": "0"}
    answer = await house.http.put("/v1/media", params={"user": "ann"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    (spool / "link").unlink()
    assert await house.nothing()


async def test_a_refused_spooled_body_gives_its_ticket_back(house: House) -> None:
    ticket = (await ask(house, length=len(PHOTO))).headers["x-ticket"]
    assert (await spooled(house, ticket, b"nonsense")).status_code == 415
    assert await house.nothing()
