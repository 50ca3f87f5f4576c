"""Passwords: hashed as they should be, and no more of them at once than memory bears."""

from __future__ import annotations

import asyncio

import pytest

from chipmunk.errors import Unavailable
from chipmunk.passwords import AT_ONCE, MOST_WAITING, Passwords


async def test_a_password_matches_its_own_hash_and_no_other() -> None:
    passwords = Passwords()
    first, second = await passwords.hash("blue heron"), await passwords.hash("blue heron")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert await passwords.matches(first, "blue heron")
    assert await passwords.matches(second, "blue heron")
    assert not await passwords.matches(first, "Blue heron")
    assert not await passwords.matches(first, "")
    passwords.close()


async def test_letters_are_the_same_however_a_keyboard_puts_them_together() -> None:
    passwords = Passwords()
    kept = await passwords.hash("Gr\u00fc\u00dfe")
    assert await passwords.matches(kept, "Gru\u0308\u00dfe")
    assert not await passwords.matches(kept, "Grusse")
    passwords.close()


async def test_no_more_wait_than_may_and_the_others_are_told_to_come_again() -> None:
    passwords = Passwords()
    kept = await passwords.hash("blue heron")
    found = await asyncio.gather(*(passwords.matches(kept, "x") for _ in range(60)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, Unavailable)]
    assert (found.count(False), len(refused)) == (MOST_WAITING, 60 - MOST_WAITING)
    assert {one.retry_after for one in refused} == {1}
    assert await passwords.matches(kept, "blue heron"), "those who gave up hold no place"
    assert len(passwords._threads._threads) == AT_ONCE
    passwords.close()


async def test_who_stops_waiting_holds_no_place() -> None:
    passwords = Passwords()
    kept = await passwords.hash("blue heron")
    waiting = [asyncio.create_task(passwords.matches(kept, "x")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await passwords.matches(kept, "x")
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await passwords.matches(kept, "blue heron")
    passwords.close()
