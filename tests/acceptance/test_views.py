"""Viewing, as the contract has it: the order of checks, what nginx does with bytes, and how soon a revocation holds."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.client import App, fresh, photo, problem
from tests.harness import System, until

DATA = photo(900, 700, 5)


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def owner(app: App) -> str:
    return app.user()


@pytest.fixture(scope="module")
def media(app: App, owner: str) -> dict[str, Any]:
    return app.stored(owner, DATA)


def link(app: App, media: dict[str, Any], audience: str, **fields: object) -> dict[str, Any]:
    answer = app.http.post(f"/v1/media/{media['id']}/links", json={"audience": audience, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def same(a: httpx.Response, b: httpx.Response) -> bool:
    """Alike byte for byte, but for the date."""

    def bare(answer: httpx.Response) -> tuple[object, ...]:
        return answer.status_code, answer.content, [(k, v) for k, v in answer.headers.raw if k.lower() != b"date"]

    return bare(a) == bare(b)


def refused_ids(app: App, owner: str, media: dict[str, Any]) -> dict[str, str]:
    """Addresses that a stranger must not be able to tell from one another."""
    identifier = media["url"].strip("/")
    gone = app.stored(owner, photo(seed=77))
    app.http.delete(f"/v1/media/{gone['id']}")
    expired = link(app, media, "anyone", ttl_seconds=1)
    revoked = link(app, media, "anyone")
    app.http.delete(f"/v1/links/{revoked['id']}")
    time.sleep(2.5)
    return {
        "foreign": media["url"],
        "forged": f"/{'A' * 22}.{'B' * 43}/",
        "other signature": f"/{identifier[:-3]}AAA/",
        "other spelling": f"/{identifier[:-1]}{chr(ord(identifier[-1]) + 1)}/",
        "deleted": gone["url"],
        "expired": expired["url"],
        "revoked": revoked["url"],
        "garbage": "/" + "x" * 66 + "/",
        "no id": "/thumbnails/",
        "too long": "/" + "x" * 3000 + "/",
        "lines of its own": "/a%0d%0aX-Session:%20b/",
    }


def test_what_a_stranger_may_not_see_looks_the_same_whatever_the_reason(
    app: App, owner: str, media: dict[str, Any]
) -> None:
    urls = refused_ids(app, owner, media)
    stranger, nobody, bad = app.viewer(app.user()), app.anonymous(), app.anonymous()
    bad.headers["Authorization"] = "Bearer cms_" + "A" * 22 + "." + "B" * 43
    for client, status, code in (
        (stranger, 404, "not_found"),
        (nobody, 401, "unauthorized"),
        (bad, 401, "unauthorized"),
    ):
        answers = {name: client.get(f"{url}3/") for name, url in urls.items()}
        problem(answers["foreign"], status, code)
        for name, answer in answers.items():
            assert same(answer, answers["foreign"]), (name, answer.headers, answer.text)
        for quality in ("7", "9", "10", "03", "1" * 50):
            assert same(client.get(f"{media['url']}{quality}/"), answers["foreign"]), quality


def test_a_public_link_is_served_whatever_credential_comes_along(app: App, media: dict[str, Any]) -> None:
    public = link(app, media, "anyone")
    for header in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": "chipmunk_session=cms_bad"}):
        answer = app.anonymous().get(f"{public['url']}3/", headers=header)
        assert answer.status_code == 200, (header, answer.text)
    for quality in (0, 7, 9):
        assert app.anonymous().get(f"{public['url']}{quality}/").status_code == 404
    whole = link(app, media, "anyone", original=True)
    assert app.anonymous().get(f"{whole['url']}0/").content == DATA


def test_a_link_for_one_user_is_for_that_user(app: App, owner: str, media: dict[str, Any]) -> None:
    friend, other = app.user(), app.user()
    given = link(app, media, f"user:{friend}")
    assert app.viewer(friend).get(f"{given['url']}4/").status_code == 200
    assert app.viewer(other).get(f"{given['url']}4/").status_code == 404
    assert app.viewer(owner).get(f"{link(app, media, 'owner')['url']}4/").status_code == 200
    assert app.viewer(friend).get(f"{link(app, media, 'owner')['url']}4/").status_code == 404


def test_a_session_without_the_scope_sees_nothing_and_the_app_sees_all(
    app: App, owner: str, media: dict[str, Any]
) -> None:
    assert app.viewer(owner, scopes=["upload"]).get(f"{media['url']}3/").status_code == 404
    assert app.http.get(f"{media['url']}3/").status_code == 200
    operator = app.anonymous()
    operator.headers["Authorization"] = f"Bearer {app.system.operator_key}"
    assert operator.get(f"{media['url']}3/").status_code == 404


def test_authorization_beats_the_cookie_and_never_falls_back_to_it(app: App, owner: str, media: dict[str, Any]) -> None:
    good = app.session(owner)["token"]
    client = app.anonymous()
    assert client.get(f"{media['url']}3/", headers={"Cookie": f"chipmunk_session={good}"}).status_code == 200
    both = {"Cookie": f"chipmunk_session={good}", "Authorization": "Bearer cms_nonsense"}
    assert client.get(f"{media['url']}3/", headers=both).status_code == 401


def test_ranges_heads_and_conditions_are_nginxs_own(app: App, owner: str, media: dict[str, Any]) -> None:
    ada, url = app.viewer(owner), f"{media['url']}0/"
    whole = ada.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    part = ada.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, DATA[100:200])
    problem(ada.get(url, headers={"Range": "bytes=99999999-"}), 416, "bad_range")
    head = ada.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(DATA)))
    tag, stamp = whole.headers["etag"], whole.headers["last-modified"]
    assert ada.get(url, headers={"If-None-Match": tag}).status_code == 304
    assert ada.get(url, headers={"If-Modified-Since": stamp}).status_code == 304
    assert ada.get(url, headers={"If-Match": '"other"'}).status_code == 412
    rung = ada.get(f"{media['url']}5/")
    assert ada.get(f"{media['url']}5/", headers={"If-None-Match": rung.headers["etag"]}).status_code == 304
    refused = ada.post(url)
    assert refused.headers["allow"] == "GET, HEAD"
    problem(refused, 405, "method_not_allowed")


def test_the_headers_keep_browsers_from_running_or_keeping_anything(
    app: App, owner: str, media: dict[str, Any]
) -> None:
    for quality in (0, 3):
        headers = app.viewer(owner).get(f"{media['url']}{quality}/").headers
        assert headers["cache-control"] == "private, max-age=0, must-revalidate"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert "vary" not in headers
        assert "set-cookie" not in headers
    assert headers.get("content-disposition") is None
    named = app.stored(owner, photo(seed=6), filename='Grüße & "co".jpg')
    disposition = app.viewer(owner).get(f"{named['url']}0/").headers["content-disposition"]
    assert disposition == "inline; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%26%20%22co%22.jpg"


def test_a_rung_that_the_media_cannot_have_is_404(app: App, owner: str) -> None:
    from tests.pictures import wav

    song = app.stored(owner, wav(), filename="a.wav")
    ada = app.viewer(owner)
    assert (song["kind"], song["status"], len(song["rungs"])) == ("audio", "ready", 6)
    assert [ada.get(f"{song['url']}{q}/").status_code for q in (3, 7)] == [200, 404]
    original = ada.get(f"{song['url']}0/", headers={"Range": "bytes=0-9"})
    assert (original.status_code, original.headers["content-type"]) == (206, "audio/wav")


def test_the_inner_addresses_are_not_there_for_anyone(app: App) -> None:
    for path in (
        "/-/authorize",
        "/-/precheck",
        "/-/done",
        "/-/original/0.jpg",
        "/-/media/spooled",
        "/-/api",
        "/-/error/400",
        "/decide",
    ):
        assert app.http.get(path).status_code == 404, path


def test_views_are_never_logged_in_full(app: App, owner: str, media: dict[str, Any]) -> None:
    ada = app.viewer(owner)
    ada.get(f"{media['url']}3/")
    ada.get(f"{media['url']}3/", headers={"Range": "bytes=99999999-"})
    time.sleep(1.5)
    identifier = media["url"].strip("/")
    for log in (app.system.data_dir / "log").iterdir():
        text = log.read_text(errors="replace")
        assert identifier not in text, log.name
        assert ada.headers["Authorization"].removeprefix("Bearer ") not in text, log.name
    assert f'"/{identifier[:6]}.../3/"' in app.system.log("access")


class Hammer:
    """Looks at one address without a pause and notes when it was last allowed."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client, self._url, self._stopped = client, url, False
        self.last_seen, self.statuses = 0.0, set[int]()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Hammer:
        self._thread.start()
        until(lambda: self.last_seen > 0, 10, "a first view")
        time.sleep(0.6)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            began, status = time.monotonic(), self._client.get(self._url).status_code
            self.statuses.add(status)
            if status == 200:
                self.last_seen = began
            time.sleep(0.002)


