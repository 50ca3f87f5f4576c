"""Rate limits: how many calls and uploads a minute a user or a key has, counted in Redis for all processes together.

A bucket for each subject and class, by the generic cell rate algorithm: Redis keeps one number, the time at which all that
was used will be there again, in a key that expires then. Where Redis does not answer soon, nothing is limited: a limit
that cannot be told must not stand in anybody's way, and nginx has limits of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

import structlog

from chipmunk import asgi, metrics
from chipmunk.config import Settings
from chipmunk.credentials import API_KEY, OPERATOR, Caller, Limits, Presented
from chipmunk.errors import RateLimited
from chipmunk.signing import digest

WINDOW_SECONDS = 60
MICROSECONDS = 1_000_000
MOST_AT_ONCE = 128  # buckets that one question to Redis is about
ANSWER_SECONDS = 0.2  # a call waits so long for Redis; it takes a tenth of a millisecond where nothing is wrong
REST_SECONDS = 1.0  # after which a Redis that did not answer is asked again
log = structlog.get_logger()

# KEYS are buckets; for each ARGV has what one costs and what fits in, in microseconds. Answers what each then owes,
# negative where the call is refused. What costs less than nothing is given back. A clock that was set back costs a window.
TAKE = """
local time, answer = redis.call('TIME'), {}
local now = time[1] * 1000000 + time[2]
for i, key in ipairs(KEYS) do
  local cost, most = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local owed = math.min(math.max(tonumber(redis.call('GET', key) or now) - now, 0), most)
  local after = math.max(owed + cost, 0)
  if after > most then
    answer[i] = -owed
  elseif after == 0 then
    answer[i] = 0
    redis.call('DEL', key)
  else
    answer[i] = after
    redis.call('SET', key, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000))
  end
