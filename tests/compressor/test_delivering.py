"""Apps are told of what happens: signed, in order for each media, again where it failed, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chipmunk import classes, deliveries, jobs, leftovers, telling, webhooks
from chipmunk.deliveries import Delivery
from chipmunk.errors import Conflict
from chipmunk.telling import AFTER
from chipmunk.vault import Vault
from compressor import delivering
from compressor.delivering import Deliverer
from tests.compressor.conftest import House, house_of, photo, settings_of, working
from tests.servers.listener import Listener, Told, listening

HERE = "127.0.0.77"
ALL = ["media.created", "media.ready", "media.deleted"]


@pytest.fixture
async def house(tmp_path: Path, database: str, redis_url: str) -> AsyncIterator[House]:
    async with house_of(settings_of(tmp_path / "data", database, redis_url, webhook_allow=(HERE,))) as house:
        await house.user()
        yield house


@pytest.fixture
def there() -> Iterator[Listener]:
    with listening(HERE) as made:
        yield made


@asynccontextmanager
async def deliverer(house: House) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(Deliverer(house.parts).run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


async def hook(house: House, url: str, name: str = "all", app: int = 0, **fields: Any) -> str:
    """A webhook's secret."""
    async with house.database.transaction() as connection:
        _, secret = await webhooks.put(
            connection, house.parts.stores.vault, app or house.app_id, name,
            **{"url": url, "events": None, "enabled": None, "given": frozenset(fields), **fields},
        )  # fmt: skip
    return secret or ""


async def event(house: House, about: UUID | None = None, kind: str = "media.ready") -> UUID:
    """Something that happens."""
    subject = about or UUID(int=0)
    told = {"id": subject.hex}
    await house.run("select tell_webhooks($1, $2, $3, $4)", house.app_id, kind, about, told)
    return subject


async def soon(holds: Callable[[], bool], house: House | None = None) -> None:
    """Waits for it; with `house` nothing waits for its time meanwhile."""
    async with asyncio.timeout(20):
        while not holds():
            if house is not None:
                await due(house)
            await asyncio.sleep(0.02)


def after(freed: threading.Event) -> Callable[[Told], int]:
    """Answers once that is set."""

    def answer(_: Told) -> int:
        freed.wait(20)
        return 200

    return answer


async def due(house: House) -> None:
    await house.run(
        "update webhook_deliveries set next_at = now() where state = 'pending' and coalesce(leased_until < now(), true)"
    )


async def left(house: House) -> list[Any]:
    return await house.many("select type, state, attempts, error, status from webhook_deliveries order by number")


async def gone(house: House, media_id: str) -> None:
    async with asyncio.timeout(20):
        while await house.one("select 1 from media where id = $1", UUID(hex=media_id)):
            await asyncio.sleep(0.05)


async def test_what_happens_to_a_media_is_told_in_order_and_signed(house: House, there: Listener) -> None:
    secret = await hook(house, there.url)
    async with deliverer(house), working(house.parts):
        stored = await house.stored(photo(900, 700), filename="sea.jpg")
        await house.until("ready", stored["id"])
        assert (await house.http.delete(f"/v1/media/{stored['id']}")).status_code == 204
        await soon(lambda: len(there.taken) == 3)
    assert there.types(stored["id"]) == ALL
    first, second, last = there.taken
    for told in there.taken:
        assert told.signed_by(secret)
        assert told.headers["content-type"] == "application/json"
        assert set(told.message) == {"type", "timestamp", "data"}
    created = first.message["data"]
    assert {name: created[name] for name in ("owner", "kind", "status", "mime", "filename", "width", "sha256")} == {
        "owner": "ann", "kind": "image", "status": "processing", "mime": "image/jpeg", "filename": "sea.jpg",
        "width": 900, "sha256": stored["sha256"],
    }  # fmt: skip
    assert second.message["data"]["total_bytes"] > created["total_bytes"]
    assert (second.message["data"]["status"], last.message["data"]["status"]) == ("ready", "deleted")
    assert await left(house) == []


