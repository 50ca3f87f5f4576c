"""Sharing by mail: the call, the job, and what a real SMTP server gets of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest

from chipmunk import jobs, links, recipients, users
from chipmunk.config import Settings
from compressor import worker
from compressor.sweep import Sweeper
from compressor.worker import Worker
from gateway.api.app import create
from tests.compressor.conftest import API_KEY, House, house_of, settings_of, working
from tests.servers.mail import PASSWORD, USER, Mailbox, mailbox, text_of

BASE = "https://media.example"
ANN = "ann@example.com"
HOSTILE = 'Hi <script>alert("1")</script> & "you" {link} %s ünï 🐿️\n.\n.leading dot\nlast'
DYING = Path(__file__).with_name("dying.py")


@dataclass
class Post:
    house: House
    api: httpx.AsyncClient
    box: Mailbox

    async def share(self, media: str, token: str | None = None, **fields: Any) -> httpx.Response:
        body = {"image_id": media, "email_address": ANN, "email_subject": "Look", "email_body": "There", **fields}
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        headers["content-type"] = "application/json"
        return await self.api.post("/v1/images/share", content=json.dumps(body), headers=headers)

    async def jobs(self) -> list[Any]:
        return await self.house.many("select id, state, reason, attempts from jobs where kind = 'mail' order by id")

    async def ended(self, number: int = 1) -> list[Any]:
        """The jobs of mails, once so many have ended."""
        async with asyncio.timeout(20):
            while True:
                found = await self.jobs()
                if len([j for j in found if j["state"] not in ("queued", "running")]) >= number:
                    return found
                await asyncio.sleep(0.02)

    async def kept(self) -> int:
        """How many shares still hold an address."""
        count: int = (await self.house.one("select count(*) from shares where mail is not null"))[0]
        return count

    async def opens(self, address: str) -> bool:
        """Whether the link of this address grants anything."""
        token = self.house.parts.links.open(signed(address))
        assert token is not None
        async with self.house.database.connection() as connection:
            return token in await links.grants(connection, [token])


def signed(address: str) -> str:
    return address.rpartition("/")[2]


def link_of(mail: EmailMessage) -> str:
    [found] = re.findall(rf"^{BASE}/share/\S+$", text_of(mail), re.MULTILINE)
    return str(found)


def leave_of(mail: EmailMessage) -> str:
    found = re.fullmatch(rf"<({BASE}/unsubscribe/[\w.-]+)>", mail["List-Unsubscribe"])
    assert found is not None, mail["List-Unsubscribe"]
    return found[1]


@asynccontextmanager
async def post_of(settings: Settings, box: Mailbox) -> AsyncIterator[Post]:
    async with house_of(settings) as house:
        await house.user()
        app = create(settings)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            headers = {"authorization": f"Bearer {API_KEY}"}
            async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers, timeout=60) as api:
                yield Post(house, api, box)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


Given = Callable[..., Settings]


@pytest.fixture
def given(tmp_path: Path, database: str, redis_url: str, box: Mailbox) -> Given:
    def made(**fields: Any) -> Settings:
        smtp = {"smtp_url": f"smtp://127.0.0.1:{box.port}", "mail_from": "Chip Mönk <media@chipmunk.example>"}
        return settings_of(tmp_path / "data", database, redis_url, **{"public_url": BASE, **smtp, **fields})

    return made


@pytest.fixture
async def post(given: Given, box: Mailbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setattr(worker, "LONGEST_DELAY", timedelta(seconds=0.2))
    async with post_of(given(), box) as post:
        yield post


async def test_a_share_is_a_mail_with_a_text_the_same_as_html_and_a_link_of_its_own(post: Post, box: Mailbox) -> None:
    media = (await post.house.stored())["id"]
    answer = await post.share(media, email_subject="  Grüße, " + "sehr " * 30, email_body=HOSTILE)
    assert (answer.status_code, answer.json()) == (200, {})
    async with working(post.house.parts):
        assert [j["state"] for j in await post.ended()] == ["completed"]
    [mail] = box.mails
    assert box.sent_to == [("media@chipmunk.example", [ANN])]
    assert (mail["From"], mail["To"]) == ("Chip Mönk <media@chipmunk.example>", ANN)
    assert mail["Subject"] == ("Grüße, " + "sehr " * 30).strip()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.get_content_type() == "multipart/alternative"
    plain, html = text_of(mail), text_of(mail, "html")
    assert plain.startswith(HOSTILE + "\n")
    assert leave_of(mail) in plain
    assert "<script" not in html
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &quot;you&quot; {link} %s" in html
    assert re.findall(r'href="([^"]+)"', html) == [link_of(mail), leave_of(mail)]
    assert (await post.opens(link_of(mail)), await post.kept()) == (True, 0)
    [link] = (await post.api.get(f"/v1/media/{media}/links")).json()["items"]
    assert (link["audience"], link["original"]) == ("anyone", False)
    assert link["url"] == f"/{signed(link_of(mail))}/"
    days = timedelta(seconds=post.house.settings.mail_link_seconds)
    row = await post.house.one("select expires_at - created_at as life from links where audience = 'anyone'")
    assert row["life"] == days


async def test_a_revoked_links_mail_opens_nothing_and_one_not_sent_yet_is_not_sent(post: Post, box: Mailbox) -> None:
    media = (await post.house.stored())["id"]
    async with working(post.house.parts):
        await post.share(media)
        await post.ended()
        [link] = (await post.api.get(f"/v1/media/{media}/links")).json()["items"]
        assert (await post.api.delete(f"/v1/links/{link['id']}")).status_code == 204
        assert not await post.opens(link_of(box.mails[0]))
    await post.share(media)
    assert (await post.api.delete(f"/v1/media/{media}/links")).status_code == 204
    async with working(post.house.parts):
        [_, job] = await post.ended(2)
    assert (job["state"], len(box.mails), await post.kept()) == ("failed", 1, 0)
    assert "revoked" in job["reason"]


@pytest.mark.parametrize("what", ["media", "user", "suspended"])
async def test_what_is_deleted_before_its_mail_is_sent_is_not_mailed(post: Post, box: Mailbox, what: str) -> None:
    media = (await post.house.stored())["id"]
    await post.share(media)
    if what == "media":
        assert (await post.house.http.delete(f"/v1/media/{media}")).status_code == 204
    async with post.house.database.transaction() as connection:
        if what == "user":
            await users.delete(connection, post.house.app_id, "ann")
        if what == "suspended":
            await connection.execute("update users set suspended = true")
    async with working(post.house.parts):
        await post.ended()
    assert (box.mails, await post.kept()) == ([], 0)


async def test_only_the_app_and_the_owner_within_manage_share_and_of_others_media_nothing_is_told(post: Post) -> None:
    media = (await post.house.stored())["id"]
    await post.house.user("bob")
    bob, ann = await post.house.token("bob"), await post.house.token("ann")
    few = await post.house.token("ann", ("view", "upload"))
    foreign, unknown = await post.share(media, bob), await post.share("0" * 32, bob)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert {k: v for k, v in foreign.json().items() if k != "media"} == {
        k: v for k, v in unknown.json().items() if k != "media"
    }
    assert (await post.share("no-id", bob)).status_code == 404
    assert (await post.share(media, few)).json()["code"] == "scope_missing"
    assert (await post.share(media, "cms_nonsense")).status_code == 401
    assert (await post.share(media, ann)).status_code == 200
    await post.house.run("update users set suspended = true where name = 'ann'")
    assert (await post.share(media)).json()["code"] == "forbidden"
    assert len(await post.jobs()) == 1


REFUSED: dict[str, tuple[Any, ...]] = {
    "email_address": (
        "", "ann", "ann@", "@example.com", "ann@example", "a@x.example,b@x.example", "a@x.example b@x.example",
        "Ann <ann@example.com>", "<ann@example.com>", "ann@example.com\r\nBcc: bob@example.com", "ann@example.com\n",
        "ann@[127.0.0.1]", '"a b"@example.com', "änn@example.com", "ann@localhost", "ann\x00@example.com",
        "\ud800@example.com", "a" * 65 + "@example.com", ["ann@example.com"], 7, None,
    ),
    "email_subject": (
        "", "  ", "x" * 201, "Look\r\nBcc: bob@example.com", "Look\nX: y", "\x00", "\x85", "a\u2028b", "\ud800",
        "\u202egpj", "see https://evil.example", None,
    ),
    "email_body": (
        "x" * 5001, "\x00", "\x1b[31m", "\ud800", "go to HTTPS://evil.example", "www.evil.example",
        "evil.example/login", "evil.example:8080/login", "mailto://a", None, {},
    ),
    "image_id": (None, "0" * 129),
    "attachment": ("x",),
    "cc": ("bob@example.com",),
}  # fmt: skip


async def test_what_could_become_a_header_another_recipient_or_a_trap_is_refused(post: Post) -> None:
    media = (await post.house.stored())["id"]
    for field, values in REFUSED.items():
        for value in values:
            answer = await post.share(media, **{field: value})
            assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable"), (field, value, answer.text)
            assert answer.json().get("field") == field, answer.text
            assert "evil" not in answer.text
    assert await post.jobs() == []


async def test_a_domain_in_other_letters_becomes_what_every_server_takes(post: Post, box: Mailbox) -> None:
    media = (await post.house.stored())["id"]
    assert (await post.share(media, email_address="Ann+x@Bücher.example", email_body="")).status_code == 200
    async with working(post.house.parts):
        await post.ended()
    assert box.sent_to[0][1] == ["Ann+x@xn--bcher-kva.example"]


async def test_without_a_mail_server_there_is_no_such_part(given: Given, box: Mailbox) -> None:
    async with post_of(given(smtp_url=""), box) as post:
        answer = await post.share((await post.house.stored())["id"])
        assert (answer.status_code, answer.json()["code"]) == (501, "not_installed")


@pytest.mark.parametrize(
    ("limit", "most", "address"),
    [
        ("mail_per_sender", 7, "{}@example.com"),
        ("mail_per_recipient", 7, "Ann+{}@example.com"),
        ("mail_per_app", 7, "{}@example.com"),
    ],
)
async def test_daily_limits_are_exact_however_many_ask_at_once(
    given: Given, box: Mailbox, limit: str, most: int, address: str
) -> None:
    async with post_of(given(**{limit: most}), box) as post:
        media = (await post.house.stored())["id"]
        answers = await asyncio.gather(*(post.share(media, email_address=address.format(n)) for n in range(20)))
        assert sorted(a.status_code for a in answers) == [200] * most + [429] * (20 - most)
        refused = next(a for a in answers if a.status_code == 429)
        assert refused.json()["code"] == "too_many_mails"
        assert 86_000 < int(refused.headers["retry-after"]) <= 86_400
        assert len(await post.jobs()) == most
        links_made = await post.house.one("select count(*) from links where audience = 'anyone'")
        assert links_made[0] == most
        await post.house.run("update shares set created_at = created_at - interval '23 hours'")
        wait = int((await post.share(media, email_address=address.format(99))).headers["retry-after"])
        assert 3000 < wait <= 3600
        await post.house.run("update shares set created_at = created_at - interval '1 hour'")
        assert (await post.share(media, email_address=address.format(99))).status_code == 200


async def test_a_limit_of_one_sender_or_recipient_is_not_anothers(given: Given, box: Mailbox) -> None:
    async with post_of(given(mail_per_sender=1, mail_per_recipient=2), box) as post:
        mine = (await post.house.stored())["id"]
        await post.house.user("bob")
        bobs = (await post.house.stored(user="bob"))["id"]
        assert [(await post.share(m)).status_code for m in (mine, mine, bobs)] == [200, 429, 200]
        await post.house.user("eve")
        eves = (await post.house.stored(user="eve"))["id"]
        assert (await post.share(eves)).status_code == 429
        assert (await post.share(eves, email_address="carl@example.com")).status_code == 200


async def test_a_server_that_is_down_gets_the_mail_when_it_is_back(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LONGEST_DELAY", timedelta(seconds=0.2))
    with mailbox() as gone:
        port = gone.port
    async with post_of(given(smtp_url=f"smtp://127.0.0.1:{port}"), gone) as post:
        await post.share((await post.house.stored())["id"])
        async with working(post.house.parts):
            async with asyncio.timeout(20):
                while not await post.house.one("select 1 from pgqueuer where entrypoint = 'mail' and attempts > 1"):
                    await asyncio.sleep(0.02)
            assert await post.kept() == 1
            with mailbox(port=port) as back:
                await post.ended()
    assert len(back.mails) == 1


@pytest.mark.parametrize("refusals", [
    {"rcpt": ["451 greylisted", "450 later"]}, {"data": ["452 full", "cut"]}, {"mail": ["421 busy", "550 not from you"]},
])  # fmt: skip
async def test_what_a_server_refuses_for_now_is_tried_again_until_it_is_taken(
    post: Post, box: Mailbox, refusals: dict[str, list[str]]
) -> None:
    box.refusals = refusals
    await post.share((await post.house.stored())["id"])
    async with working(post.house.parts):
        [job] = await post.ended()
    assert (job["state"], box.tries, len(box.mails)) == ("completed", 3, 1)


@pytest.mark.parametrize("step", ["rcpt", "data"])
async def test_what_a_server_refuses_for_good_is_given_up_and_forgotten(
    post: Post, box: Mailbox, step: str, capfd: pytest.CaptureFixture[str]
) -> None:
    box.refusals = {step: [f"550 no such mailbox {ANN}"]}
    await post.share((await post.house.stored())["id"])
    async with working(post.house.parts):
        [job] = await post.ended()
    assert (job["state"], box.tries, box.mails, await post.kept()) == ("failed", 1, [], 0)
    assert job["reason"] == "The mail server refused the mail for good (550)."
    said = capfd.readouterr()
    assert "550" in said.out + said.err
    assert ANN not in said.out + said.err
    told = await post.house.many("select traceback::text from pgqueuer_log where traceback is not null")
    assert ANN not in str([*told, *await post.house.many("select reason, payload from jobs")])


async def test_over_starttls_with_a_password_and_never_without(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.parse import quote

    from tests.servers.certificates import Authority

    monkeypatch.setattr(worker, "LONGEST_DELAY", timedelta(seconds=0.2))
    authority = Authority(tmp_path)
    account = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
    with mailbox(authority.server("127.0.0.1")) as box:
        url = f"smtp://{account}@127.0.0.1:{box.port}?starttls=yes"
        async with post_of(given(smtp_url=url), box) as post:
            await post.share((await post.house.stored())["id"])
            async with working(post.house.parts):
                async with asyncio.timeout(20):
                    while not await post.house.one("select 1 from pgqueuer where entrypoint = 'mail' and attempts > 1"):
                        await asyncio.sleep(0.02)
                assert (box.mails, box.logins) == ([], []), "nobody vouches for this server"
                monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
                await post.ended()
        assert (len(box.mails), box.over_tls, box.logins) == (1, [True], [(USER.encode(), PASSWORD.encode())])


async def test_unsubscribing_takes_a_post_of_the_very_address_and_holds_for_good(post: Post, box: Mailbox) -> None:
    media = (await post.house.stored())["id"]
    async with working(post.house.parts):
        await post.share(media)
        await post.ended()
        leave = leave_of(box.mails[0])
        assert "ann" not in leave.removeprefix(BASE).lower()
        nobody = {"authorization": ""}
        for method in ("GET", "HEAD"):
            page = await post.api.request(method, leave, headers=nobody)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "default-src 'none'" in page.headers["content-security-policy"]
        for forged in (
            leave[:-1] + ("A" if leave[-1] != "A" else "B"),
            f"{BASE}/unsubscribe/x",
            link_of(box.mails[0]).replace("share", "unsubscribe"),
        ):
            for method in ("GET", "POST"):
                assert (await post.api.request(method, forged, headers=nobody)).status_code == 404
        await post.share(media)
        await post.ended(2)
        assert len(box.mails) == 2
        one_click = await post.api.post(leave, data={"List-Unsubscribe": "One-Click"}, headers=nobody)
        assert (one_click.status_code, (await post.api.post(leave, headers=nobody)).status_code) == (200, 200)
        before = await post.share(media, email_address="ANN+more@example.com")
        other = await post.share(media, email_address="bob@example.com")
        assert (before.status_code, before.json()) == (other.status_code, other.json()) == (200, {})
        states = {j["state"] for j in await post.ended(4)}
    assert states == {"completed"}
    assert [to for _, to in box.sent_to] == [[ANN], [ANN], ["bob@example.com"]]
    assert await post.kept() == 0


async def test_who_unsubscribed_stays_so_when_keys_rotate(given: Given, box: Mailbox) -> None:
    old, new = given(), ("n" * 40,)
    async with post_of(old, box) as post:
        media = (await post.house.stored())["id"]
        async with post.house.database.transaction() as connection:
            before = await recipients.known_as(connection, post.house.parts.stores.vault, ANN)
    async with post_of(given(master_keys=(*new, *old.master_keys)), box) as post:
        await Sweeper(post.house.parts).sweep()
    async with post_of(given(master_keys=new), box) as post:
        async with post.house.database.transaction() as connection:
            assert await recipients.known_as(connection, post.house.parts.stores.vault, ANN) == before
        assert (await post.share(media)).status_code == 200


async def attempt(post: Post, identifier: UUID) -> None:
    entry: Any = SimpleNamespace(payload=identifier.hex.encode(), attempts=0, entrypoint=jobs.MAIL)
    await Worker(post.house.parts, asyncio.Event()).attempt(entry)


async def test_two_workers_at_one_mail_send_it_once(post: Post, box: Mailbox) -> None:
    await post.share((await post.house.stored())["id"])
    [job] = await post.jobs()
    box.ready.clear()
    first = asyncio.create_task(attempt(post, job["id"]))
    async with asyncio.timeout(20):
        while not box.tries:
            await asyncio.sleep(0.02)
    with pytest.raises(worker.RetryRequested):
        await attempt(post, job["id"])
    box.ready.set()
    await first
    assert (box.tries, len(box.mails)) == (1, 1)
    assert [j["state"] for j in await post.jobs()] == ["completed"]


async def test_a_worker_that_is_killed_at_any_step_loses_no_mail_and_repeats_one_under_its_own_id(
    post: Post, box: Mailbox
) -> None:
    media = (await post.house.stored())["id"]
    said, steps = "", list[int]()
    while said != "done":
        step = 2 * len(steps) + 1  # before each: after one is before the next
        steps.append(step)
        assert (await post.share(media, email_address=f"{step}@x{step}.example")).status_code == 200
        said = await killed(post, step, (await post.jobs())[-1]["id"])
    async with working(post.house.parts):
        found = await post.ended(len(steps))
    assert {j["state"] for j in found} == {"completed"}
    for n in steps:
        mails = box.to(f"{n}@x{n}.example")
        assert len({m["Message-ID"] for m in mails}) == 1
        assert len({(text_of(m), text_of(m, "html"), m["Date"]) for m in mails}) == 1
        assert len(mails) <= 2
    assert len({m["Message-ID"] for m in box.mails}) == len(steps)
    assert len(box.mails) > len(steps), "one step lies between the server's yes and our noting it"


async def killed(post: Post, step: int, job: UUID) -> str:
    """What a worker said of its attempt before its n-th step killed it."""
    settings = post.house.settings
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(DYING.parents[2]),
        "CHIPMUNK_DATA_DIR": str(settings.data_dir),
        "CHIPMUNK_DATABASE_URL": settings.database_url,
        "CHIPMUNK_REDIS_URL": settings.redis_url,
        "CHIPMUNK_SECRET_KEYS": ",".join(settings.secret_keys),
        "CHIPMUNK_MASTER_KEYS": ",".join(settings.master_keys),
        "CHIPMUNK_PUBLIC_URL": settings.public_url,
        "CHIPMUNK_SMTP_URL": settings.smtp_url,
        "CHIPMUNK_MAIL_FROM": settings.mail_from,
        "CHIPMUNK_DECODERS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DYING), "ladder", str(step), job.hex,
        env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await process.communicate()
    assert process.returncode == -9, complained.decode()
    return said.decode().strip()
