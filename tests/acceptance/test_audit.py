"""The audit log: each call that changes something leaves its row, and each row is read by those whose concern it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.callers import ABSENT, OK, Cast, answers, expected, pages, row
from tests.client import App, fresh, photo, problem
from tests.harness import System

BAD, LOST = "400 bad_request", "400 bad_cursor"


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def cast(app: App) -> Cast:
    return Cast(app)


def told(http: Any, **query: object) -> list[dict[str, Any]]:
    """Oldest first."""
    return [entry for page in pages(http, "/v1/audit", 100, **query) for entry in page][::-1]


def named(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["action"] for entry in entries]


def test_every_kind_of_caller_reads_what_is_theirs_and_no_more(cast: Cast) -> None:
    media = cast.media()
    rows = {
        "all": row("GET", lambda c: "/v1/audit?limit=1", OK, OK, "manage", OK, operator=OK),
        "own": row("GET", lambda c: f"/v1/audit?user={c.owner}", OK, OK, "manage", operator=OK),
        "nobody": row("GET", lambda c: f"/v1/audit?user={fresh('no')}", ABSENT, ABSENT, "manage", operator=ABSENT),
        "a media": row("GET", lambda c: f"/v1/audit?media={media}", OK, OK, "manage", OK, operator=OK),
        "no media": row("GET", lambda c: "/v1/audit?media=x", BAD, BAD, "manage", BAD, operator=BAD),
        "no cursor": row("GET", lambda c: "/v1/audit?cursor=bm8", LOST, LOST, "manage", LOST, operator=LOST),
    }
    for name, asked in rows.items():
        assert answers(cast, asked) == expected(cast, asked), name
    assert named(cast.ask("other", "GET", f"/v1/audit?media={media}").json()["items"]) == []
    assert named(cast.ask("owner", "GET", f"/v1/audit?media={media}").json()["items"]) == ["media.uploaded"]


def test_the_story_of_a_user_and_their_media_is_told_in_order_by_whom_and_how(app: App) -> None:
    ann, bob, flow = app.user(), app.user(), fresh("flow")
    app.http.put(f"/v1/flows/{flow}", json={"posting": "users", "description": "of ann@example.com"})
    app.http.put(f"/v1/flows/{flow}/members/{bob}", json={"role": "editor"})
    made = app.session(ann)
    mine = app._client({"Authorization": f"Bearer {made['token']}"})
    theirs = app.viewer(bob)
    media = mine.put("/v1/media", params={"filename": "secret-name.jpg", "flow": flow}, content=photo(seed=61)).json()[
        "id"
    ]
    link = mine.post(f"/v1/media/{media}/links", json={"audience": f"user:{bob}", "ttl_seconds": 60}).json()
    for _ in range(2):
        assert mine.put(f"/v1/flows/general/media/{media}").status_code == 204
        assert mine.post(f"/v1/media/{media}/trash", headers={"X-Request-Id": "x" * 20}).status_code == 200
        assert mine.post(f"/v1/media/{media}/restore").status_code == 200
    assert theirs.delete(f"/v1/flows/{flow}/media/{media}").status_code == 204
    assert mine.delete(f"/v1/links/{link['id']}").status_code == 204
    assert mine.delete(f"/v1/media/{media}/links").status_code == 204
    assert theirs.delete(f"/v1/media/{media}").status_code == 404
    assert mine.delete(f"/v1/media/{media}").status_code == 204
    assert app.http.put(f"/v1/users/{ann}", json={"quota_bytes": 10**8}).status_code == 200
    for http in (mine, app.http):
        entries = told(http, media=media)
        assert named(entries) == [
            "media.uploaded", "link.made", "flow.media_added", "media.trashed", "media.restored", "media.trashed",
            "media.restored", "flow.media_removed", "link.revoked", "link.revoked", "media.deleted",
        ]  # fmt: skip
        assert {entry["user"] for entry in entries} == {ann}
        assert {entry["media"] for entry in entries} == {media}
        assert [e["link"] for e in entries if e["link"]] == [link["id"]] * 2
        assert all(entry["request"] for entry in entries)
        by = [entry["actor"] for entry in entries if entry["action"] != "flow.media_removed"]
        assert by == [{"kind": "user", "user": ann, "session": made["id"], "key": None}] * 10
    removed = entries[7]
    assert (removed["flow"], removed["actor"]["kind"], removed["actor"]["user"]) == (flow, "user", bob)
    assert told(mine, media=media)[7]["actor"] == {"kind": "user", "user": None, "session": None, "key": None}
    whole = told(mine)
    assert [*named(whole[:2]), named(whole)[-1]] == ["user.made", "session.made", "user.changed"]
    assert whole[1]["changes"]["session"] == made["id"]
    assert whole[-1]["changes"] == {"quota_bytes": 10**8}
    assert whole == told(mine, user=ann)
    bobs = told(theirs)
    assert named(bobs) == ["user.made", "member.set", "session.made", "flow.media_removed"]
    assert (bobs[1]["flow"], bobs[1]["changes"], bobs[3]["media"]) == (flow, {"role": "editor"}, media)
    assert named([e for e in told(app.http) if e["flow"] == flow])[:2] == ["flow.made", "member.set"]
    for kept_out in ("secret-name", made["token"], "ann@example.com", link["url"].strip("/")):
        assert kept_out not in app.http.get("/v1/audit", params={"limit": 200}).text


def test_of_a_deleted_user_the_rows_stay_and_the_name_goes(app: App) -> None:
    ann = app.user()
    media = app.stored(ann, photo(seed=62))["id"]
    assert app.http.delete(f"/v1/users/{ann}").status_code == 202
    entries = told(app.http, media=media)
    assert entries[0]["action"] == "media.uploaded"
    assert {entry["user"] for entry in entries} == {None}
    problem(app.http.get("/v1/audit", params={"user": ann}), 404, "not_found")
    app.http.put(f"/v1/users/{ann}", json={})
    assert named(told(app.http, user=ann)) == ["user.made"]
    assert ann not in app.http.get("/v1/audit", params={"media": media}).text


def test_what_is_refused_leaves_no_row(app: App) -> None:
    ann = app.user()
    mine, before = app.viewer(ann), named(told(app.http, user=ann))
    flow = fresh("flow")
    app.http.put(f"/v1/flows/{flow}", json={})
    for answer in (
        mine.put("/v1/media", params={"filename": "a"}, content=b"nothing that is known"),
        mine.put("/v1/media", params={"flow": flow}, content=photo(seed=63)),
        mine.post(f"/v1/media/{'0' * 32}/trash"),
        mine.delete(f"/v1/links/{'0' * 32}"),
        app.http.put(f"/v1/users/{ann}", json={"quota_bytes": -1}),
        app.http.put(f"/v1/flows/{flow}/members/{ann}", json={"role": "king"}),
        app.http.delete(f"/v1/flows/{flow}/members/{ann}"),
        app.http.delete("/v1/flows/general"),
    ):
        assert answer.status_code >= 400
    assert named(told(app.http, user=ann)) == before


def test_the_operators_own_is_the_operators_alone(app: App) -> None:
    name = fresh("backend")
    operator = app._client({"Authorization": f"Bearer {app.system.operator_key}"})
    fields = {"url": "s3+http://127.0.0.1:9/bucket", "access_key": "AK", "secret_key": "hush-hush", "unchecked": True}
    assert operator.put(f"/v1/backends/{name}", json=fields).status_code == 201
    assert operator.delete(f"/v1/backends/{name}").status_code == 204
    entries = [e for e in told(operator) if e["changes"].get("backend") == name]
    assert named(entries) == ["backend.made", "backend.deleted"]
    assert {entry["actor"]["kind"] for entry in entries} == {"operator"}
    assert "hush-hush" not in str(entries)
    assert [e for e in told(app.http) if e["changes"].get("backend") == name] == []
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert operator.request(method, "/v1/audit").status_code == 405