async def test_what_fails_is_told_with_its_reason_beside_what_does_not(house: House, there: Listener) -> None:
    await hook(house, there.url)
    small = await house.stored(photo(8, 8), filename="dot.jpg")
    broken = await house.stored(photo(900, 700, 2))
    (house.folder(broken["id"]) / "0").write_bytes(b"nothing")
    async with deliverer(house), working(house.parts):
        await house.until("failed", broken["id"])
        await soon(lambda: len(there.types(broken["id"])) == 2 and len(there.types(small["id"])) == 2)
    assert there.types(small["id"]) == ["media.created", "media.ready"]
    assert there.types(broken["id"]) == ["media.created", "media.failed"]
    assert next(told for told in there.taken if told.type == "media.failed").message["data"]["reason"]


async def test_what_is_trashed_and_restored_is_told(house: House, there: Listener) -> None:
    await hook(house, there.url)
    stored = await house.stored(photo(8, 8))
    for state in ("trashed", "ready", "trashed", "deleted"):
        kept = "'ready', now(), now()" if state == "trashed" else "null, null, null"
        query = f"update media set state = $2, (restores_to, trashed_at, purge_at) = row({kept}) where id = $1"
        await house.run(query, UUID(hex=stored["id"]), state)
    async with deliverer(house):
        await soon(lambda: len(there.taken) == 5)
    assert there.types(stored["id"]) == [
        "media.created", "media.trashed", "media.restored", "media.trashed", "media.deleted",
    ]  # fmt: skip


async def test_a_job_that_somebody_waits_for_is_told_of_and_what_it_does_inside_is_not(
    house: House, there: Listener
) -> None:
    await hook(house, there.url)
    async with house.database.transaction() as connection:
        made = [
            await jobs.enqueue(connection, kind, app=house.app_id, user=house.keys["ann"])
            for kind in (jobs.FETCH, jobs.LADDER, jobs.COPY, jobs.PURGE_MEDIA)
        ]
        made.append(await jobs.enqueue(connection, jobs.TAKE, app=house.app_id, part_of=made[0]))
        made.append(await jobs.enqueue(connection, jobs.SCRUB, app=None))
        for job in made:
            await jobs.end(connection, job, "failed", "The server of this URL answered 404, and gave no file.")
    async with deliverer(house):
        await soon(lambda: bool(there.taken))
    [told] = there.taken
    assert told.type == "job.failed"
    data = told.message["data"]
    assert (data["id"], data["kind"], data["state"], data["user"]) == (made[0].hex, "fetch", "failed", "ann")
    assert "404" in data["reason"]


async def test_nothing_of_a_media_overtakes_and_others_do_not_wait(house: House, there: Listener) -> None:
    await hook(house, there.url)
    about = [UUID(int=n + 1) for n in range(8)]
    stubborn = {one.hex for one in about[:3]}
    there.answer = lambda told: 500 if told.about in stubborn and told.type == ALL[0] and told.number < 4 else 200
    async with deliverer(house):
        for kind in ALL:
            for one in about:
                await event(house, one, kind)
        await soon(lambda: all(there.types(one.hex) == ALL for one in about[3:]))
        assert [there.types(one) for one in stubborn] == [[]] * 3
        await soon(lambda: len(there.taken) == 24, house)
    assert all(there.types(one.hex) == ALL for one in about)
    assert len({told.id for told in there.taken}) == 24
    assert await left(house) == []


async def test_several_workers_tell_each_once_and_in_order(house: House, there: Listener) -> None:
    await hook(house, there.url)
    about = [UUID(int=n + 1) for n in range(10)]
    under_way: dict[str, int] = {}
    most = [0, 0]

    def answer(told: Told) -> int:
        with there.lock:
            under_way[told.about] = under_way.get(told.about, 0) + 1
            most[:] = [max(most[0], under_way[told.about]), max(most[1], sum(under_way.values()))]
        threading.Event().wait(0.01)
        with there.lock:
            under_way[told.about] -= 1
        return 200

    there.answer = answer
    async with deliverer(house), deliverer(house), deliverer(house):
        for kind in ALL:
            await asyncio.gather(*(event(house, one, kind) for one in about))
        await soon(lambda: len(there.done) == 30)
    assert all(there.types(one.hex) == ALL for one in about)
    assert most[0] == 1
    assert most[1] <= telling.AT_ONCE


