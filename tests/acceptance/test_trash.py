"""The trash: who may put what there and have it back, and that nothing of it is seen meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.callers import ABSENT, FORBIDDEN, NO_ID, OK, Cast, Row, answers, bare, expected, outcome, pages, row
from tests.client import App, fresh, photo, problem
from tests.harness import System, scratch, until


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


def trashed(cast: Cast) -> str:
    media = cast.media()
    assert cast.app.http.post(f"/v1/media/{media}/trash").status_code == 200
    return media


def shared(cast: Cast) -> str:
    """A media of the owner's in a flow that the other one administers."""
    flow = fresh("flow")
    assert cast.app.http.put(f"/v1/flows/{flow}", json={}).status_code == 201
    assert cast.app.http.put(f"/v1/flows/{flow}/members/{cast.other}", json={"role": "admin"}).status_code == 201
    return cast.media(flow=flow)


def shared_and_trashed(cast: Cast) -> str:
    media = shared(cast)
    assert cast.app.http.post(f"/v1/media/{media}/trash").status_code == 200
    return media


CONFLICT = "409 conflict"
ROWS: dict[str, Row] = {
    "trash": row("POST", lambda c: f"/v1/media/{c.media()}/trash", OK, OK, "manage"),
    "trash again": row("POST", lambda c: f"/v1/media/{trashed(c)}/trash", OK, OK, "manage"),
    "trash what is shared": row("POST", lambda c: f"/v1/media/{shared(c)}/trash", OK, OK, "manage", FORBIDDEN),
    "trash what is shared again": row("POST", lambda c: f"/v1/media/{shared_and_trashed(c)}/trash", OK, OK, "manage"),
    "trash nothing": row("POST", lambda c: f"/v1/media/{NO_ID}/trash", ABSENT, ABSENT, "manage"),
    "trash no id": row("POST", lambda c: f"/v1/media/{NO_ID}x/trash", ABSENT, ABSENT, "manage"),
    "restore": row("POST", lambda c: f"/v1/media/{trashed(c)}/restore", OK, OK, "manage"),
    "restore what is there": row("POST", lambda c: f"/v1/media/{c.media()}/restore", OK, OK, "manage"),
    "restore what was shared": row("POST", lambda c: f"/v1/media/{shared_and_trashed(c)}/restore", OK, OK, "manage"),
    "restore nothing": row("POST", lambda c: f"/v1/media/{NO_ID}/restore", ABSENT, ABSENT, "manage"),
    "look at": row("GET", lambda c: f"/v1/media/{shared_and_trashed(c)}", OK, OK, "view"),
    "see links of": row("GET", lambda c: f"/v1/media/{shared_and_trashed(c)}/links", OK, OK, "view"),
    "link to": row(
        "POST", lambda c: f"/v1/media/{trashed(c)}/links", CONFLICT, CONFLICT, "manage", body={"audience": "anyone"}
    ),
    "post": row("PUT", lambda c: f"/v1/flows/general/media/{trashed(c)}", CONFLICT, CONFLICT, "manage"),
    "take out": row("DELETE", lambda c: f"/v1/flows/general/media/{trashed(c)}", "204", "204", "manage"),
    "delete": row("DELETE", lambda c: f"/v1/media/{shared_and_trashed(c)}", "204", "204", "manage"),
    "list": row("GET", lambda c: "/v1/media?trashed=true&limit=1", OK, OK, "view", OK),
    "list by flow": row(
        "GET", lambda c: "/v1/media?trashed=true&flow=general", *["400 bad_request"] * 2, "view", "400 bad_request"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_caller_gets_what_is_theirs_and_no_more(cast: Cast, name: str) -> None:
    assert answers(cast, ROWS[name]) == expected(cast, ROWS[name])


def test_what_is_in_anothers_trash_looks_like_none(cast: Cast) -> None:
    media = shared_and_trashed(cast)
    for method, path in (
        ("GET", "/v1/media/{}"),
        ("POST", "/v1/media/{}/trash"),
        ("POST", "/v1/media/{}/restore"),
        ("DELETE", "/v1/media/{}"),
    ):
        there, absent = (cast.ask("other", method, path.format(i)) for i in (media, NO_ID))
        assert bare(there, media) == bare(absent, NO_ID), (method, path)


def test_the_trash_is_paged_newest_first_to_its_owner_and_the_app(app: App) -> None:
    ann, bob = app.user(), app.user()
    stored = [app.upload(ann, photo(40, 30, 7000 + n)).json()["id"] for n in range(5)]
    theirs = app.upload(bob, photo(40, 30, 7100)).json()["id"]
    for media in (*stored[1:], theirs):
        answer = app.http.post(f"/v1/media/{media}/trash").json()
        kept = datetime.fromisoformat(answer["purge_at"]) - datetime.fromisoformat(answer["trashed_at"])
        assert kept == timedelta(seconds=app.system.settings.trash_seconds)
    mine = app.viewer(ann)
    for http, query in ((mine, {}), (mine, {"user": ann}), (app.http, {"user": ann})):
        found = [m["id"] for page in pages(http, "/v1/media", 3, trashed="true", **query) for m in page]
        assert found == [*reversed(stored[1:])]
        left = [m["id"] for page in pages(http, "/v1/media", 3, **(query or {"user": ann})) for m in page]
        assert left == [stored[0]]
    assert mine.get("/v1/media", params={"trashed": "true", "user": bob}).json() == {"items": [], "next": None}
    assert theirs in [m["id"] for page in pages(app.http, "/v1/media", 200, trashed="true") for m in page]
    assert mine.get("/v1/media", params={"trashed": "false"}).json()["items"][0]["id"] == stored[0]
    problem(mine.get("/v1/media", params={"trashed": "yes"}), 400, "bad_request")
    problem(app.http.get("/v1/media", params={"trashed": "true", "user": fresh("no")}), 404, "not_found")


def seen(app: App, flow: str, media: dict[str, Any], viewer: Any) -> dict[str, bool]:
    """Where a public flow and its member show the media."""
    anyone = app.anonymous()
    count = {
        f["flow_name_str"]: f["flow_imgs_count_int"]
        for f in app.http.get("/v1/images/flows/all").json()["all_flows_lst"]
    }
    exists = app.http.get("/v1/images/get", params={"img_id": media["id"]}).json()["image_exists_bool"]
    browsed = app.http.get("/v1/images/flows/browser_page", params={"fname": flow}).json()["pages_lst"][0]
    bulk = {"fname": flow, "names": ["a.jpg"]}
    return {
        "counted": count[flow] == 1,
        "got": exists,
        "browsed": bool(browsed),
        "listed": bool(viewer.get(f"/v1/flows/{flow}/media").json()["items"]),
        "by name": anyone.get("/images/d/a.jpg", params={"fname": flow}).status_code == 302,
        "by names": app.http.post("/images/d/bulk", json=bulk).json()["images"][0]["url"] is not None,
        "on the page": media["url"] in anyone.get(f"/v1/flows/{flow}/page").text,
        "in the feed": bool(anyone.get(f"/v1/flows/{flow}/feed.json").json()["items"]),
    }


def test_no_link_opens_it_and_no_list_has_it_until_it_is_restored(app: App) -> None:
    owner, member, flow = app.user(), app.user(), fresh("public")
    app.http.put(f"/v1/flows/{flow}", json={"visibility": "public"})
    app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "viewer"})
    media = app.stored(owner, photo(seed=31), flow=flow)
    link = app.http.post(f"/v1/media/{media['id']}/links", json={"audience": "anyone"}).json()
    clients = [app.http, app.viewer(owner), app.viewer(member), app.anonymous()]
    urls = [media["url"], link["url"]]
    viewer = clients[2]

    def statuses() -> list[int]:
        return [client.get(f"{url}3/").status_code for client in clients for url in urls]

    before, standing = seen(app, flow, media, viewer), app.standing(owner)
    assert set(before.values()) == {True}
    assert statuses() == [200] * 8
    assert clients[1].post(f"/v1/media/{media['id']}/trash").status_code == 200
    until(lambda: statuses() == [404] * 6 + [401] * 2, 2, "nobody's view of it")
    assert set(seen(app, flow, media, viewer).values()) == {False}
    assert app.standing(owner) == standing
    assert clients[1].get(f"/v1/media/{media['id']}").json()["trashed_at"] is not None
    problem(viewer.get(f"/v1/media/{media['id']}"), 404, "not_found")
    assert clients[1].post(f"/v1/media/{media['id']}/restore").json()["trashed_at"] is None
    until(lambda: statuses() == [200] * 8, 2, "everybody's view of it again")
    assert seen(app, flow, media, viewer) == before
    assert app.standing(owner) == standing


