"""Views per second beside the same nginx serving the same file with no authorization: one nginx worker, one gateway."""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path

import asyncpg
import httpx

from benchmarks.house import PICTURE, House, bare_nginx, front, house
from benchmarks.load import Load, Requests, by_http2
from benchmarks.peers import ipx, starlette_app, thumbor
from benchmarks.rows import Row, Target, alone, at_least, at_most, beside, in_turns
from benchmarks.session import Session
from tests.client import photo

GROUP = "viewing"
SESSIONS, MEDIA = 200, 500
RANGE_BYTES, LARGE_BYTES = 1 << 20, 200 << 20
UPLOADERS = 3
LOOKUPS = "select idx_scan from pg_stat_user_indexes where indexrelname = 'links_token_key'"
STATISTICS_SECONDS = 11  # after so long at most a connection at rest has told what it did


def measure(session: Session) -> Iterator[Row]:
    """All rows of the group, each as it is known."""
    with house(session.folder / "house") as ours, ExitStack() as stack:
        scene = Scene(session, ours)
        scene.port = stack.enter_context(bare_nginx(session.folder / "bare", scene.file))
        yield from scene.hot()
        yield from scene.secure(session.folder)
        yield from scene.zipf()
        yield from scene.new_pairs()
        yield from scene.public()
        yield from scene.forged()
        yield from scene.original(session.folder)
        yield from scene.instead(session.folder)
        yield from scene.busy()