Revoke = Callable[[App, str, str, dict[str, Any]], None]


def expect(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text


REVOCATIONS: dict[str, Revoke] = {
    "media": lambda app, owner, flow, media: expect(app.http.delete(f"/v1/media/{media['id']}"), 204),
    "trash": lambda app, owner, flow, media: expect(app.http.post(f"/v1/media/{media['id']}/trash"), 200),
    "links": lambda app, owner, flow, media: expect(app.http.delete(f"/v1/media/{media['id']}/links"), 204),
    "sessions": lambda app, owner, flow, media: expect(app.http.delete(f"/v1/users/{owner}/sessions"), 204),
    "suspension": lambda app, owner, flow, media: expect(
        app.http.put(f"/v1/users/{owner}", json={"suspended": True}), 200
    ),
    "user": lambda app, owner, flow, media: expect(app.http.delete(f"/v1/users/{owner}"), 202),
}
MEMBER_REVOCATIONS: dict[str, Revoke] = {
    "membership": lambda app, member, flow, media: expect(app.http.delete(f"/v1/flows/{flow}/members/{member}"), 204),
    "taken out": lambda app, member, flow, media: expect(app.http.delete(f"/v1/flows/{flow}/media/{media['id']}"), 204),
    "flow": lambda app, member, flow, media: expect(app.http.delete(f"/v1/flows/{flow}"), 204),
}


def holds_within_two_seconds(app: App, client: httpx.Client, url: str, revoke: Callable[[], None]) -> None:
    with Hammer(client, url) as hammer:
        revoke()
        answered = time.monotonic()
        time.sleep(2.6)
    assert hammer.last_seen - answered < 2.0, hammer.last_seen - answered
    assert client.get(url).status_code in (401, 404)


@pytest.mark.parametrize("what", REVOCATIONS)
def test_a_revocation_holds_within_two_seconds_on_a_hot_view(app: App, what: str) -> None:
    owner = app.user()
    media = app.stored(owner, photo(seed=3))
    act = REVOCATIONS[what]
    holds_within_two_seconds(app, app.viewer(owner), f"{media['url']}3/", lambda: act(app, owner, "", media))


@pytest.mark.parametrize("what", MEMBER_REVOCATIONS)
def test_a_member_sees_what_is_shared_until_it_is_not(app: App, what: str) -> None:
    owner, member, flow = app.user(), app.user(), fresh("family")
    expect(app.http.put(f"/v1/flows/{flow}", json={}), 201)
    media = app.stored(owner, photo(seed=4), flow=flow)
    viewer, url = app.viewer(member), f"{media['url']}3/"
    assert viewer.get(url).status_code == 404
    expect(app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "viewer"}), 201)
    until(lambda: viewer.get(url).status_code == 200, 2, "sight of what was shared")
    act = MEMBER_REVOCATIONS[what]
    holds_within_two_seconds(app, viewer, url, lambda: act(app, member, flow, media))