def test_without_redis_it_is_refused_and_back_as_soon() -> None:
    with scratch() as folder:
        system = System(folder / "data")
        with App(system) as app:
            user = app.user()
            media = app.stored(user)
            viewer, url = app.viewer(user), f"{media['url']}3/"
            assert viewer.get(url).status_code == 200
            pid = system.pids()["valkey"]
            os.kill(pid, signal.SIGSTOP)
            try:
                until(lambda: app.anonymous().get("/healthz").json().get("status") == "degraded", 10, "its absence")
                assert viewer.get(url).status_code == 200
                assert outcome(app.http.post(f"/v1/media/{media['id']}/trash")) == OK
                until(lambda: viewer.get(url).status_code == 404, 2, "the refusal")
                assert outcome(app.http.post(f"/v1/media/{media['id']}/restore")) == OK
                until(lambda: viewer.get(url).status_code == 200, 2, "the view")
            finally:
                os.kill(pid, signal.SIGCONT)
        assert system.stop() == 0, system.output


def test_what_was_in_the_trash_for_its_time_is_purged() -> None:
    with scratch() as folder:
        system = System(folder / "data", trash_seconds=1)
        with App(system) as app:
            user = app.user()
            media = app.stored(user)["id"]
            app.http.post(f"/v1/media/{media}/trash")
            until(lambda: app.standing(user)["used_bytes"] == 0, 60, "the purge")
            assert app.standing(user)["media_count"] == 0
            problem(app.http.get(f"/v1/media/{media}"), 404, "not_found")
            told = app.http.get("/v1/audit", params={"media": media}).json()["items"]
            assert [entry["action"] for entry in told] == ["media.deleted", "media.trashed", "media.uploaded"]
            assert (told[0]["actor"]["kind"], told[0]["changes"]) == ("system", {"why": "trash"})
        assert system.stop() == 0, system.output
