"""Rate limits on a real Redis: exact however many come at once, refilled in time, and never in the way without Redis."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from chipmunk import asgi, rates
from chipmunk.config import Settings
from chipmunk.credentials import Caller, Limits, Presented
from chipmunk.errors import RateLimited
from chipmunk.rates import Class, Limit, Limiter, Standing, Subject

NUMBERS = count(1)
SESSION, KEY, OPERATOR = (Presented(f"{prefix}_{'k' * 30}", by_cookie=False) for prefix in ("cms", "cmk", "cmo"))


def anyone() -> Subject:
    """Somebody whom no other test knows."""
    return Subject("user", f"{os.getpid()}-{next(NUMBERS)}")


def settings(**given: int) -> Settings:
    return Settings(**{"user_calls_per_minute": 0, "user_uploads_per_minute": 0, **given})  # type: ignore[arg-type]


@asynccontextmanager
async def limiter_at(url: str, **given: int) -> AsyncIterator[Limiter]:
    redis = Redis.from_url(url, socket_connect_timeout=0.5, socket_timeout=0.5, retry=None)
    try:
        yield Limiter(redis, settings(**given))
    finally:
        await redis.aclose()


async def taken(limiter: Limiter, whose: Subject, what: Class = "calls") -> Standing | None:
    answer = limiter.ask(whose, what)
    return None if answer is None else await answer


async def certain(limiter: Limiter, whose: Subject) -> Standing:
    found = await taken(limiter, whose)
    assert found is not None
    return found


def told(scope: dict[str, Any]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in scope.get(asgi.TOLD, [])}


@pytest.mark.parametrize(
    ("quota", "owed", "allowed", "left", "seconds"),
    [
        (1200, 50_000, True, 1199, 1),
        (60, 1_000_000, True, 59, 1),
        (60, 60_000_000, True, 0, 1),
        (60, 59_300_001, False, 0, 1),
        (60, 59_300_001, True, 0, 1),
        (2, 30_000_000, True, 1, 30),
        (2, 60_000_000, True, 0, 30),
        (2, 40_000_000, False, 0, 10),
        (1, 60_000_000, False, 0, 60),
        (1, 1, False, 0, 1),
    ],
)
def test_what_is_left_and_when_there_is_more(quota: int, owed: int, allowed: bool, left: int, seconds: int) -> None:
    standing = Standing(Limit("calls", quota), owed, allowed)
    assert (standing.left, standing.seconds) == (left, seconds)
    assert rates.told([standing]) == {
        "ratelimit-policy": f'"calls";q={quota};w=60',
        "ratelimit": f'"calls";r={left};t={seconds}',
    }


def test_a_credential_counts_for_its_user_a_key_for_itself_whomever_it_serves() -> None:
    assert rates.subject(SESSION, 7) == rates.subject(Presented("a.b.c", by_cookie=True), 7) == Subject("user", "7")
    assert (
        rates.subject(KEY, 7) == rates.subject(KEY, None) != rates.subject(Presented("cmk_other", by_cookie=False), 7)
    )
    assert KEY.token not in rates.subject(KEY, None).name
    assert rates.subject(OPERATOR, None).kind == "operator"


async def test_as_many_pass_at_once_as_a_minute_has_and_then_one_by_one(redis_url: str) -> None:
    whose = anyone()
    async with limiter_at(redis_url, user_calls_per_minute=60) as limiter:
        began = time.monotonic()
        standings = [await certain(limiter, whose) for _ in range(60)]
        assert all(s.allowed for s in standings)
        assert standings[0].left == 59
        assert standings[-1].left <= time.monotonic() - began
        while (last := await certain(limiter, whose)).allowed:
            pass
        assert (last.left, last.seconds) == (0, 1)
        await asyncio.sleep(last.seconds)
        assert (await certain(limiter, whose)).allowed


@pytest.mark.parametrize("quota", [1, 7, 300])
async def test_of_many_at_once_in_two_processes_no_more_pass_than_there_are(redis_url: str, quota: int) -> None:
    whose, given = anyone(), {"user_calls_per_minute": quota}
    async with limiter_at(redis_url, **given) as one, limiter_at(redis_url, **given) as other:
        began = time.monotonic()
        found = await asyncio.gather(*(taken(limiter, whose) for _ in range(400) for limiter in (one, other)))
        refilled = math.floor((time.monotonic() - began) * quota / 60)
    assert None not in found
    assert quota <= sum(s is not None and s.allowed for s in found) <= quota + refilled


async def test_refused_calls_cost_nothing(redis_url: str) -> None:
    whose = anyone()
    async with limiter_at(redis_url, user_calls_per_minute=30) as limiter:
        while (await certain(limiter, whose)).allowed:
            pass
        first = await certain(limiter, whose)
        for _ in range(100):
            assert (await certain(limiter, whose)).owed <= first.owed


async def test_each_has_a_bucket_of_its_own_and_uploads_are_none_of_the_calls(redis_url: str) -> None:
    one, other = anyone(), anyone()
    async with limiter_at(redis_url, user_calls_per_minute=1, user_uploads_per_minute=1) as limiter:
        for whose in (one, other):
            for what in ("calls", "uploads"):
                standings = [await taken(limiter, whose, what) for _ in range(2)]  # type: ignore[arg-type]
                assert [s is not None and s.allowed for s in standings] == [True, False]


async def test_a_bucket_leaves_redis_once_it_is_full_again(redis_url: str) -> None:
    whose = anyone()
    async with limiter_at(redis_url, user_calls_per_minute=600) as limiter, Redis.from_url(redis_url) as redis:
        standing = await certain(limiter, whose)
        key = f"chipmunk:rate:calls:user:{whose.name}"
        assert 0 < await redis.pttl(key) <= standing.owed / 1000 == 100
        await asyncio.sleep(0.15)
        assert await redis.exists(key) == 0


async def test_a_clock_that_was_set_back_costs_a_minute_at_most(redis_url: str) -> None:
    whose = anyone()
    async with limiter_at(redis_url, user_calls_per_minute=60) as limiter, Redis.from_url(redis_url) as redis:
        await redis.set(f"chipmunk:rate:calls:user:{whose.name}", int((time.time() + 86400) * 1e6))
        standing = await certain(limiter, whose)
        assert (standing.allowed, standing.left, standing.seconds) == (False, 0, 1)


async def test_a_redis_that_forgot_its_scripts_is_told_again(redis_url: str) -> None:
    whose = anyone()
    async with limiter_at(redis_url, user_calls_per_minute=9) as limiter, Redis.from_url(redis_url) as redis:
        assert (await certain(limiter, whose)).left == 8
        await redis.script_flush()
        assert (await certain(limiter, whose)).left == 7


async def test_who_has_no_limit_costs_redis_nothing() -> None:
    async with limiter_at("redis://127.0.0.1:1", user_calls_per_minute=1) as limiter:
        for given, what in ((KEY, "calls"), (KEY, "uploads"), (OPERATOR, "calls"), (SESSION, "uploads")):
            assert limiter.ask(rates.subject(given, 1), what) is None  # type: ignore[arg-type]
        assert limiter.ask(rates.subject(SESSION, 1), "calls") is not None


async def test_the_operator_has_a_keys_calls(redis_url: str) -> None:
    async with limiter_at(redis_url, key_calls_per_minute=5) as limiter:
        found = await taken(limiter, Subject("operator", f"test-{os.getpid()}"))
        assert found is not None
        assert found.limit == Limit("calls", 5)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """A Redis that takes connections and says nothing."""
    held = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in held:
            writer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_without_an_answer_of_redis_calls_go_on_and_hardly_wait(redis_url: str, clock: Clock) -> None:
    async with deaf() as url:
        redis = Redis.from_url(url, socket_connect_timeout=0.5, socket_timeout=0.5, retry=None)
        limiter, whose = Limiter(redis, settings(user_calls_per_minute=1), clock), anyone()
        began = time.monotonic()
        assert await asyncio.gather(*(taken(limiter, whose) for _ in range(500))) == [None] * 500
        assert rates.ANSWER_SECONDS <= time.monotonic() - began < 2 * rates.ANSWER_SECONDS + 0.5
        assert limiter.ask(whose, "calls") is None  # it rests
        clock.now += rates.REST_SECONDS
        probe = limiter.ask(whose, "calls")
        assert probe is not None
        assert limiter.ask(whose, "calls") is None  # one asks, the others do not wait for it
        assert await probe is None
        await redis.aclose()


async def test_a_redis_that_comes_back_is_noticed(redis_url: str, clock: Clock) -> None:
    pool = Redis.from_url("redis://127.0.0.1:1", retry=None)
    limiter, whose = Limiter(pool, settings(user_calls_per_minute=60), clock), anyone()
    assert await taken(limiter, whose) is None
    back = Redis.from_url(redis_url, retry=None)
    limiter._take.registered_client = back
    assert await taken(limiter, whose) is None
    clock.now += rates.REST_SECONDS
    standings = [await taken(limiter, whose) for _ in range(2)]
    assert [s.left for s in standings if s is not None] == [59, 58]
    for client in (pool, back):
        await client.aclose()


async def test_a_late_answer_is_not_taken_for_the_next_ones(redis_url: str) -> None:
    whose, other = anyone(), anyone()
    async with limiter_at(redis_url, user_calls_per_minute=60) as limiter, Redis.from_url(redis_url) as redis:
        limiter._clock = Clock()
        assert (await certain(limiter, whose)).left == 59
        await redis.client_pause(400)
        assert await taken(limiter, whose) is None
        await asyncio.sleep(0.5)
        limiter._clock.now += rates.REST_SECONDS
        assert (await certain(limiter, other)).left == 59


async def test_who_is_refused_is_told_when_to_come_again_and_everybody_what_is_left(redis_url: str) -> None:
    caller = Caller("user", 1, -next(NUMBERS) - os.getpid() * 1000)
    async with limiter_at(redis_url, user_calls_per_minute=2) as limiter:
        scope: dict[str, Any] = {}
        await limiter.count(scope, "calls", SESSION, caller)
        assert told(scope) == {"ratelimit-policy": '"calls";q=2;w=60', "ratelimit": '"calls";r=1;t=30'}
        await limiter.count({}, "calls", SESSION, caller)
        scope = {}
        with pytest.raises(RateLimited) as refused:
            await limiter.count(scope, "calls", SESSION, caller)
        assert told(scope)["ratelimit"] == f'"calls";r=0;t={refused.value.retry_after}'
        assert refused.value.retry_after in (29, 30)


async def test_what_is_given_back_is_there_again_and_never_more_than_fits_in(redis_url: str) -> None:
    async with limiter_at(redis_url, user_calls_per_minute=3) as limiter:
        who = anyone()
        for _ in range(5):
            assert (await certain(limiter, who)).allowed
            limiter.give_back(who, "calls")
        for _ in range(4):
            limiter.give_back(who, "calls")
        assert [(await certain(limiter, who)).allowed for _ in range(4)] == [True, True, True, False]
        limiter.give_back(who, "calls")
        assert [(await certain(limiter, who)).allowed for _ in range(2)] == [True, False]


async def test_an_app_has_a_bucket_beside_those_of_its_users(redis_url: str) -> None:
    app = -next(NUMBERS) - os.getpid() * 1000
    one, other = (Caller("user", app, user, limits=Limits(calls=3)) for user in (app, app - 500))
    async with limiter_at(redis_url, user_calls_per_minute=2) as limiter:
        scope: dict[str, Any] = {}
        await limiter.count(scope, "calls", SESSION, one)
        assert told(scope) == {
            "ratelimit-policy": '"calls";q=2;w=60, "app_calls";q=3;w=60',
            "ratelimit": '"calls";r=1;t=30, "app_calls";r=2;t=20',
        }
        await limiter.count({}, "calls", SESSION, one)
        await limiter.count({}, "calls", SESSION, other)
        with pytest.raises(RateLimited, match="3 calls a minute of this app"):
            await limiter.count({}, "calls", SESSION, other)
        with pytest.raises(RateLimited, match="2 calls a minute: "):
            await limiter.count({}, "calls", SESSION, one)