def test_a_flow_made_private_again_is_private_within_two_seconds(app: App, owner: str) -> None:
    flow = fresh("gallery")
    expect(app.http.put(f"/v1/flows/{flow}", json={"visibility": "public"}), 201)
    media = app.stored(owner, photo(seed=8), flow=flow)
    act = lambda: expect(app.http.put(f"/v1/flows/{flow}", json={"visibility": "private"}), 200)  # noqa: E731
    holds_within_two_seconds(app, app.anonymous(), f"{media['url']}3/", act)


def test_one_session_ends_and_the_other_goes_on(app: App, owner: str, media: dict[str, Any]) -> None:
    ending, other = app.session(owner), app.viewer(owner)
    client = app.anonymous()
    client.headers["Authorization"] = f"Bearer {ending['token']}"
    url = f"{media['url']}3/"
    holds_within_two_seconds(app, client, url, lambda: expect(app.http.delete(f"/v1/sessions/{ending['id']}"), 204))
    assert other.get(url).status_code == 200


def test_the_wire_shows_no_more_than_it_must(app: App, media: dict[str, Any]) -> None:
    raw = base64.urlsafe_b64decode(media["url"].strip("/").split(".")[0] + "==")
    assert len(raw) == 16
    assert raw.hex() not in json.dumps({k: v for k, v in media.items() if k != "url"})
