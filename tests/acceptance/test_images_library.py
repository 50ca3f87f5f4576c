"""The documented calls of GloFlow's images library that read, by their documented names, for everybody they are for."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from PIL import Image

from tests import pictures
from tests.client import App, fresh, photo, problem
from tests.compressor.site import Site, served, told
from tests.harness import System, scratch, until

THERE = "127.0.0.79"


@pytest.fixture(scope="module")
def there() -> Iterator[Site]:
    with served(THERE) as made:
        for n in range(6):
            made.pages[f"/{n}.jpg"] = told(photo(900, 700, n))
        yield made


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder, System(folder / "data", fetch_allow=THERE) as system, App(system) as app:
        yield app
        assert system.stop() == 0, system.output


def flow(app: App, **fields: Any) -> str:
    name = fresh("flow")
    assert app.http.put(f"/v1/flows/{name}", json=fields).status_code == 201
    return name


def added(app: App, user: str, url: str, *flows: str) -> str:
    body = {"image_extern_url_str": url, "image_origin_page_url_str": "https://a.example/page", "user": user}
    answer = app.http.post("/v1/images/flows/add_img", json={**body, "flows_names_lst": list(flows)})
    assert answer.status_code == 200, answer.text
    media = answer.json()["image_id_str"]
    app.ready_soon(media)
    return str(media)


def held(client: httpx.Client) -> dict[str, int]:
    answer = client.get("/v1/images/flows/all")
    assert answer.status_code == 200, answer.text
    return {one["flow_name_str"]: one["flow_imgs_count_int"] for one in answer.json()["all_flows_lst"]}


def test_flows_and_their_counts(app: App) -> None:
    user, other = app.user(), app.user()
    mine, secret, public = flow(app), flow(app), flow(app, visibility="public")
    assert app.http.put(f"/v1/flows/{mine}/members/{user}", json={"role": "viewer"}).status_code == 201
    for n, name in enumerate([mine, mine, secret, public]):
        app.stored(other, photo(200, 150, n), flow=name)
    app.stored(user, photo(200, 150, 9))
    found = held(app.http)
    assert {name: found[name] for name in (mine, secret, public)} == {mine: 2, secret: 1, public: 1}
    assert held(app.viewer(user)) == {mine: 2, public: 1, "general": 1}
    assert app.anonymous().get("/v1/images/flows/all").status_code == 401


def test_a_page_of_a_flow(app: App) -> None:
    user, stranger, name = app.user(), app.user(), flow(app)
    app.http.put(f"/v1/flows/{name}/members/{user}", json={"role": "viewer"})
    owner = app.user()
    made = [app.stored(owner, photo(640, 480, n), flow=name, filename=f"{n}.jpg") for n in range(5)]
    for client in (app.http, app.viewer(user)):
        first = client.get("/v1/images/flows/browser_page", params={"fname": name, "pg_index": 0, "pg_size": 3}).json()
        last = client.get("/v1/images/flows/browser_page", params={"fname": name, "pg_index": 1, "pg_size": 3}).json()
        beyond = client.get("/v1/images/flows/browser_page", params={"fname": name, "pg_index": 2, "pg_size": 3}).json()
        images = first["pages_lst"][0] + last["pages_lst"][0]
        assert [one["title_str"] for one in images] == [f"{n}.jpg" for n in (4, 3, 2, 1, 0)]
        assert first["pages_user_names_lst"] == [[owner] * 3]
        assert beyond == {"pages_lst": [[]], "pages_user_names_lst": [[]]}
        assert client.get(images[0]["thumbnail_small_url_str"]).headers["content-type"] == "image/webp"
    assert images[0]["id_str"] == made[4]["id"]
    assert (images[0]["format_str"], images[0]["width_int"], images[0]["height_int"]) == ("jpeg", 640, 480)
    for params, status, code in (
        ({"fname": name, "pg_size": 201}, 422, "unprocessable"),
        ({"fname": name, "pg_index": 9999}, 422, "unprocessable"),
        ({"fname": name, "pg_index": "-1"}, 400, "bad_request"),
        ({"fname": fresh("none")}, 404, "not_found"),
    ):  # fmt: skip
        problem(app.http.get("/v1/images/flows/browser_page", params=params), status, code)
    problem(app.viewer(stranger).get("/v1/images/flows/browser_page", params={"fname": name}), 404, "not_found")


def test_which_images_were_fetched_already(app: App, there: Site) -> None:
    user, other, name = app.user(), app.user(), flow(app)
    media = added(app, user, there.url("/1.jpg"), "general", name)
    added(app, other, there.url("/1.jpg"))
    asked = {"images_extern_urls_lst": [there.url("/1.jpg"), there.url("/2.jpg")], "client_type_str": "gchrome_ext"}

    def exist(client: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
        answer = client.post("/v1/images/flows/imgs_exist", json={**asked, **fields})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["existing_images_lst"])

    [found] = exist(app.http, flow_name_str=name)
    assert (found["id_str"], found["origin_url_str"]) == (media, there.url("/1.jpg"))
    assert (found["origin_page_url_str"], found["flows_names_lst"]) == (
        "https://a.example/page",
        sorted(["general", name]),
    )
    assert len(exist(app.http)) == 2
    assert [one["id_str"] for one in exist(app.viewer(user))] == [media]
    assert exist(app.viewer(other), flow_name_str=name) == []
    assert exist(app.viewer(other), flow_name_str=fresh("none")) == []
    problem(
        app.http.post("/v1/images/flows/imgs_exist", json={**asked, "flow_name_str": fresh("none")}), 404, "not_found"
    )


def stranger_sees(app: App, url: str) -> list[int]:
    return [app.viewer(app.user()).get(url).status_code, app.anonymous().get(url).status_code]


def test_an_animation_and_ten_frames_of_it(app: App, there: Site) -> None:
    user, member, name = app.user(), app.user(), flow(app)
    app.http.put(f"/v1/flows/{name}/members/{member}", json={"role": "viewer"})
    there.pages["/a.gif"] = told(pictures.animation("GIF", frames=24))
    identifier = added(app, user, there.url("/a.gif"), name)
    viewer, path = app.viewer(user), "/images/gif/get_info"
    found = viewer.get(path, params={"gfimg_id": identifier}).json()["gif_map"]
    assert viewer.get(path, params={"orig_url": there.url("/a.gif")}).json()["gif_map"] == found
    assert (found["id_str"], found["gf_image_id_str"], found["origin_url_str"]) == (
        identifier,
        identifier,
        there.url("/a.gif"),
    )
    assert (found["frames_count"], found["duration"], found["loop"]) == (24, 1.44, 0)
    assert (found["width_int"], found["height_int"], found["preview_frames_num_int"]) == (200, 100, 10)
    frames = found["preview_frames_urls_lst"]
    assert len(set(frames)) == 10
    for number, url in enumerate(frames):
        answer = viewer.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        assert answer.headers["cache-control"] == "private, max-age=0, must-revalidate"
        shown = Image.open(io.BytesIO(answer.content)).convert("RGB").getpixel((190, 90))
        assert shown[1] == pytest.approx((255 - 20 * (24 * number // 10)) % 256, abs=9)
        assert viewer.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    whole = viewer.get(found["video_url_str"])
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/webm")
    part = viewer.get(found["video_url_str"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert stranger_sees(app, found["video_url_str"]) == [404, 401]
    seen = app.viewer(member).get(path, params={"gfimg_id": identifier}).json()["gif_map"]
    assert (seen["preview_frames_urls_lst"], seen["origin_url_str"]) == (frames, None)
    stranger = app.viewer(app.user())
    assert stranger_sees(app, frames[0]) == [404, 401]
    assert app.viewer(member).post(frames[0]).status_code == 405
    problem(stranger.get(path, params={"gfimg_id": identifier}), 404, "not_found")
    problem(app.viewer(member).get(path, params={"orig_url": there.url("/a.gif")}), 404, "not_found")
    problem(viewer.get(path), 400, "bad_request")
    still = app.stored(user, photo())
    problem(viewer.get(path, params={"gfimg_id": still["id"]}), 422, "unprocessable")
    assert viewer.get(f"{still['url']}11/").status_code == 404
    assert app.http.delete(f"/v1/media/{identifier}").status_code == 204
    until(lambda: viewer.get(frames[9]).status_code == 404, 2, "a refusal")


def test_an_image_and_what_its_uploader_said_of_it(app: App) -> None:
    user, member, name = app.user(), app.user(), flow(app)
    app.http.put(f"/v1/flows/{name}/members/{member}", json={"role": "viewer"})
    query = {"imgf": "jpeg", "imgn": "sea.jpg", "f": name, "ct": "browser", "user": user}
    info = app.http.get("/v1/images/upload_init", params=query).json()["upload_info_map"]
    url = info["presigned_url_str"]
    sent = httpx.request(
        info["method"], url if "://" in url else app.system.url + url, content=photo(), headers=info["headers"]
    )
    assert sent.status_code == 200
    media = info["upload_gf_image_id_str"]
    done = app.http.post(
        "/v1/images/upload_complete", params={"imgid": media, "f": name}, json={"meta_map": {"camera": "x"}}
    )
    assert done.status_code == 200
    app.ready_soon(media)
    found = app.viewer(user).get("/v1/images/get", params={"img_id": media}).json()
    assert found["image_exists_bool"] is True
    image = found["image_export_map"]
    assert (image["title_str"], image["user_name_str"], image["meta_map"]) == ("sea.jpg", user, {"camera": "x"})
    seen = app.viewer(member).get("/v1/images/get", params={"img_id": media}).json()["image_export_map"]
    assert (seen["id_str"], seen["meta_map"], seen["origin_url_str"]) == (media, None, None)
    told = app.http.get(f"/v1/media/{media}").json()
    assert re.fullmatch("#[0-9a-f]{6}", told["dominant_colour"])
    for one in (image, seen):
        assert (one["dominant_color_hex_str"], one["palette_lst"]) == (told["dominant_colour"], told["palette"])
    none = {"image_exists_bool": False, "image_export_map": None}
    for client, identifier in ((app.viewer(app.user()), media), (app.http, "0" * 32), (app.http, "x")):
        assert client.get("/v1/images/get", params={"img_id": identifier}).json() == none
    told = {"upload_client_duration_sec_f": 1.5, "upload_client_transfer_duration_sec_f": 1, "more": "x"}
    answer = app.viewer(user).post("/v1/images/upload_metrics", params={"imgid": media, "ct": "browser"}, json=told)
    assert (answer.status_code, answer.json()) == (200, {})
    for client in (app.viewer(member), app.viewer(app.user())):
        refused = client.post("/v1/images/upload_metrics", params={"imgid": media}, json=told)
        assert refused.status_code in (403, 404)
    operator = {"Authorization": f"Bearer {app.system.operator_key}"}
    exposed = httpx.get(f"{app.system.url}/metrics", headers=operator).text
    assert 'chipmunk_client_upload_seconds_count{stage="transfer"} 1.0' in exposed


def test_a_name_leads_to_the_newest_image_of_it(app: App) -> None:
    user, member = app.user(), app.user()
    public, private = flow(app, visibility="public"), flow(app)
    app.http.put(f"/v1/flows/{private}/members/{member}", json={"role": "viewer"})
    app.stored(user, photo(400, 300, 1), flow=public, filename="sea shore.jpg")
    newest = app.stored(user, photo(400, 300, 2), flow=public, filename="sea shore.jpg")
    hidden = app.stored(user, photo(400, 300, 3), flow=private, filename="secret.jpg")
    anyone = app.anonymous()
    led = anyone.get("/images/d/sea%20shore.jpg", params={"fname": public})
    assert (led.status_code, led.headers["location"]) == (302, f"{newest['url']}6/")
    assert anyone.get(led.headers["location"]).headers["content-type"] == "image/webp"
    original = anyone.get("/images/d/sea%20shore.jpg", params={"fname": public, "q": 0})
    assert anyone.get(original.headers["location"]).content == photo(400, 300, 2)
    for client, params, status in (
        (anyone, {"fname": private}, 404),
        (anyone, {"fname": fresh("none")}, 404),
        (anyone, {}, 404),
        (app.viewer(app.user()), {"fname": private}, 404),
        (app.viewer(member), {"fname": private}, 302),
        (app.http, {"fname": private}, 302),
        (app.http, {"fname": private, "q": 7}, 400),
    ):  # fmt: skip
        assert client.get("/images/d/secret.jpg", params=params).status_code == status, params
    for name in ("%00", "%ED%A0%80", "%2e%2e", "a" * 3000):
        assert anyone.get(f"/images/d/{name}", params={"fname": public}).status_code in (400, 404)
    odd = app.http.post("/images/d/bulk", json={"names": ["\0", "x"], "fname": public})
    assert odd.status_code in (200, 400, 422)
    wrong = httpx.get(
        f"{app.system.url}/images/d/secret.jpg", params={"fname": public}, headers={"Authorization": "Bearer cms_wrong"}
    )
    assert wrong.status_code == 401
    names = {"names": ["secret.jpg", "none.jpg"], "fname": private}
    assert app.viewer(member).post("/images/d/bulk", json=names).json() == {
        "images": [{"name": "secret.jpg", "url": hidden["url"]}, {"name": "none.jpg", "url": None}]
    }
    assert app.viewer(app.user()).post("/images/d/bulk", json=names).json()["images"][0]["url"] is None
    assert anyone.post("/images/d/bulk", json=names).status_code == 401


@pytest.mark.parametrize("path", ["/v1/images/healthz", "/v1/images/v1/healthz"])
def test_health_by_its_documented_names(app: App, path: str) -> None:
    assert app.anonymous().get(path).json()["status"] == "ok"


def test_a_public_flow_has_a_page_and_feeds_and_a_private_one_has_none(app: App) -> None:
    user, suspended = app.user(), app.user()
    name, private = flow(app, visibility="public", description="<b>Sea & shore</b>"), flow(app)
    made = [app.stored(user, photo(400, 300, n), flow=name, filename=f'{n} "<script>&.jpg') for n in range(5)]
    hidden = app.stored(suspended, photo(400, 300, 7), flow=name, filename="hidden.jpg")
    assert app.http.put(f"/v1/users/{suspended}", json={"suspended": True}).status_code == 200
    anyone = app.anonymous()
    for what in ("page", "feed.json", "feed.atom"):
        for closed in (private, fresh("none"), "general"):
            assert anyone.get(f"/v1/flows/{closed}/{what}").status_code == 404
        assert anyone.get(f"/v1/flows/%00/{what}").status_code == 400
    page = anyone.get(f"/v1/flows/{name}/page", params={"limit": 3})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;b&gt;Sea &amp; shore&lt;/b&gt;" in page.text
    assert "<script" not in page.text
    assert [page.text.find(one["url"]) > 0 for one in made] == [False, False, True, True, True]
    assert hidden["url"] not in page.text
    assert user not in page.text
    older = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert older is not None
    rest = anyone.get(older[1])
    assert made[0]["url"] in rest.text
    feed = anyone.get(f"/v1/flows/{name}/feed.json").json()
    assert feed["title"] == "<b>Sea & shore</b>"
    assert [item["id"] for item in feed["items"]] == [one["id"] for one in reversed(made)]
    assert anyone.get(feed["items"][0]["image"]).headers["content-type"] == "image/webp"
    atom = anyone.get(f"/v1/flows/{name}/feed.atom", params={"limit": 2})
    root = ElementTree.fromstring(atom.content)
    space = {"a": "http://www.w3.org/2005/Atom"}
    assert [entry.findtext("a:title", "", space) for entry in root.findall("a:entry", space)] == [
        '4 "<script>&.jpg', '3 "<script>&.jpg',
    ]  # fmt: skip
    [more] = [link.get("href") for link in root.findall("a:link", space) if link.get("rel") == "next"]
    assert more is not None
    assert len(ElementTree.fromstring(anyone.get(more).content).findall("a:entry", space)) == 3
    assert app.http.put(f"/v1/flows/{name}", json={"visibility": "private"}).status_code == 200
    assert anyone.get(f"/v1/flows/{name}/page").status_code == 404