async def test_what_fails_is_tried_on_a_schedule_and_is_then_a_dead_letter_that_can_be_sent_after_all(
    house: House, there: Listener
) -> None:
    await hook(house, there.url)
    there.answer = lambda _: 500
    subject = await event(house, UUID(int=1))
    await event(house, UUID(int=1), "media.deleted")
    async with deliverer(house):
        for attempt, wait in enumerate(AFTER, 1):
            await soon(lambda n=attempt: len(there.done) == n)  # type: ignore[misc]
            async with asyncio.timeout(10):
                while (row := await first(house))["attempts"] < attempt:
                    await asyncio.sleep(0.02)
            assert wait * 0.9 < row["next_at"] - row["tried_at"] < wait * 1.1 + timedelta(seconds=30)
            assert (row["state"], row["error"], row["status"]) == ("pending", "status", 500)
            assert (await left(house))[1]["attempts"] == 0
            await due(house)
        await soon(lambda: len(there.done) > 10)  # the last attempt, and then the next event's first
        assert [tuple(row)[:3] for row in (await left(house))[:1]] == [("media.ready", "dead", 10)]
        assert {told.id for told, _ in there.done[:10]} == {there.done[0][0].id}
        there.answer = lambda _: 200
        async with house.database.transaction() as connection:
            webhook = await webhooks.get(connection, house.app_id, "all")
            [dead] = await deliveries.page(connection, webhook.key, "dead", None, 10)
            assert (await deliveries.retry(connection, webhook.key, dead.id)).attempts == 0
        await soon(lambda: there.types(subject.hex) == ["media.ready", "media.deleted"], house)
    assert there.taken[0].id == there.done[0][0].id
    assert there.done[0][0].body == there.taken[0].body


async def first(house: House) -> Any:
    return (await house.many("select * from webhook_deliveries order by number limit 1"))[0]


async def test_all_dead_letters_can_be_sent_after_all(house: House, there: Listener) -> None:
    await hook(house, there.url)
    for n in range(5):
        await event(house, UUID(int=n + 1))
    await house.run("update webhook_deliveries set state = 'dead', attempts = 10, tried_at = now() where number <> 1")
    async with house.database.transaction() as connection:
        webhook = await webhooks.get(connection, house.app_id, "all")
        assert (await deliveries.standing(connection, webhook.key)).dead == await deliveries.retry_dead(
            connection, webhook.key
        )
    async with deliverer(house):
        await soon(lambda: len(there.taken) == 5)


async def test_an_app_that_wants_no_more_is_told_no_more(house: House, there: Listener) -> None:
    await hook(house, there.url)
    there.answer = lambda _: 410
    await event(house, UUID(int=1))
    async with deliverer(house):
        await soon(lambda: bool(there.done))
    webhook = await kept(house)
    assert (webhook.enabled, webhook.gone, webhook.last_error, webhook.last_status) == (False, True, "status", 410)
    await event(house, UUID(int=2))
    assert [tuple(row) for row in await left(house)] == [("media.ready", "dead", 1, "status", 410)]
    with pytest.raises(Conflict):
        async with house.database.transaction() as connection:
            await deliveries.ping(connection, webhook)
    await hook(house, there.url, enabled=True)
    there.answer = lambda _: 200
    await event(house, UUID(int=3))
    async with deliverer(house):
        await soon(lambda: [told.about for told in there.taken] == [UUID(int=3).hex])
    assert not (await kept(house)).gone


async def kept(house: House, name: str = "all") -> webhooks.Webhook:
    async with house.database.connection() as connection:
        return await webhooks.get(connection, house.app_id, name)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 199, 304, 400, 503])
async def test_nothing_but_a_2xx_will_do_and_nobody_is_sent_on(house: House, there: Listener, status: int) -> None:
    await hook(house, there.url)
    there.answer = lambda _: (status, {"Location": there.url + "/other"})
    await event(house)
    async with deliverer(house):
        await soon(lambda: bool(there.asked))
        async with asyncio.timeout(10):
            while (row := await first(house))["error"] is None:
                await asyncio.sleep(0.02)
    assert {told.path for told in there.asked} == {"/hook"}
    expected = ("unreachable", None) if status == 199 else ("status", status)
    assert (row["error"], row["status"]) == expected
    assert (await kept(house)).failing_since is not None


