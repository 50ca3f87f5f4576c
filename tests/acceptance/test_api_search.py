"""What people say of media, and finding media by it, through everything that stands before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.client import App, fresh, photo, problem
from tests.harness import System


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def found(client: httpx.Client, **query: Any) -> list[str]:
    answer = client.get("/v1/search", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"items", "next"}
    return [one["id"] for one in body["items"]]


def test_a_media_is_described_and_found_by_those_who_see_it(app: App) -> None:
    owner, member, other, word = app.user(), app.user(), app.user(), fresh("zebra").replace("-", "")
    flow = fresh("flow")
    assert app.http.put(f"/v1/flows/{flow}", json={}).status_code == 201
    assert app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "editor"}).status_code == 201
    media = app.stored(owner, photo(seed=1), flow=flow, filename=f"{word}.jpg")
    assert (media["title"], media["notes"], media["tags"], media["music"]) == (f"{word}.jpg", None, [], {})
    hers, theirs, others = app.viewer(owner), app.viewer(member), app.viewer(other)
    said = {"title": " Cafe\u0301 ", "notes": f"secret{word}\nof two lines", "tags": ["Été 2019", "ete 2019", "🎉"]}
    answer = hers.patch(f"/v1/media/{media['id']}", json=said)
    assert answer.status_code == 200, answer.text
    kept = {"title": "Café", "notes": said["notes"], "tags": ["Été 2019", "🎉"]}
    assert hers.get(f"/v1/media/{media['id']}").json() == {**media, **kept}
    assert answer.json().items() <= {**media, **kept}.items()
    shared = theirs.get(f"/v1/media/{media['id']}").json()
    assert (shared["title"], shared["tags"], "notes" in shared) == ("Café", kept["tags"], False)
    for client in (app.http, hers, theirs):
        for query in (
            {"q": word},
            {"q": f"{word} CAFE"},
            {"q": word, "tag": ["été 2019", "🎉"]},
            {"q": word, "kind": "image"},
        ):
            assert found(client, **query) == [media["id"]]
        assert found(client, q=word, type="image/jpeg", flow=flow, user=owner, larger=1, after="2020-01-01") == [
            media["id"]
        ]
        assert found(client, q=word, tag="none") == found(client, q=word, smaller=1) == []
    assert found(hers, q=f"secret{word}") == found(app.http, q=f"secret{word}") == [media["id"]]
    assert found(theirs, q=f"secret{word}") == found(theirs, q=f"{word} secret{word}") == []
    assert found(others, q=word) == found(others, flow=flow) == found(others, user=owner) == []
    image = app.http.get("/v1/images/get", params={"img_id": media["id"]}).json()["image_export_map"]
    assert (image["title_str"], image["tags_lst"]) == ("Café", kept["tags"])
    for client, status, code in (
        (theirs, 403, "forbidden"),
        (others, 404, "not_found"),
        (app.anonymous(), 401, "unauthorized"),
    ):
        problem(client.patch(f"/v1/media/{media['id']}", json={"title": "x"}), status, code)
    problem(app.anonymous().get("/v1/search"), 401, "unauthorized")
    problem(app.viewer(owner, scopes=["view"]).patch(f"/v1/media/{media['id']}", json={}), 403, "scope_missing")
    problem(app.viewer(owner, scopes=["upload"]).get("/v1/search"), 403, "scope_missing")
    assert hers.patch(f"/v1/media/{media['id']}", json={"title": None, "tags": []}).json()["title"] == f"{word}.jpg"
    assert found(theirs, tag="🎉", q=word) == []
    assert hers.delete(f"/v1/media/{media['id']}").status_code == 204
    assert found(hers, q=word) == found(app.http, q=word) == []


def test_pages_of_a_search_go_on_to_the_end(app: App) -> None:
    owner, word = app.user(), fresh("okapi").replace("-", "")
    made = [app.stored(owner, photo(seed=n), filename=f"{word} {n}.jpg")["id"] for n in range(5)][::-1]
    client, seen, cursor = app.viewer(owner), [], None
    while True:
        page = client.get("/v1/search", params={"q": word, "limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made


def test_what_an_upload_says_of_itself_is_found(app: App) -> None:
    owner, word = app.user(), fresh("tapir").replace("-", "")
    client = app.viewer(owner)
    data = photo(seed=3)
    info = client.get("/v1/images/upload_init", params={"imgf": "jpeg", "imgn": "a.jpg", "size": len(data)}).json()
    info = info["upload_info_map"]
    assert httpx.request(info["method"], info["presigned_url_str"], headers=info["headers"], content=data).is_success
    body = {"meta_map": {"camera": {"maker": [word, 35]}}}
    answer = client.post("/v1/images/upload_complete", params={"imgid": info["upload_gf_image_id_str"]}, json=body)
    assert answer.status_code == 200, answer.text
    app.ready_soon(info["upload_gf_image_id_str"])
    assert found(client, q=word) == found(client, q=f"camera {word} 35") == [info["upload_gf_image_id_str"]]
    assert client.get(f"/v1/media/{info['upload_gf_image_id_str']}").json()["meta"] == body["meta_map"]


@pytest.mark.parametrize(
    "q",
    ["\0", "'", "\\", "'); drop table media; --", "& | ! <-> :*", "((((", '"', "-", "%_", "…", "a:b:c*", "\U0010ffff*"],
)
def test_a_hostile_search_is_a_search(app: App, q: str) -> None:
    client = app.viewer(app.user())
    assert found(client, q=q) == []
    assert found(client, q=f"{q} {q} -{q}", tag="'\\ x") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=" + "a" * 10_000, 422), ("q=" + "a+" * 250, 200),
        ("q=" + "+or+".join("abcdefghij"), 200), ("q=" + "+or+".join("abcdefghijk"), 422),
        ("&".join(["q=" + "+or+".join(f"{c}x+{c}y*+{c}z" for c in "abcdefghij"), *(f"tag={n}" for n in range(50))]), 200),
        ("q=" + "+".join(f"{n}*" for n in range(120)), 200), ("q=%ff", 400), ("q=a&q=b", 400), ("kind=x", 400), ("type=x", 400),
        ("type=image/%00", 400), ("after=x", 400), ("after=2026-13-01", 400), ("after=0001-01-01", 200),
        ("before=9999-12-31T23:59:59-23:59", 400), ("before=9999-12-31", 200), ("after=2026-01-01T00:00:00%2B02:00", 200),
        ("larger=-1", 400), ("larger=1e3", 400), ("larger=" + "9" * 40, 400), ("smaller=" + "9" * 18, 200), ("colour=red", 400),
        ("colour=%23336699", 200), ("tag=" + "a" * 65, 422), ("&".join("tag=a" for _ in range(51)), 422), ("tag=%00", 400),
        ("tag=+++", 200), ("limit=0", 400), ("limit=201", 400), ("cursor=x", 400), ("flow=none", 200), ("user=none", 200),
        ("flow=%00", 400), ("user=..", 400),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_is_told_so(app: App, query: str, status: int) -> None:
    answer = app.viewer(app.user()).get(f"/v1/search?{query}")
    assert answer.status_code == status, answer.text
    if query in ("flow=none", "user=none"):
        problem(app.http.get(f"/v1/search?{query}"), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"title": "x" * 201}, {"notes": "x" * 5001}, {"tags": ["x" * 65]}, {"tags": ["x"] * 51}, {"tags": [" "]}, {"tags": "x"},
        {"tags": None}, {"title": "a\0b"}, {"title": "a\nb"}, {"notes": "a\x1bb"}, {"tags": ["a\tb"]}, {"title": 1},
        {"name": "x"},
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_is_told_so(app: App, body: dict[str, Any]) -> None:
    owner = app.user()
    media = app.upload(owner, photo()).json()["id"]
    problem(app.http.patch(f"/v1/media/{media}", json=body), 422, "unprocessable")
    raw = app.http.patch(
        f"/v1/media/{media}", content=b'{"title": "\\ud800"}', headers={"content-type": "application/json"}
    )
    problem(raw, 422, "unprocessable")
    problem(app.http.patch(f"/v1/media/{'0' * 32}", json={}), 404, "not_found")
