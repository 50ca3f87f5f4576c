"""The sites of the how-to pages, built from the very text of those pages and used by people with browsers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.client import photo
from tests.docs.howto import Browser, blocks, lay
from tests.harness import System, free_port, scratch, until

PASSWORDS = {"ada": "correct horse", "bob": "battery staple"}
MAKE_USERS = "from django.contrib.auth.models import User\n" + "\n".join(
    f"User.objects.create_user({name!r}, password={word!r})" for name, word in PASSWORDS.items()
)


Visit = Callable[..., Browser]


@dataclass(frozen=True)
class Site:
    """A site that runs. `ada` is what its user ada is called in Chipmunk."""

    url: str
    ada: str
    chipmunk: System

    def used_bytes(self) -> int:
        with httpx.Client(base_url=self.chipmunk.url, headers=self.chipmunk.app) as backend:
            standing = backend.get(f"/v1/users/{self.ada}").json()
            return int(standing["used_bytes"] + standing["reserved_bytes"])

    def give_quota(self, quota: int | None) -> None:
        with httpx.Client(base_url=self.chipmunk.url, headers=self.chipmunk.app) as backend:
            backend.put(f"/v1/users/{self.ada}", json={"quota_bytes": quota}).raise_for_status()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in BUILDERS}


@pytest.fixture(scope="module")
def chipmunk(ports: dict[str, int]) -> Iterator[System]:
    origins = ",".join(f"http://127.0.0.1:{port}" for port in ports.values())
    with scratch() as folder, System(folder / "data", origins=origins) as system:
        yield system


@contextmanager
def running(command: list[str], folder: Path, port: int, environment: dict[str, str]) -> Iterator[str]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)

    def listens() -> bool:
        assert process.poll() is None, (folder / "output").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens, 30, command[-1])
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def build_django(folder: Path, environment: dict[str, str]) -> list[str]:
    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, timeout=60)

    run("-m", "django", "startproject", "website", ".")
    run("manage.py", "startapp", "photos")
    lay("django.md", folder)
    with (folder / "website" / "settings.py").open("a") as settings:
        settings.write(blocks("django.md", "python")[0])
    run("manage.py", "makemigrations", "photos")
    run("manage.py", "migrate", "--verbosity=0")
    run("manage.py", "shell", "--command", MAKE_USERS)
    return [sys.executable, "manage.py", "runserver", "--noreload", environment["PORT"]]


def build_fastapi(folder: Path, environment: dict[str, str]) -> list[str]:
    lay("fastapi.md", folder)
    return [sys.executable, "-m", "uvicorn", "app:app", "--port", environment["PORT"]]


def build_express(folder: Path, environment: dict[str, str]) -> list[str]:
    if shutil.which("npm") is None and os.environ.get("CI") != "true":
        pytest.skip("Node is not installed: apt-get install nodejs npm")
    [install] = [line for block in blocks("express.md", "sh") for line in block.splitlines() if "npm" in line]
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([*install.split(), *quiet], cwd=folder, env=environment, check=True, timeout=240)
    lay("express.md", folder)
    return ["node", "app.mjs"]


BUILDERS = {"django": build_django, "fastapi": build_fastapi, "express": build_express}


@pytest.fixture(scope="module", params=BUILDERS)
def site(request: pytest.FixtureRequest, chipmunk: System, ports: dict[str, int]) -> Iterator[Site]:
    name = request.param
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CHIPMUNK_", "DJANGO_"))}
    environment |= {"CHIPMUNK_URL": chipmunk.url, "CHIPMUNK_API_KEY": chipmunk.api_key}
    environment |= {"SECRET_KEY": "for these tests alone", "PORT": str(ports[name]), "PYTHONPATH": ""}
    with scratch() as folder:
        command = BUILDERS[name](folder, environment)
        with running(command, folder, ports[name], environment) as url:
            yield Site(url, "1" if name == "django" else "ada", chipmunk)


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """Opens a browser in which this person has logged in, or nobody has."""
    with ExitStack() as browsers:

        def opened(name: str = "") -> Browser:
            browser = browsers.enter_context(Browser(site.url))
            browser.open("/")
            if name:
                browser.submit(browser.page.forms[0], username=name, password=PASSWORDS[name])
                assert (browser.answer.status_code, str(browser.answer.url)) == (200, f"{site.url}/")
            return browser

        yield opened


def upload(browser: Browser, data: bytes, filename: str = "süß.jpg") -> None:
    browser.submit(browser.page.forms[0], (filename, data))


def empty(browser: Browser) -> None:
    while browser.page.pictures:
        browser.submit(browser.form("/delete"))
        assert browser.answer.status_code == 200


def status(browser: Browser, picture: str) -> int:
    return browser.http.get(picture).status_code


def test_people_see_their_own_pictures_until_they_log_out(site: Site, visit: Visit) -> None:
    ada, bob, nobody = visit("ada"), visit("bob"), visit()
    upload(ada, photo(1300, 1000))
    assert ada.answer.status_code == 200
    [picture] = ada.page.pictures
    assert picture.startswith(site.chipmunk.url)
    assert picture.endswith("/5/")
    seen = ada.http.get(picture)
    assert (seen.status_code, seen.headers["content-type"]) == (200, "image/webp")
    assert status(bob, picture) == 404
    assert status(nobody, picture) == 401
    bob.open("/")
    assert bob.page.pictures == []
    ada.submit(ada.form("logout" if site.ada == "ada" else "logout/"))
    left = time.monotonic()
    until(lambda: status(ada, picture) == 401, 2, "a 401 after logging out")
    assert time.monotonic() - left < 2
    assert status(bob, picture) == 404
    again = visit("ada")
    assert again.page.pictures == [picture]
    assert status(again, picture) == 200
    empty(again)


def test_a_picture_is_deleted_by_its_owner_alone_and_gives_its_bytes_back(site: Site, visit: Visit) -> None:
    ada, bob = visit("ada"), visit("bob")
    before = site.used_bytes()
    upload(ada, photo(seed=2))
    upload(bob, photo(seed=3))
    [picture] = ada.page.pictures
    theirs, mine = ada.form("/delete"), bob.form("/delete")
    mine.action = theirs.action
    bob.submit(mine)
    assert bob.answer.status_code == 404
    assert status(ada, picture) == 200
    assert site.used_bytes() > before
    ada.submit(theirs)
    assert (ada.answer.status_code, ada.page.pictures) == (200, [])
    assert status(ada, picture) == 404
    assert site.used_bytes() == before
    bob.open("/")
    empty(bob)


def test_a_form_that_is_sent_twice_stores_one(visit: Visit) -> None:
    ada = visit("ada")
    form = ada.page.forms[0]
    for _ in range(2):
        ada.submit(form, ("a.jpg", photo(seed=4)))
        assert ada.answer.status_code == 200
    assert len(ada.page.pictures) == 1
    empty(ada)


def test_a_refusal_reaches_the_person_as_a_sentence(site: Site, visit: Visit) -> None:
    ada = visit("ada")
    before = site.used_bytes()
    site.give_quota(before + 1_000_000)
    for data, words in (
        (photo(1200, 900)[:-2000], "damaged"),
        (b"Dear diary, " * 100, "not a picture"),
        (os.urandom(30_000_000), "space is full"),
    ):
        upload(ada, data)
        assert ada.answer.status_code == 422
        assert words in ada.page.words, ada.answer.text
        assert ada.page.pictures == []
    site.give_quota(None)
    assert site.used_bytes() == before


def test_whoever_enters_by_a_link_that_was_used_is_told_so(site: Site, visit: Visit) -> None:
    """An enter_url that another page leaked opens nothing any more."""
    ada = visit("ada")
    [entrance] = [
        str(a.url) for a in [*ada.answer.history] if "/enter/" in a.url.path and a.url.port == site.chipmunk.port
    ]
    assert httpx.get(entrance).status_code == 404