async def test_who_cannot_be_reached_may_not_be_or_does_not_answer_in_time_is_told_later(
    house: House, there: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "ANSWER_SECONDS", 1.5)
    quiet = threading.Event()
    there.answer = after(quiet)
    for name, url in (
        ("slow", there.url), ("closed", f"http://{HERE}:1/"), ("inside", "http://localhost/"),
        ("unknown", "http://no-such-name.invalid/"),
    ):  # fmt: skip
        await hook(house, url, name)
    await house.run("insert into webhooks (app_id, name, url, secret) values ($1, 'moved', 'http://10.0.0.1/', '')",
                    house.app_id)  # fmt: skip
    await house.run(
        "update webhooks w set secret = s.secret from webhooks s where w.name = 'moved' and s.name = 'slow'"
    )
    await event(house)
    async with deliverer(house), asyncio.timeout(15):
        while (await house.one("select count(*) from webhook_deliveries where error is null"))[0]:
            await asyncio.sleep(0.05)
        quiet.set()
    rows = await house.many("select w.name, d.error from webhook_deliveries d join webhooks w on w.id = d.webhook_id")
    assert {row["name"]: row["error"] for row in rows} == {
        "slow": "timeout", "closed": "unreachable", "inside": "url_refused", "unknown": "url_refused",
        "moved": "secret_unavailable",
    }  # fmt: skip


async def test_an_app_that_is_slow_keeps_up_no_other(house: House, there: Listener) -> None:
    freed = threading.Event()
    with listening(HERE) as slow:
        slow.answer = after(freed)
        await hook(house, slow.url, "slow")
        await hook(house, there.url, "quick")
        for n in range(40):
            await event(house, UUID(int=n + 1))
        async with deliverer(house):
            await soon(lambda: len(there.taken) == 40)
            assert len(slow.asked) == telling.AT_ONCE
            freed.set()
            await soon(lambda: len(slow.taken) == 40)


async def test_a_process_that_stops_hands_back_what_is_under_way(
    house: House, there: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "HAND_BACK_SECONDS", 0.1)
    freed = threading.Event()
    late = after(freed)
    there.answer = lambda told: 200 if told.number > 1 else late(told)
    await hook(house, there.url)
    await event(house)
    async with deliverer(house):
        await soon(lambda: bool(there.asked))
    row = await first(house)
    assert (row["state"], row["attempts"], row["leased_until"]) == ("pending", 0, None)
    async with deliverer(house):
        await soon(lambda: len(there.taken) == 1)
    freed.set()
    assert len({told.id for told in there.asked}) == 1
    assert len(there.asked) == 2


async def test_a_lease_that_has_ended_is_anothers_and_the_late_one_has_no_say(house: House, there: Listener) -> None:
    await hook(house, there.url)
    await event(house, UUID(int=1))

    async def claim() -> list[Delivery]:
        async with house.database.transaction() as connection:
            return await telling.claim(connection, 10)

    [late] = await claim()
    assert await claim() == []
    await house.run("update webhook_deliveries set next_at = now(), leased_until = now()")
    [again] = await claim()
    assert again.id == late.id
    async with house.database.transaction() as connection:
        assert await telling.failed(connection, late, "timeout", None, 0) is None
        await telling.delivered(connection, late)
        await telling.hand_back(connection, late)
    assert (await first(house))["leased_until"] == again.next_at
    async with house.database.transaction() as connection:
        await telling.delivered(connection, again)
    assert await left(house) == []


async def test_a_secret_that_was_replaced_signs_beside_the_new_one_for_a_day(house: House, there: Listener) -> None:
    old = await hook(house, there.url)
    async with house.database.transaction() as connection:
        _, new = await webhooks.rotate(connection, house.parts.stores.vault, house.app_id, "all")
    async with deliverer(house):
        await event(house)
        await soon(lambda: len(there.taken) == 1)
        assert there.taken[0].signed_by(old)
        assert there.taken[0].signed_by(new)
        await house.run("update webhooks set before_until = now()")
        await event(house)
        await soon(lambda: len(there.taken) == 2)
        assert not there.taken[1].signed_by(old)
        assert there.taken[1].signed_by(new)
    async with house.database.transaction() as connection:
        await webhooks.seal_anew(connection, house.parts.stores.vault)
    assert (await kept(house)).before is None


async def test_secrets_are_sealed_and_outlive_their_master_key(house: House, there: Listener) -> None:
    secret = await hook(house, there.url)
    row = await house.one("select secret from webhooks")
    assert secret.encode() not in row["secret"]
    master = house.settings.master_keys
    async with house.database.transaction() as connection:
        assert await webhooks.seal_anew(connection, Vault(("n" * 40, *master))) == 1
        assert await webhooks.seal_anew(connection, Vault(("n" * 40, *master))) == 0
        found = await webhooks.get(connection, house.app_id, "all")
    assert webhooks.secrets_of(found, Vault(("n" * 40,)), found.created_at) == [secret]