class Scene:
    """A house with media, viewers and a bare nginx beside it."""

    def __init__(self, session: Session, ours: House) -> None:
        self.session, self.ours = session, ours
        self.folder = session.folder / "requests"
        self.folder.mkdir()
        session.say("making users, sessions and media")
        self.owner = ours.users(1)[0]
        self.tokens = ours.tokens(self.owner, session.count(SESSIONS * 5))
        self.media = ours.media(self.owner, session.count(MEDIA))
        found = ours.app.http.get("/v1/media", params={"user": self.owner, "limit": 1}).json()["items"][0]
        self.file = ours.file(found["id"], f"{PICTURE}.webp")
        cookie = f"Cookie: chipmunk_session={self.tokens[0]}"
        self.bare = self.requests("bare", [(f"/{self.file.name}", cookie)])
        self.port = 0

    def requests(self, name: str, lines: Iterable[tuple[str, str]]) -> Requests:
        return Requests(self.folder, name, lines)

    def view(self, media: str, token: str = "") -> tuple[str, str]:
        return f"{media}{PICTURE}/", f"Cookie: chipmunk_session={token}" if token else "Accept: */*"

    def rates(
        self, requests: Requests, peer: Requests | None = None, *, refused: bool = False, beside: str = "bare nginx"
    ) -> tuple[list[Load], list[Load]]:
        """Our loads and the peer's, one of each per round."""
        loads: dict[str, list[Load]] = {"chipmunk": [], beside: []}

        def one(name: str, asked: Requests, port: int, refused: bool) -> Callable[[], float]:
            def run() -> float:
                loads[name].append(asked.run(port, self.session.seconds, refused=refused))
                return loads[name][-1].rate

            return run

        ways = {
            "chipmunk": one("chipmunk", requests, self.ours.port, refused),
            beside: one(beside, peer or self.bare, self.port, False),
        }
        in_turns(ways, self.session.rounds, self.session.say)
        return loads["chipmunk"], loads[beside]

    def row(self, name: str, target: Target, requests: Requests, *, refused: bool = False) -> Row:
        ours, bare = self.rates(requests, refused=refused)
        return beside(GROUP, name, "requests/s", rate(ours), rate(bare), target)

    def hot(self) -> Iterator[Row]:
        requests = self.requests("hot", [self.view(self.media[0], self.tokens[0])])
        ours, bare = self.rates(requests)
        yield beside(GROUP, "one id, one viewer, hot", "requests/s", rate(ours), rate(bare), at_least(0.85))
        yield beside(GROUP, "one id, one viewer, hot: p99", "ms", late(ours), late(bare), at_most(2))

    def secure(self, folder: Path) -> Iterator[Row]:
        """The same through an nginx that speaks HTTP/2 over TLS, as the guides have it."""
        (path, header), bare = self.view(self.media[0], self.tokens[0]), f"/{self.file.name}"
        with (
            front(folder / "front", self.ours.port, "/livez") as ours,
            front(folder / "front-of-bare", self.port, bare) as other,
        ):
            ways = {
                "chipmunk": lambda: by_http2(ours, path, header, self.session.seconds),
                "bare nginx": lambda: by_http2(other, bare, header, self.session.seconds),
            }
            rates = in_turns(ways, self.session.rounds, self.session.say)
        name = "one id, one viewer, hot, by HTTP/2 over TLS through a proxy"
        yield beside(GROUP, name, "requests/s", rates["chipmunk"], rates["bare nginx"])

    def zipf(self) -> Iterator[Row]:
        chosen, weights = random.Random(1), list(accumulate(1 / n for n in range(1, len(self.media) + 1)))
        viewers = self.tokens[: self.session.count(SESSIONS)]
        drawn = chosen.choices(self.media, cum_weights=weights, k=200_000)
        requests = self.requests("zipf", (self.view(media, chosen.choice(viewers)) for media in drawn))
        requests.run(self.ours.port, self.session.seconds)  # steady: what is asked for often is known
        name = f"{len(viewers)} sessions × {len(self.media)} ids, Zipf 1.0"
        yield self.row(name, at_least(0.60), requests)

    def new_pairs(self) -> Iterator[Row]:
        pairs = [(media, token) for media in self.media for token in self.tokens]
        random.Random(2).shuffle(pairs)
        requests = self.requests("pairs", (self.view(*pair) for pair in pairs))
        requests.run(self.ours.port, self.session.seconds)
        yield self.row("every request a new session and id, both known to the gateway", at_least(0.25), requests)

    def public(self) -> Iterator[Row]:
        found = self.ours.app.http.get("/v1/media", params={"user": self.owner, "limit": 1}).json()["items"][0]["id"]
        link = self.ours.app.http.post(f"/v1/media/{found}/links", json={"audience": "anyone"}).json()
        yield self.row("a public link", at_least(0.85), self.requests("public", [self.view(link["url"])]))

    def forged(self) -> Iterator[Row]:
        lines = (
            self.view(f"/{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}/", self.tokens[0])
            for _ in range(200_000)
        )
        requests = self.requests("forged", lines)
        asked = self.lookups()
        yield self.row("refused: forged ids", at_least(0.25), requests, refused=True)
        looked_up = [self.lookups() - asked]
        name = "refused: forged ids: looked up in the database"
        yield alone(GROUP, name, "ids", looked_up, at_most(0))

    def lookups(self) -> float:
        """How often PostgreSQL has looked for a link by its id so far."""

        async def answer() -> float:
            connection = await asyncpg.connect(self.ours.system.settings.database_url)
            try:
                return float(await connection.fetchval(LOOKUPS))
            finally:
                await connection.close()

        time.sleep(STATISTICS_SECONDS)
        return asyncio.run(answer())

    def original(self, folder: Path) -> Iterator[Row]:
        size = self.session.count(LARGE_BYTES)
        made = folder / "large.wav"
        made.write_bytes(wav(size))
        with made.open("rb") as body:
            stored = self.ours.app.http.put("/v1/media", params={"user": self.owner}, content=body).json()
        file = self.ours.file(stored["id"], "0")
        chosen = random.Random(3)
        path = f"{stored['url']}0/"
        starts = [chosen.randrange(max(size - RANGE_BYTES, 1)) for _ in range(20_000)]
        cookie = f"Cookie: chipmunk_session={self.tokens[0]}"
        headers = [f"{cookie}|Range: bytes={s}-{s + RANGE_BYTES - 1}" for s in starts]
        requests, peer = (self.requests(p.strip("/")[:2], ((p, h) for h in headers)) for p in (path, "/0"))
        whole = self.port
        with bare_nginx(folder / "bare-large", file) as self.port:
            ours, bare = self.rates(requests, peer)
        self.port = whole
        name = "original of 200 MB, ranges of 1 MB"
        yield beside(GROUP, name, "requests/s", rate(ours), rate(bare), at_least(0.95))

    def instead(self, folder: Path) -> Iterator[Row]:
        """Hot views beside what people use instead, each with the same picture at the same size."""
        requests = self.requests("instead", [self.view(self.media[0], self.tokens[0])])
        say, picture, whole = self.session.say, self.ours.picture, self.port
        for name, peer in (
            ("the app itself (Starlette FileResponse behind a session)", starlette_app(folder / "app", self.file)),
            ("thumbor, warm result storage", thumbor(folder / "thumbor", picture, say)),
            ("ipx, warm", ipx(folder / "ipx", picture, say)),
        ):
            with peer as (self.port, path, headers):
                asked = self.requests("peer", [(path, headers)])
                ours, theirs = self.rates(requests, asked, beside=name)
            yield beside(GROUP, f"beside {name}", "requests/s", rate(ours), rate(theirs), at_least(10))
        self.port = whole

    def busy(self) -> Iterator[Row]:
        """Hot views while uploads keep every core busy, beside the same views on the idle system."""
        requests = self.requests("busy", [self.view(self.media[0], self.tokens[0])])
        loads: dict[str, list[Load]] = {"busy": [], "idle": []}

        def one(name: str) -> float:
            with self.uploads() if name == "busy" else ExitStack():
                loads[name].append(requests.run(self.ours.port, self.session.seconds))
            return loads[name][-1].rate

        in_turns({"idle": lambda: one("idle"), "busy": lambda: one("busy")}, self.session.rounds, self.session.say)
        name = "hot views while uploads keep every core busy, beside idle"
        yield beside(GROUP, name, "requests/s", rate(loads["busy"]), rate(loads["idle"]), at_least(0.4))
        yield beside(GROUP, f"{name}: p99", "ms", late(loads["busy"]), late(loads["idle"]), at_most(5))

    @contextmanager
    def uploads(self) -> Iterator[None]:
        """Uploads one after the other from several clients until the end of the block, and their ladders."""
        data, ended = photo(2725, 2225), threading.Event()

        def upload() -> None:
            with httpx.Client(base_url=self.ours.system.url, headers=self.ours.system.app, timeout=60) as http:
                while not ended.is_set():
                    http.put("/v1/media", params={"user": self.owner}, content=data)

        threads = [threading.Thread(target=upload) for _ in range(UPLOADERS)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            self.settle()

    def settle(self) -> None:
        """Waits until no ladder is left to make."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            page = self.ours.app.http.get("/v1/media", params={"user": self.owner, "limit": 200}).json()["items"]
            if all(item["status"] != "processing" for item in page):
                return
            time.sleep(0.5)


def rate(loads: list[Load]) -> list[float]:
    return [load.rate for load in loads]


def late(loads: list[Load]) -> list[float]:
    return [load.p99 for load in loads]


def wav(size: int) -> bytes:
    """Silence: a WAV file of this many bytes (RIFF, 8 bit, mono, 8 kHz)."""
    head = b"RIFF" + (size - 8).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += bytes.fromhex("01000100401f0000401f000001000800") + b"data" + (size - 44).to_bytes(4, "little")
    return head + b"\x80" * (size - 44)
