"""JWTs as the how-to page issues, brings and revokes them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import App, photo
from tests.docs.howto import blocks, lay
from tests.harness import System, scratch, until

PAGE = "log-in-with-jwt.md"
Issue = Callable[..., str]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with scratch() as folder:
        lay(PAGE, folder)
        subprocess.run([sys.executable, "make_keys.py"], cwd=folder, check=True, timeout=60)
        yield folder


@pytest.fixture(scope="module")
def issue(folder: Path) -> Issue:
    specification = importlib.util.spec_from_file_location("tokens", folder / "tokens.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        specification.loader.exec_module(module)
    found: Issue = module.issue
    return found


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[App]:
    lines = [line.partition("#")[0].strip() for line in blocks(PAGE, "sh")[0].splitlines()]
    said = dict(line.removeprefix("CHIPMUNK_").split("=", 1) for line in lines)
    settings = {name.lower(): value for name, value in said.items()} | {"jwt_jwks": folder / "jwks.json"}
    with System(folder / "data", **settings) as system, App(system) as app:
        yield app


def test_the_page_s_token_sees_uploads_and_is_revoked(app: App, issue: Issue) -> None:
    user, url = app.user(), app.system.url
    media = app.stored(user)
    token = issue(user)
    bearer, cookie = {"Authorization": f"Bearer {token}"}, {"Cookie": f"chipmunk_session={token}"}
    assert httpx.get(f"{url}{media['url']}5/", headers=bearer).status_code == 200
    assert httpx.get(f"{url}{media['url']}5/", headers=cookie).status_code == 200
    assert httpx.put(f"{url}/v1/media", content=photo(seed=2), headers=bearer).status_code == 201
    assert (
        httpx.get(f"{url}{media['url']}5/", headers={"Authorization": f"Bearer {issue(app.user())}"}).status_code == 404
    )
    assert app.http.delete(f"/v1/users/{user}/sessions").status_code == 204
    until(lambda: httpx.get(f"{url}{media['url']}5/", headers=cookie).status_code == 401, 2, "the refusal")
    time.sleep(1)
    fresh = {"Authorization": f"Bearer {issue(user)}"}
    assert httpx.get(f"{url}{media['url']}5/", headers=fresh).status_code == 200
    app.http.put(f"/v1/users/{user}", json={"suspended": True})
    until(lambda: httpx.get(f"{url}{media['url']}5/", headers=fresh).status_code == 401, 2, "the suspension")


def test_a_token_of_nobody_s_or_from_the_past_is_refused(app: App, issue: Issue) -> None:
    media = app.stored(app.user())
    for token in (issue("somebody-unknown"), issue(media["owner"], seconds=-1)):
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{app.system.url}{media['url']}5/", headers=headers).status_code == 401
