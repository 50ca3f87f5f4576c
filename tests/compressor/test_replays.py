"""Idempotency-Key."""

import asyncio

from tests.compressor.conftest import House, photo, working
from tests.compressor.test_precheck import ask

PHOTO = photo()
KEY = {"idempotency-key": "signup-7"}


async def test_a_repeat_gets_the_first_answer_word_for_word(house: House) -> None:
    first = await house.put(PHOTO, headers=KEY)
    async with working(house.parts):
        await house.until("ready", first.json()["id"])
    again = await house.put(PHOTO, headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert (await house.standing())[1:] == (0, 1)
    assert len(house.files()) == 7


async def test_another_body_name_or_flow_under_the_key_is_refused(house: House) -> None:
    await house.flow("pets")
    await house.stored(PHOTO, headers=KEY)
    before = house.files()
    for answer in (
        await house.put(photo(seed=2), headers=KEY),
        await house.put(PHOTO, filename="x.jpg", headers=KEY),
        await house.put(PHOTO, flow="pets", headers=KEY),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert house.files() == before
    assert (await house.one("select count(*) from reservations where expires_at is not null"))[0] == 0


async def test_keys_of_two_users_are_two_keys(house: House) -> None:
    await house.user("bob")
    mine, yours = await house.put(PHOTO, headers=KEY), await house.put(PHOTO, user="bob", headers=KEY)
    assert (mine.status_code, yours.status_code) == (201, 201)
    assert mine.json()["id"] != yours.json()["id"]


async def test_while_the_first_is_under_way_the_second_is_told_so(house: House) -> None:
    await house.run(
        """
        insert into idempotency_keys (user_id, key, fingerprint, media_id, held_until, expires_at)
        values ($1, $2, 'x', gen_random_uuid(), now() + interval '1 min', now() + interval '1 day')
        """,
        house.keys["ann"], KEY["idempotency-key"],
    )  # fmt: skip
    answer = await house.put(PHOTO, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_running")
    await house.run("update idempotency_keys set held_until = now() - interval '1 s'")
    assert (await house.put(PHOTO, headers=KEY)).status_code == 201


async def test_of_many_at_once_one_is_stored_and_the_others_get_its_answer_or_wait(house: House) -> None:
    answers = await asyncio.gather(*(house.put(PHOTO, headers=KEY) for _ in range(12)))
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 201}) == 1
    assert (await house.standing())[2] == 1
    assert len(house.files()) == 4


async def test_a_key_whose_upload_failed_is_free_again(house: House) -> None:
    assert (await house.put(PHOTO[:3000], headers=KEY)).status_code == 422
    assert (await house.put(PHOTO, headers=KEY)).status_code == 201


async def test_a_day_later_the_key_is_forgotten(house: House) -> None:
    first = await house.stored(PHOTO, headers=KEY)
    await house.run("update idempotency_keys set expires_at = now()")
    assert (await house.stored(PHOTO, headers=KEY))["id"] != first["id"]


async def test_an_answered_key_reserves_nothing_before_the_body(house: House) -> None:
    await house.stored(PHOTO, headers=KEY)
    before = await house.standing()
    answer = await ask(house, idempotency_key=KEY["idempotency-key"])
    assert (answer.status_code, "x-ticket" in answer.headers) == (204, False)
    assert await house.standing() == before


async def test_a_repeat_fits_though_the_quota_is_full(house: House) -> None:
    await house.stored(PHOTO, headers=KEY)
    await house.run("update users set quota_bytes = used_bytes + reserved_bytes")
    assert (await house.put(PHOTO, headers=KEY)).status_code == 201


async def test_a_repeat_that_prefers_to_wait_sees_the_media_as_it_is(house: House) -> None:
    first = await house.stored(PHOTO, headers=KEY)
    async with working(house.parts):
        await house.until("ready", first["id"])
    again = await house.put(PHOTO, headers={**KEY, "prefer": "wait"})
    assert again.json()["status"] == "ready"