end
return answer
"""

Class = Literal["calls", "uploads", "passwords"]
Kind = Literal["user", "key", "app", "operator", "link", "address"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose bucket it is: a user with all sessions and JWTs, a key with all that it does for users, an app with all keys and
    users; of passwords a link with all who try it, or an address with all that it tries."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Limit:
    """So many a minute, and as many at once after a minute's pause."""

    what: Class
    quota: int
    prefix: str = ""  # of its name in answers

    @property
    def cost(self) -> int:
        """Microseconds until what one call took is there again."""
        return WINDOW_SECONDS * MICROSECONDS // self.quota

    @property
    def most(self) -> int:
        return self.cost * self.quota


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands after a call: it was let through or not, and all is there again in `owed` microseconds."""

    limit: Limit
    owed: int
    allowed: bool

    @property
    def left(self) -> int:
        return (self.limit.most - self.owed) // self.limit.cost

    @property
    def seconds(self) -> int:
        """In how many whole seconds there is more than is left now."""
        return -((self.limit.most - self.owed - (self.left + 1) * self.limit.cost) // MICROSECONDS)

    @property
    def name(self) -> str:
        return f'"{self.limit.prefix}{self.limit.what}"'


def told(standings: Sequence[Standing]) -> dict[str, str]:
    """What an answer tells of them, as draft-ietf-httpapi-ratelimit-headers-11 has it."""
    return {
        "ratelimit-policy": ", ".join(f"{s.name};q={s.limit.quota};w={WINDOW_SECONDS}" for s in standings),
        "ratelimit": ", ".join(f"{s.name};r={s.left};t={s.seconds}" for s in standings),
    }


def subject(given: Presented, user: int | None) -> Subject:
    """Who a call counts for. `user` is the row of the user whose credential it is; a key counts for itself."""
    if given.token.startswith(API_KEY):
        return Subject("key", digest(given.token).hex())
    return Subject("operator", "") if given.token.startswith(OPERATOR) else Subject("user", str(user))


def limits(settings: Settings) -> dict[tuple[Kind, Class], Limit]:
    """Those that there are; the operator has those of a key."""
    users, keys = settings.user_calls_per_minute, settings.key_calls_per_minute
    given: dict[tuple[Kind, Class], int] = {
        ("user", "calls"): users,
        ("user", "uploads"): settings.user_uploads_per_minute,
        ("key", "calls"): keys,
        ("key", "uploads"): settings.key_uploads_per_minute,
        ("operator", "calls"): keys,
        ("link", "passwords"): settings.passwords_per_minute,
        ("address", "passwords"): settings.passwords_per_minute,
    }
    return {which: Limit(which[1], quota) for which, quota in given.items() if quota}


Answer = asyncio.Future[Standing | None]
Question = tuple[str, Limit, int, Answer]


class Limiter:
    """Asks Redis, for all calls that come while it is being asked in one question more. `clock` never goes back."""

    def __init__(self, redis: Any, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self._take = redis.register_script(TAKE)
        self._limits = limits(settings)
        self._clock = clock
        self._waiting: list[Question] = []
        self._asking: asyncio.Task[None] | None = None
        self._failing = False
        self._rests_until = 0.0

    async def count(self, scope: asgi.Scope, what: Class, given: Presented, caller: Caller) -> None:
        """Counts a call whose caller is known; its answer will tell what is left. Raises RateLimited."""
        counting = self.counting(scope, what)
        counting.begin(given, caller.user_id)
        counting.of_app(caller.app_id, caller.limits)
        await counting.end()

    def counting(self, scope: asgi.Scope, what: Class) -> Counting:
        return Counting(self, scope, what)

    def give_back(self, whose: Subject, what: Class) -> None:
        """Puts back what was taken for something that turned out not to count."""
        self.ask(whose, what, -1)

    def ask(self, whose: Subject, what: Class, times: int = 1, limit: Limit | None = None) -> Answer | None:
        """Takes one out of a bucket, which has this `limit` or that of settings; None where none applies or can be told."""
        limit = limit or self._limits.get((whose.kind, what))
        if limit is None:
            return None
        if self._resting or (self._failing and self._asking is not None):
            metrics.UNCOUNTED.inc()
            return None
        answer: Answer = asyncio.get_running_loop().create_future()
        self._waiting.append((f"chipmunk:rate:{what}:{whose.kind}:{whose.name}", limit, times * limit.cost, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return answer

    @property
    def _resting(self) -> bool:
        return self._failing and self._clock() < self._rests_until

    async def _ask_all(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            for (_, _, _, answer), standing in zip(asked, await self._standings(asked), strict=True):
                if not answer.done():  # who asked has gone
                    answer.set_result(standing)
        self._asking = None

    async def _standings(self, asked: Sequence[Question]) -> Sequence[Standing | None]:
        if self._resting:
            metrics.UNCOUNTED.inc(len(asked))
            return [None] * len(asked)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                owed = await self._take(
                    keys=[key for key, _, _, _ in asked],
                    args=[number for _, limit, cost, _ in asked for number in (cost, limit.most)],
                )
        except Exception as e:  # whatever it is, it must not become an error of a call
            if not self._failing:
                log.warning("rate limits do not hold: redis does not answer", error=type(e).__name__)
            self._failing, self._rests_until = True, self._clock() + REST_SECONDS
            metrics.UNCOUNTED.inc(len(asked))
            return [None] * len(asked)
        if self._failing:
            log.info("rate limits hold again")
        self._failing = False
        return [Standing(limit, abs(n), n > 0) for (_, limit, _, _), n in zip(asked, owed, strict=True)]


class Counting:
    """A call being counted beside other work: begun once its subject is known, for its app too where that has limits, ended
    before anything is done."""

    def __init__(self, limiter: Limiter, scope: asgi.Scope, what: Class) -> None:
        self._limiter = limiter
        self._scope = scope
        self._what = what
        self._asked: list[tuple[Kind, Answer]] = []

    def begin(self, given: Presented, user: int | None) -> None:
        whose = subject(given, user)
        self._ask(whose, self._limiter.ask(whose, self._what))

    def of_app(self, app: int, limits: Limits) -> None:
        """Counts it for the app too."""
        quota = limits.calls if self._what == "calls" else limits.uploads
        if quota is not None:
            whose = Subject("app", str(app))
            self._ask(whose, self._limiter.ask(whose, self._what, limit=Limit(self._what, quota, "app_")))

    def _ask(self, whose: Subject, answer: Answer | None) -> None:
        if answer is not None:
            self._asked.append((whose.kind, answer))

    async def end(self) -> None:
        """Has the request's answer tell what is left, whatever it will be. Raises RateLimited."""
        answers = [(kind, await answer) for kind, answer in self._asked]
        found = [(kind, standing) for kind, standing in answers if standing is not None]
        if found:
            asgi.tell(self._scope, told([standing for _, standing in found]))
        for kind, standing in found:
            if not standing.allowed:
                metrics.RATE_LIMITED.labels(kind, self._what).inc()
                whom = " of this app" if kind == "app" else ""
                words = f"No more than {standing.limit.quota} {self._what} a minute{whom}: try again in {standing.seconds} s."
                raise RateLimited(words, retry_after=standing.seconds)