async def test_each_is_told_of_what_it_wants_and_nothing_of_other_apps(house: House, there: Listener) -> None:
    other = (await house.one("insert into apps (name) values ('other') returning id"))[0]
    await hook(house, there.url, "other", other)
    await hook(house, there.url + "/ready", "ready", events=["media.ready"])
    await hook(house, there.url + "/off", "off", enabled=False)
    async with deliverer(house), working(house.parts):
        stored = await house.stored(photo())
        await house.until("ready", stored["id"])
        await soon(lambda: bool(there.taken))
    assert [(told.path, told.type) for told in there.taken] == [("/hook/ready", "media.ready")]
    assert await left(house) == []


async def test_a_deleted_user_takes_their_media_along_and_the_app_is_told_of_each(
    house: House, there: Listener
) -> None:
    await hook(house, there.url)
    made = [await house.stored(photo(seed=n)) for n in range(3)]
    async with house.database.transaction() as connection:
        await connection.execute("update users set deleted_at = now() where id = $1", house.keys["ann"])
        assert len(await leftovers.deleted_of(connection, house.keys["ann"], 100, UUID(int=0))) == 3
    async with deliverer(house):
        await soon(lambda: all("media.deleted" in there.types(one["id"]) for one in made))


async def test_what_is_not_committed_is_not_told(house: House, there: Listener) -> None:
    await hook(house, there.url)
    async with house.database.connection() as connection:
        undone = connection.transaction()
        await undone.start()
        await connection.execute("select tell_webhooks($1, 'media.ready', null, '{}')", house.app_id)
        await undone.rollback()
    assert await left(house) == []


async def test_an_app_has_a_bound_of_webhooks_however_many_it_makes_at_once(house: House, there: Listener) -> None:
    made = await asyncio.gather(
        *(hook(house, there.url, f"n{n}") for n in range(webhooks.MOST + 5)), return_exceptions=True
    )
    assert [type(one) for one in made].count(Conflict) == 5
    assert (await house.one("select count(*) from webhooks"))[0] == webhooks.MOST


async def test_what_was_written_for_a_webhook_while_it_was_deleted_is_swept_and_dead_letters_are_in_time(
    house: House, there: Listener
) -> None:
    await hook(house, there.url)
    await hook(house, there.url, "gone")
    await event(house)
    await house.run("delete from webhooks where name = 'gone'")
    await event(house)
    await house.run(
        "update webhook_deliveries set state = 'dead', tried_at = now() - interval '29 days' where number = 1"
    )
    async with house.database.connection() as connection:
        await deliveries.forget_old(connection)
        assert len(await left(house)) == 2
        await connection.execute("update webhook_deliveries set tried_at = now() - interval '31 days' where number = 1")
        await deliveries.forget_old(connection)
    assert [row["state"] for row in await left(house)] == ["pending"]


async def test_what_comes_of_a_look_is_told_once_with_its_review_and_score(house: House, there: Listener) -> None:
    await hook(house, there.url, events=["media.reviewed"])
    await house.flow("wall")
    await house.run("update flows set unsafe = 'hold' where name = 'wall'")
    kept, shown, free = [
        (await house.stored(photo(8, 8, n), flow=flow))["id"] for n, flow in enumerate(("wall", "wall", "general"))
    ]
    for media, score in ((kept, 0.9), (shown, 0.1), (free, 0.9)):
        async with house.database.transaction() as connection:
            assert await classes.keep(connection, UUID(hex=media), [("beach", 0.5)], score, 0.8)
    async with house.database.transaction() as connection:
        await classes.approve(connection, house.app_id, UUID(hex=kept))
    async with deliverer(house):
        await soon(lambda: len(there.taken) == 3)
    told = [(t.message["data"]["id"], t.message["data"]["review"], t.message["data"]["unsafe"]) for t in there.taken]
    assert sorted(told, key=str) == sorted([(kept, "held", 0.9), (kept, "approved", 0.9), (shown, None, 0.1)], key=str)
    assert [t.message["data"]["review"] for t in there.taken if t.message["data"]["id"] == kept] == ["held", "approved"]
    assert await left(house) == []
