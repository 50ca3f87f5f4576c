"""Links that a plug-in has a say in: asked by the API of a compressor, on the running system."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.client import App, photo, problem
from tests.compressor.plugs import install_kindly
from tests.harness import System, scratch, until


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder, pytest.MonkeyPatch.context() as patch:
        install_kindly(patch, folder / "packages")
        patch.setenv("PYTHONPATH", str(folder / "packages"))
        options = {"kindly": {"within": "example.com", "dies_until": 0}}
        with System(folder / "data", plugins="kindly", plugin_options=json.dumps(options)) as system:
            with App(system) as app:
                yield app
            assert system.stop() == 0, system.output


def test_what_it_refuses_gets_no_link_and_what_it_allows_does(app: App) -> None:
    owner, other = app.user(), app.user()
    assert app.http.put("/v1/users/bob", json={}).status_code == 201
    media = app.stored(owner, photo(300, 200, 1))
    path = f"/v1/media/{media['id']}/links"
    for client in (app.http, app.viewer(owner)):
        problem(client.post(path, json={"audience": "anyone"}), 422, "refused_by_plugin")
        refused = client.post(path, json={"audience": f"user:{other}", "ttl_seconds": 60})
        problem(refused, 422, "refused_by_plugin")
        assert refused.json()["detail"] == f"No image for user:{other}."
        assert refused.json()["plugin"] == "kindly"
        assert client.post(path, json={"audience": "owner"}).status_code == 201
        assert client.post(path, json={"audience": "user:bob"}).status_code == 201
    assert [link["audience"] for link in app.http.get(path).json()["items"]] == ["user:bob", "owner"] * 2
    strangers = app.viewer(other).post(path, json={"audience": "anyone"})
    problem(strangers, 404, "not_found")
    assert "plugin" not in strangers.json()


def test_where_nobody_can_ask_it_no_link_is_made_for_now(app: App) -> None:
    media = app.stored(app.user(), photo(300, 200, 2))
    path, system = f"/v1/media/{media['id']}/links", app.system
    pid = system.kill("compressor", signal.SIGSTOP)
    try:
        assert app.http.post(path, json={"audience": "owner"}).status_code == 201
    finally:
        os.kill(pid, signal.SIGCONT)
    system.kill("compressor")
    problem(app.http.post(path, json={"audience": "anyone"}), 503, "plugin_unavailable")
    until(system.healthy, 30, "health")
    until(lambda: app.http.post(path, json={"audience": "anyone"}).status_code == 422, 20, "an answer")
    assert [link["audience"] for link in app.http.get(path).json()["items"]] == ["owner"]


def test_no_way_leads_to_the_question_from_outside(app: App) -> None:
    sharing = {"media": "0" * 32, "kind": "image", "mime": "image/png", "flows": [], "audience": "anyone"}
    for path in ("/-/before_share", "//-/before_share", "/v1/../-/before_share"):
        assert app.http.post(path, json=sharing).status_code in (404, 405), path
