"""Killed at any step of a resumable upload: what was recorded is there, whoever comes next ends it, and it is one media."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from compressor.sweep import Sweeper
from tests.compressor import test_crashes
from tests.compressor.conftest import House, photo, working
from tests.compressor.test_crashes import NOW, books, die
from tests.compressor.tus import PATH, TUS, create, head, patch

PHOTO = photo()
AT_ONCE = 4
STRIDE = 5  # every step has a before and an after, which mostly come to the same


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_crashes, "DYING", Path(__file__).with_name("tus_dying.py"))


async def ended(house: House, upload: UUID) -> None:
    """Its client comes back, asks how far it is, and sends the rest."""
    where = f"{PATH}{upload.hex}"
    offset = int((await head(house, where)).headers["upload-offset"])
    answer = await patch(house, where, PHOTO[offset:], offset)
    assert answer.headers["chipmunk-media"] == upload.hex, answer.text


async def joined(house: House, user: str) -> None:
    """Its client comes back and asks for the whole once more."""
    rows = await house.many(
        "select id, concat from uploads where user_id = $1 and concat = 'partial' order by id", house.keys[user]
    )
    urls = " ".join(f"{PATH}{row['id'].hex}" for row in rows)
    answer = await create(house, headers={"upload-concat": f"final;{urls}"}, user=user)
    assert answer.headers["chipmunk-media"], answer.text


@pytest.mark.usefixtures("dying")
@pytest.mark.parametrize("how", ["whole", "joined"])
async def test_an_upload_killed_at_any_step_becomes_one_media(house: House, how: str) -> None:
    gate, answered, step = asyncio.Semaphore(AT_ONCE), 0, 1
    while answered < AT_ONCE:
        steps = range(step, step + AT_ONCE * STRIDE, STRIDE)
        for n in steps:
            await house.user(f"u{n}")
        said = await asyncio.gather(*(die(house, gate, how, str(n), f"u{n}") for n in steps))
        answered, step = sum(map(bool, said)), step + AT_ONCE * STRIDE
    assert step > 2 * AT_ONCE * STRIDE
    for n in range(1, step, STRIDE):
        user = f"u{n}"
        rows = await house.many("select id, state from uploads where user_id = $1", house.keys[user])
        if how == "joined":
            await joined(house, user)
        elif rows:
            await ended(house, rows[0]["id"])
        assert (await house.standing(user))[2] == (1 if rows else 0)
    for row in await house.many("select id from media"):
        assert (house.folder(row["id"].hex) / "0").read_bytes() == PHOTO
    await house.run(
        """
        update reservations r set expires_at = now() - interval '1 s'
        where expires_at is not null and not exists (select from uploads u where u.id = r.id)
        """
    )
    for _ in range(2):
        await Sweeper(house.parts, NOW).sweep()
    await books(house)
    async with working(house.parts):
        for row in await house.many("select id from media"):
            await house.until("ready", row["id"].hex)
    await books(house)


@pytest.mark.usefixtures("dying")
async def test_what_nobody_comes_back_to_after_a_crash_leaves_no_trace(house: House) -> None:
    gate, steps = asyncio.Semaphore(AT_ONCE), range(4, 100, 19)
    for n in steps:
        await house.user(f"u{n}")
    await asyncio.gather(*(die(house, gate, "whole", str(n), f"u{n}") for n in steps))
    await house.run("update uploads set expires_at = now() - interval '1 s', held_until = null, holder = null")
    await house.run("update reservations set expires_at = now() - interval '1 s' where expires_at is not null")
    for _ in range(2):
        await Sweeper(house.parts, NOW).sweep()
    assert (await house.one("select count(*) from uploads"))[0] == 0
    await books(house)
    assert (await house.http.head(f"{PATH}{'0' * 32}", headers=TUS)).status_code == 404
