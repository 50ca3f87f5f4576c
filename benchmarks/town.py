"""A house full of seeded media, and what may be asked of it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from uuid import UUID

import asyncpg
import httpx

from benchmarks import seeding
from benchmarks.house import PICTURE, House
from benchmarks.load import Load, Requests
from benchmarks.session import Session
from chipmunk.ids import folder
from chipmunk.signing import Seal, random_identifier
from tests.harness import until

VIEWERS, TOKENS = 20, 10
MISSING = 6  # a rung that no seeded media has
NAMES_OF_ONE_FILE = 50_000  # ext4 allows 65,000


class Town:
    """`count` media lie in the database; those of them that will be viewed have their file."""

    def __init__(self, session: Session, ours: House, name: str) -> None:
        self.session, self.ours, self.name, self.count = session, ours, name, 0
        settings = ours.system.settings
        self.url, self._store, self._seal = (
            settings.database_url,
            settings.store_dir,
            Seal(settings.secret_keys, "link"),
        )
        self._owner = self._store.stat()
        self._lists, self._chosen = session.folder / f"{name}-requests", random.Random(name)
        self._lists.mkdir()
        [self.owner, *viewers] = ours.users(1 + VIEWERS)
        self.ours.app.http.put(f"/v1/flows/{seeding.GALLERY}", json={}).raise_for_status()
        for viewer in viewers:
            path = f"/v1/flows/{seeding.GALLERY}/members/{viewer}"
            self.ours.app.http.put(path, json={"role": "viewer"}).raise_for_status()
        self.tokens = [token for viewer in viewers for token in ours.tokens(viewer, TOKENS)]
        stored = ours.app.stored(self.owner, ours.picture)
        self.rung = ours.file(stored["id"], f"{PICTURE}.webp")
        self._names, self._folders = 0, {self._store}
        self._empty_bytes = self._database_bytes()

    def _database_bytes(self) -> int:
        async def answer() -> int:
            connection = await asyncpg.connect(self.url)
            try:
                return int(await connection.fetchval("select pg_database_size(current_database())"))
            finally:
                await connection.close()

        return asyncio.run(answer())

    def grow(self, count: int) -> None:
        """Seeds media until there are so many."""
        self.session.say(f"{self.name}: growing to {count:,} media")
        asyncio.run(seeding.seed(self.url, self.count, count, self.session.say))
        self.count = count

    def bytes_per_media(self) -> float:
        """Of the database, with indexes and with all that is not about media."""
        return (self._database_bytes() - self._empty_bytes) / self.count

    def views(self, name: str, count: int, *, files: bool = True) -> Requests:
        """Requests for as many different media, each by one of the viewers; fewer where there are fewer.

        Without `files` they are for a rung that is not there.
        """
        whole = self.count * 8 // 10
        drawn = [seeding.nth_of_gallery(n) for n in self._chosen.sample(range(whole), min(whole, count))]
        if files:
            self.session.say(f"{self.name}: naming {len(drawn):,} files")
            for n in drawn:
                self._name(seeding.media_id(n))
        rung = PICTURE if files else MISSING
        return Requests(self._lists, name, (self._view(seeding.token(n), rung=rung) for n in drawn))

    def strangers(self) -> Requests:
        """Requests for what is not there, one by each session."""
        return Requests(self._lists, "strangers", (self._view(random_identifier(), token) for token in self.tokens))

    def bare(self) -> Requests:
        """Requests for the same picture of a server that knows it by its file's name."""
        return Requests(self._lists, "bare", [(f"/{self.rung.name}", "Accept: */*")])

    def _view(self, link: UUID, token: str = "", rung: int = PICTURE) -> tuple[str, str]:
        session = token or self._chosen.choice(self.tokens)
        return f"/{self._seal.sign(link)}/{rung}/", f"Cookie: chipmunk_session={session}"

    def _name(self, media: UUID) -> None:
        """Gives the one picture a name in this media's folder."""
        if self._names % NAMES_OF_ONE_FILE == NAMES_OF_ONE_FILE - 1:
            self.rung = Path(shutil.copy(self.rung, self.rung.with_name(f"{self._names}.webp")))
            os.chown(self.rung, self._owner.st_uid, self._owner.st_gid)
        self._names += 1
        path = self._store / folder(media)
        self._make(path)
        with suppress(FileExistsError):
            os.link(self.rung, path / f"{PICTURE}.webp")

    def _make(self, path: Path) -> None:
        if path in self._folders:
            return
        self._make(path.parent)
        self._folders.add(path)
        with suppress(FileExistsError):
            path.mkdir(mode=0o755)
            os.chown(path, self._owner.st_uid, self._owner.st_gid)

    def viewed(self, requests: Requests, strangers: Requests, seconds: int) -> Load:
        """Views by sessions that the gateway knows, of media that it does not: it is a new one."""
        self.new_gateway()
        strangers.run(self.ours.port, 1, refused=True)
        return requests.run(self.ours.port, seconds)

    def new_gateway(self) -> None:
        """Has the supervisor start another, and waits until that one decides."""
        self.ours.system.restart("authorizer")
        path = self._view(random_identifier())[0]
        until(lambda: self.ours.app.http.get(path).status_code == 404, 30, "a decision")

    def pages(self, count: int) -> float:
        """The 99th percentile of that many pages of the gallery, anywhere in it, in ms; half of them are a member's."""
        passed = []
        with httpx.Client(base_url=self.ours.system.url, timeout=60) as member:
            member.headers["Authorization"] = f"Bearer {self.tokens[0]}"
            for number, cursor in enumerate(self._cursors(count)):
                http, began = (self.ours.app.http, member)[number % 2], time.perf_counter()
                answer = http.get(f"/v1/flows/{seeding.GALLERY}/media", params={"limit": 50, "cursor": cursor})
                passed.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200 or not answer.json()["items"]:
                    raise RuntimeError(f"a page was answered {answer.status_code}: {answer.text[:200]}")
        return quantiles(passed, n=100)[98]

    def _cursors(self, count: int) -> Iterator[str]:
        for _ in range(count):
            media = seeding.media_id(self._chosen.randrange(10, self.count))
            yield urlsafe_b64encode(f"id:{media.hex}".encode()).rstrip(b"=").decode()

    def upload(self, picture: bytes) -> float:
        """Milliseconds until it is answered."""
        began = time.perf_counter()
        answer = self.ours.app.upload(self.owner, picture)
        answer.raise_for_status()
        return (time.perf_counter() - began) * 1000
