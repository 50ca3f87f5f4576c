"""Links that have to be opened, and the pages of links: through nginx, as strangers come to them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.client import App, photo, problem
from tests.harness import System, until
from tests.pictures import mp3

PASSWORD = "Grüße-9c41"
DATA = photo(900, 700, 21)


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


@pytest.fixture(scope="module")
def owner(app: App) -> str:
    return app.user()


@pytest.fixture(scope="module")
def media(app: App, owner: str) -> dict[str, Any]:
    return app.stored(owner, DATA, filename="Fjord <1>.jpg")


def made(app: App, media: dict[str, Any], **fields: object) -> dict[str, Any]:
    answer = app.http.post(f"/v1/media/{media['id']}/links", json={"audience": "anyone", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def listed(app: App, media: dict[str, Any], link: dict[str, Any]) -> dict[str, Any]:
    found = app.http.get(f"/v1/media/{media['id']}/links?limit=200").json()["items"]
    return next(dict(one) for one in found if one["id"] == link["id"])


def opening(link: dict[str, Any]) -> str:
    return f"/v1/links/{link['url'].strip('/')}/open"


def opened(app: App, link: dict[str, Any], **fields: object) -> httpx.Client:
    """Somebody who has opened it."""
    stranger = app.anonymous()
    answer = stranger.post(opening(link), json=fields)
    assert answer.status_code == 200, answer.text
    return stranger


def test_a_link_with_a_password_shows_its_media_to_those_alone_who_opened_it(app: App, media: dict[str, Any]) -> None:
    link = made(app, media, password=PASSWORD)
    assert (link["audience"], link["password"], link["max_views"], link["views"]) == ("anyone", True, None, 0)
    assert link["page"] == f"/share{link['url'].rstrip('/')}"
    stranger, view = app.anonymous(), f"{link['url']}5/"
    problem(stranger.get(view), 401, "unauthorized")
    problem(stranger.post(opening(link), json={"password": "Gruesse-9c41"}), 403, "wrong_password")
    problem(stranger.post(opening(link), json={}), 403, "wrong_password")
    problem(stranger.get(view), 401, "unauthorized")
    answer = stranger.post(opening(link), json={"password": PASSWORD})
    assert set(answer.json()) == {"url", "expires_at"}
    assert answer.json()["url"] == link["url"]
    cookies = answer.headers.get_list("set-cookie")
    assert [re.search(r"Path=([^;]+)", c)[1] for c in cookies] == [link["url"], link["page"]]  # type: ignore[index]
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
    assert stranger.get(view).status_code == 200
    assert stranger.get(f"{link['url']}0/").status_code == 404, "the original was not shared"
    assert app.anonymous().get(view).status_code == 401


def test_one_opening_is_one_view_whatever_ranges_follow(app: App, media: dict[str, Any]) -> None:
    link = made(app, media, max_views=2, original=True)
    stranger = opened(app, link)
    whole = stranger.get(f"{link['url']}0/").content
    assert whole == DATA
    parts = [stranger.get(f"{link['url']}0/", headers={"Range": f"bytes={n}-{n + 999}"}) for n in range(0, 5000, 1000)]
    assert {p.status_code for p in parts} == {206}
    assert b"".join(p.content for p in parts) == DATA[:5000]
    assert [stranger.get(f"{link['url']}{q}/").status_code for q in range(7)] == [200] * 7
    assert stranger.head(f"{link['url']}1/").status_code == 200
    assert stranger.get(link["page"]).status_code == 200
    assert listed(app, media, link)["views"] == 1
    other = opened(app, link)
    assert listed(app, media, link)["views"] == 2
    problem(app.anonymous().post(opening(link)), 404, "not_found")
    assert app.anonymous().get(link["page"]).status_code == 404
    assert [who.get(f"{link['url']}1/").status_code for who in (stranger, other, app.anonymous())] == [200, 200, 401]
    assert [who.get(link["page"]).status_code for who in (stranger, other)] == [200, 200]


def test_of_many_who_open_the_last_view_exactly_one_wins(app: App, media: dict[str, Any]) -> None:
    for fields in dict[str, object](), {"password": PASSWORD}:
        link = made(app, media, max_views=1, **fields)
        who = app.anonymous()
        with ThreadPoolExecutor(5) as at_once:
            answers = [at_once.submit(who.post, opening(link), json=fields) for _ in range(5)]
            found = [answer.result() for answer in answers]
        assert sorted(a.status_code for a in found) == [200, *[404] * 4]
        assert listed(app, media, link)["views"] == 1


def test_the_cookie_of_one_link_opens_no_other(app: App, media: dict[str, Any]) -> None:
    one, other = made(app, media, max_views=5), made(app, media, max_views=5)
    proof = opened(app, one).cookies.get("chipmunk_opening", path=one["url"])
    assert proof
    for link, status in ((one, 200), (other, 401)):
        answer = app.anonymous().get(f"{link['url']}1/", headers={"Cookie": f"chipmunk_opening={proof}"})
        assert answer.status_code == status
    for bad in (proof[:-1], proof.swapcase(), "x", "." * 60, "a" * 3000, "\xff\xfe", f"{proof}.x"):
        cookie = b"chipmunk_opening=" + bad.encode("latin-1")
        assert app.anonymous().get(f"{one['url']}1/", headers={b"Cookie": cookie}).status_code == 401, bad
        assert app.anonymous().get(one["page"], headers={b"Cookie": cookie}).text.count("<form") == 1, bad


def test_the_cookie_shows_what_the_link_shows_whatever_credential_comes_along(
    app: App, owner: str, media: dict[str, Any]
) -> None:
    link = made(app, media, password=PASSWORD)
    view, proof = (
        f"{link['url']}1/",
        opened(app, link, password=PASSWORD).cookies.get("chipmunk_opening", path=link["url"]),
    )
    stranger, expected = app.viewer(app.user()), {"": 401, "Bearer nonsense": 401, stranger_of(app): 404}
    for credential, without in expected.items():
        given = {"Authorization": credential} if credential else {}
        assert httpx.get(app.system.url + view, headers=given).status_code == without, credential
        given["Cookie"] = f"chipmunk_opening={proof}"
        assert httpx.get(app.system.url + view, headers=given).status_code == 200, credential
    assert stranger.get(view).status_code == 404
    assert app.viewer(owner).get(view).status_code == 200, "the media is its owner's anyway"
    assert app.http.get(view).status_code == 200, "the app's key sees all media of its app"


def stranger_of(app: App) -> str:
    return f"Bearer {app.session(app.user())['token']}"


def test_nginx_never_gives_an_opened_link_to_somebody_without_the_cookie(app: App, media: dict[str, Any]) -> None:
    link = made(app, media, max_views=3)
    stranger, nobody, view = opened(app, link), app.anonymous(), f"{link['url']}3/"
    started = time.monotonic()
    while time.monotonic() - started < 3:
        assert stranger.get(view).status_code == 200
        assert stranger.get(view).status_code == 200
        assert nobody.get(view).status_code == 401

    def logged() -> list[str]:
        return [line for line in app.system.log("access").splitlines() if f"/{link['url'][1:7]}.../3/" in line]

    until(lambda: len(logged()) >= 30, 5, "the log")
    assert not [line for line in logged() if '"cache":"HIT"' in line]


def test_a_revoked_link_is_closed_within_two_seconds_to_those_too_who_opened_it(
    app: App, media: dict[str, Any]
) -> None:
    acts = [
        lambda link: app.http.delete(f"/v1/links/{link['id']}"),
        lambda link: app.http.delete(f"/v1/media/{media['id']}/links"),
    ]
    for act in acts:
        link = made(app, media, password=PASSWORD, max_views=9)
        stranger, view = opened(app, link, password=PASSWORD), f"{link['url']}2/"
        for _ in range(20):
            assert stranger.get(view).status_code == 200
        assert act(link).status_code == 204
        time.sleep(2)
        assert stranger.get(view).status_code == 401
        assert stranger.get(link["page"]).status_code == 404
        problem(stranger.post(opening(link), json={"password": PASSWORD}), 404, "not_found")


def test_a_suspended_owner_s_links_are_open_to_nobody(app: App) -> None:
    owner = app.user()
    media = app.stored(owner, DATA)
    link = made(app, media, max_views=9)
    stranger = opened(app, link)
    assert app.http.put(f"/v1/users/{owner}", json={"suspended": True}).status_code == 200
    until(lambda: stranger.get(f"{link['url']}1/").status_code == 401, 2, "the suspension")
    assert stranger.get(link["page"]).status_code == 404
    problem(stranger.post(opening(link)), 404, "not_found")


def test_what_cannot_be_opened_looks_the_same_whatever_the_reason(app: App, owner: str, media: dict[str, Any]) -> None:
    used, short, gone = (
        made(app, media, max_views=1),
        made(app, media, max_views=1, ttl_seconds=1),
        made(app, media, password=PASSWORD),
    )
    opened(app, used)
    app.http.delete(f"/v1/links/{gone['id']}")
    time.sleep(1.1)
    private = app.http.post(f"/v1/media/{media['id']}/links", json={"audience": "owner"}).json()
    links = {"used up": used, "expired": short, "revoked": gone, "for its owner": private, "standing": media}
    urls = {name: link["url"].strip("/") for name, link in links.items()}
    urls |= {"forged": f"{'A' * 22}.{'B' * 43}", "a handle": private["id"], "garbage": "x" * 66, "longer": "x" * 900}
    answers = {
        name: app.anonymous().post(f"/v1/links/{signed}/open", json={"password": PASSWORD})
        for name, signed in urls.items()
    }
    assert {(a.status_code, a.content) for a in answers.values()} == {(404, answers["forged"].content)}
    pages = {name: app.anonymous().get(f"/share/{signed}") for name, signed in urls.items()}
    assert {(p.status_code, p.content) for p in pages.values()} == {(404, pages["forged"].content)}
    forms = {
        name: app.anonymous().post(f"/v1/links/{signed}/open", data={"password": "x"}) for name, signed in urls.items()
    }
    assert {(f.status_code, f.content) for f in forms.values()} == {(404, pages["forged"].content)}
    for signed in urls.values():
        for who in (app.viewer(owner), app.http):
            assert who.get(f"/share/{signed}").content == pages["forged"].content, "whoever asks"


def test_a_page_shows_what_was_shared_and_nothing_else(app: App, owner: str, media: dict[str, Any]) -> None:
    plain, whole = made(app, media), made(app, media, original=True)
    for link in (plain, whole):
        answer = app.anonymous().get(link["page"])
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert "script" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none';")
        for secret in (owner, media["id"], link["id"], media["url"], "general", "<script", "http"):
            assert secret not in answer.text, secret
        for address in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
            assert address.startswith(link["url"])
            assert app.anonymous().get(address).status_code == 200
    assert "Fjord" not in app.anonymous().get(plain["page"]).text
    assert "Fjord &lt;1&gt;.jpg" in app.anonymous().get(whole["page"]).text
    assert app.anonymous().head(plain["page"]).status_code == 200
    assert app.anonymous().post(plain["page"]).status_code == 405


def test_a_file_that_is_no_picture_has_a_page_with_a_download_where_it_is_shared(app: App, owner: str) -> None:
    media = app.stored(owner, mp3(), filename="a.mp3")
    assert "<audio" in app.anonymous().get(made(app, media, original=True)["page"]).text
    assert "<audio" not in app.anonymous().get(made(app, media)["page"]).text


def test_a_page_s_form_opens_the_link_and_comes_back_to_the_page(app: App, media: dict[str, Any]) -> None:
    link, person = made(app, media, password=PASSWORD, max_views=7), app.anonymous()
    page = person.get(link["page"])
    assert page.status_code == 200
    assert page.text.count(link["url"].strip("/")) == 1, "where the form goes, and nothing to see"
    assert "7" not in re.sub(r"<style>.*?</style>|max-width|maxlength=\S+|action=\S+", "", page.text)
    assert re.search(r'action="([^"]+)"', page.text)[1] == opening(link)  # type: ignore[index]
    wrong = person.post(opening(link), data={"password": "nonsense"})
    assert (wrong.status_code, "not the password" in wrong.text, "nonsense" in wrong.text) == (403, True, False)
    assert wrong.text.count("<form") == 1
    answer = person.post(opening(link), data={"password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, link["page"])
    shown = person.get(link["page"])
    assert f'src="{link["url"]}5/"' in shown.text
    assert "<form" not in shown.text
    assert listed(app, media, link)["views"] == 1


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
]  # fmt: skip


def test_another_site_s_page_opens_nothing(app: App, media: dict[str, Any]) -> None:
    link = made(app, media, max_views=9)
    for headers in FOREIGN:
        for body in ({"data": {"x": ""}}, {"json": {}}, {}):
            problem(app.anonymous().post(opening(link), headers=headers, **body), 403, "cross_site")  # type: ignore[arg-type]
    assert listed(app, media, link)["views"] == 0
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Origin": app.system.url},
        {"Origin": "https://app.example"},
    ):
        assert app.anonymous().post(opening(link), headers=headers, json={}).status_code == 200


BAD: dict[str, object] = {
    "too short": {"password": "abc"}, "too long": {"password": "a" * 201}, "empty": {"password": ""},
    "half a letter": {"password": "abcd\ud800"}, "a number": {"password": 12345}, "no view": {"max_views": 0},
    "less": {"max_views": -1}, "half a view": {"max_views": 1.5}, "too many": {"max_views": 10**6 + 1},
    "more than numbers": {"max_views": 10**30}, "a yes": {"max_views": True},
    "the owner's": {"audience": "owner", "password": PASSWORD}, "the owner's views": {"audience": "owner", "max_views": 1},
    "a user's": {"audience": "user:x", "max_views": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_password_or_number_that_cannot_be_is_refused(app: App, media: dict[str, Any], name: str) -> None:
    body = {"audience": "anyone", **BAD[name]}  # type: ignore[dict-item]
    answer = app.http.post(
        f"/v1/media/{media['id']}/links", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    problem(answer, 422, "unprocessable")
    assert PASSWORD not in answer.text
