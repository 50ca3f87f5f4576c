"""The how-to page's own page sends files from a real browser to a real bucket and to the local volume, across origins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.browsing import Site, chromium, serving
from tests.client import App, fresh, photo
from tests.docs.howto import own_page
from tests.harness import System, scratch, until
from tests.servers.ceph import Rgw

NAME = "direct-uploads.md"
SEND = """async ([chipmunk, bytes, given]) => {
    const { send } = await import("/send.js");
    const file = new File([Uint8Array.from(bytes), new Uint8Array(given.more ?? 0)], "a.jpg", { type: "image/jpeg" });
    const sent = [], old = window.fetch;
    window.fetch = (url, options) => { sent.push([options?.method ?? "GET", String(url)]); return old(url, options); };
    try {
        return [await send(chipmunk, file, given), sent];
    } catch (problem) {
        return [problem.detail ?? String(problem), sent];
    } finally {
        window.fetch = old;
    }
}"""


@dataclass
class Place:
    app: App
    rgw: Rgw
    site: Site
    there: str = ""
    closed: str = ""

    def well(self) -> bool:
        """Whether the bucket passed its last check: while it has not, pages are sent to the local volume."""
        headers = {"Authorization": f"Bearer {self.app.system.operator_key}"}
        answer = httpx.get(f"{self.app.system.url}/v1/backends/{self.there}", headers=headers, timeout=30)
        return bool(answer.json()["status"] == "ok")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(own_page(NAME, "send.js")) as site:
        yield site


@pytest.fixture(scope="module")
def place(site: Site, rgw: Rgw) -> Iterator[Place]:
    """A flow lies `there`, in a bucket that lets the page in; another in a `closed` one, which does not."""
    with scratch() as folder, System(folder / "data", origins=site.url) as system, App(system) as app:
        site.chipmunk = system.url
        place = Place(app, rgw, site, fresh("there"), fresh("closed"))
        operator = {"Authorization": f"Bearer {system.operator_key}"}
        for flow, cors in ((place.there, True), (place.closed, False)):
            fields = {"url": f"s3+{rgw.url}/{rgw.make_bucket()}", "cors": cors, **rgw.user.secret}
            answer = httpx.put(f"{system.url}/v1/backends/{flow}", json=fields, headers=operator, timeout=30)
            assert answer.status_code == 201, answer.text
            placed = {"backends": [{"backend": flow, "role": "primary"}], "posting": "users"}
            assert app.http.put(f"/v1/flows/{flow}", json=placed).status_code == 201
        yield place


@pytest.fixture
def page(place: Place) -> Iterator[Any]:
    """The app's page, in a browser that nobody has logged in."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(place.site.url)
        yield page


@pytest.mark.parametrize("method", ["put", "post", "parts"])
@pytest.mark.parametrize("where", ["general", "there"])
def test_a_page_sends_a_file_to_where_it_will_lie(place: Place, page: Any, method: str, where: str) -> None:
    flow = place.there if where == "there" else "general"
    if where == "there":
        until(place.well, 60, "a bucket that is not too busy to pass its check")
    user, data = place.app.user(), photo(seed=3)
    more = 17 * 1024 * 1024 if method == "parts" else 0
    way = {"parts": True, "more": more} if method == "parts" else {"method": method, "parts": False}
    token = place.app.session(user, scopes=["upload", "view"])["token"]
    given = {"token": token, "flow": flow, "meta": {"from": "a page"}, **way}
    media, sent = page.evaluate(SEND, [place.site.chipmunk, list(data), given])
    kept = [how for how, url in sent if (place.rgw.url if where == "there" else "/v1/images/direct/") in url]
    ways = {"put": ["PUT"], "post": ["POST"], "parts": ["PUT", "PUT"]}
    assert kept == ways[method if where == "there" else "put"], media
    found = place.app.ready(media)
    assert (found["owner"], found["flows"], found["filename"]) == (user, [flow], "a.jpg")
    assert (found["bytes"], found["meta"]) == (len(data) + more, {"from": "a page"})


def test_a_page_with_the_cookie_shows_what_became_of_it(place: Place, page: Any) -> None:
    user = place.app.user()

    def said(data: bytes) -> str:
        page.evaluate("said.textContent = ''")
        page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": data})
        page.wait_for_function("said.textContent")
        return str(page.text_content("#said"))

    assert said(photo()) == "A valid credential is needed."
    page.goto(f"{place.app.session(user)['enter_url']}?next={place.site.url}/")
    words = said(photo())
    assert words.startswith("Stored as ")
    assert place.app.ready(words.removeprefix("Stored as ").rstrip("."))["owner"] == user
    assert "format" in said(b"no picture")


def test_a_bucket_lets_in_no_page_unless_it_is_told_to(place: Place, page: Any) -> None:
    token = place.app.session(place.app.user(), scopes=["upload", "view"])["token"]
    given = {"token": token, "flow": place.closed}
    detail, sent = page.evaluate(SEND, [place.site.chipmunk, list(photo()), given])
    assert detail == "TypeError: Failed to fetch"
    assert len(sent) == 2
