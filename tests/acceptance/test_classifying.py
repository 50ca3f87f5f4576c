"""Having images classified, through everything that stands before it: who may, what is answered, and what is found by it."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests import models
from tests.client import App, fresh, problem
from tests.docs.howto import blocks
from tests.harness import System, scratch, until
from tests.models import COLOURS
from tests.pictures import BLUE, GREEN, RED


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with scratch() as folder:
        given = {"classifier": models.colours(folder), "unsafe_classifier": models.red_is_unsafe(folder)}
        with System(folder / "data", **given) as system:
            with App(system) as app:
                yield app
            assert system.stop() == 0, system.output


def picture(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 300), colour).save(out, "PNG")
    return out.getvalue()


def asked(client: httpx.Client, *media: str) -> httpx.Response:
    return client.post("/v1/images/classify", json={"client_type_str": "test", "images_ids_lst": list(media)})


def found(client: httpx.Client, **query: str) -> list[str]:
    return [one["id"] for one in client.get("/v1/search", params=query).json()["items"]]


def test_images_are_classified_while_the_call_waits_and_found_by_it_ever_after(app: App) -> None:
    owner, member, other, flow = app.user(), app.user(), app.user(), fresh("flow")
    assert app.http.put(f"/v1/flows/{flow}", json={}).status_code == 201
    assert app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "viewer"}).status_code == 201
    media = [app.upload(owner, picture(c), flow=flow).json()["id"] for c in (RED, GREEN, BLUE)]  # not ready yet
    hers = app.viewer(owner)
    answer = asked(hers, *media, media[0])
    assert answer.status_code == 200, answer.text
    assert sorted(answer.json()["classes_lst"]) == sorted(COLOURS)
    assert [one["image_id_str"] for one in answer.json()["images"]] == media
    assert [one["classes"][0]["class_str"] for one in answer.json()["images"]] == list(COLOURS)
    assert asked(app.http, *media).json() == answer.json()
    jobs = {m: app.http.get("/v1/audit", params={"media": m}).json()["items"] for m in media}
    assert [[row["action"] for row in rows].count("job.started") for rows in jobs.values()] == [1, 1, 1]
    for client in (app.http, hers, app.viewer(member)):
        assert found(client, tag="green things", flow=flow) == media[1:2]
        assert found(client, q="things -red", flow=flow) == media[:0:-1]
    theirs = app.viewer(member).get(f"/v1/media/{media[0]}").json()
    assert (theirs["classes"][0]["class"], theirs["tags"], "unsafe" in theirs) == (COLOURS[0], [], False)
    assert app.http.get(f"/v1/media/{media[0]}").json()["unsafe"] > 0.9
    image = app.http.get("/v1/images/get", params={"img_id": media[1]}).json()["image_export_map"]
    assert image["tags_lst"][0] == COLOURS[1]
    problem(asked(app.viewer(member), *media), 403, "forbidden")
    problem(asked(app.viewer(other), media[0]), 404, "not_found")
    problem(asked(app.http, media[0], "0" * 32), 404, "not_found")
    problem(asked(app.http), 422, "unprocessable")


def flow_of(app: App, unsafe: str, **fields: object) -> str:
    flow = fresh("flow")
    answer = app.http.put(f"/v1/flows/{flow}", json={"unsafe": unsafe, **fields})
    assert (answer.status_code, answer.json()["unsafe"]) == (201, unsafe)
    return flow


def review(app: App, media: str, *wanted: object) -> str | None:
    """What came of it, once it is one of these."""
    until(lambda: app.http.get(f"/v1/media/{media}").json()["review"] in wanted, 20, f"the review of {media}")
    return str(app.http.get(f"/v1/media/{media}").json()["review"])


def seen(client: httpx.Client, media: str, url: str, flow: str) -> list[bool]:
    """Whether it is seen in each of the ways there are to somebody who is logged in."""
    pages = [client.get("/v1/media").json(), client.get("/v1/media", params={"flow": flow}).json()]
    pages += [client.get("/v1/search", params={"flow": flow}).json(), client.get(f"/v1/flows/{flow}/media").json()]
    return [
        client.get(f"{url}4/").status_code == 200,
        client.get(f"/v1/media/{media}").status_code == 200,
        client.get(f"/images/d/{media}.png", params={"fname": flow}).status_code == 302,
        client.get("/v1/images/get", params={"img_id": media}).json()["image_exists_bool"],
        *(media in [one["id"] for one in page.get("items", ())] for page in pages),
    ]


def test_what_is_held_only_the_app_and_its_owner_see_until_the_app_approves_it(app: App) -> None:
    owner, member = app.user(), app.user()
    flow = flow_of(app, "hold", visibility="public")
    for user in (owner, member):
        assert app.http.put(f"/v1/flows/{flow}/members/{user}", json={"role": "viewer"}).status_code == 201
    media = app.stored(owner, picture(RED), flow=flow, filename="a.png")["id"]
    assert review(app, media, "held") == "held"
    until(lambda: app.http.get(f"/v1/media/{media}").json()["unsafe"] is not None, 20, "the score")
    url = app.http.get(f"/v1/media/{media}").json()["url"]
    links = [
        app.http.post(f"/v1/media/{media}/links", json=body).json()
        for body in ({"audience": "anyone"}, {"audience": f"user:{member}"}, {"audience": "anyone", "max_views": 9})
    ]
    hers, theirs, nobody = app.viewer(owner), app.viewer(member), app.anonymous()
    for client in (app.http, hers):
        assert client.get(f"{url}4/").status_code == client.get(f"{url}0/").status_code == 200
        assert client.get(f"/v1/media/{media}").json()["review"] == "held"
        assert found(client, flow=flow, review="held") == [media]
    shown = [not hit for hit in seen(theirs, media, url, flow)]
    assert all(shown), shown
    assert nobody.get(f"{url}4/").status_code == 401
    assert [theirs.get(f"{link['url']}4/").status_code for link in links[:2]] == [404, 404]
    assert [nobody.get(f"{link['url']}4/").status_code for link in links] == [401, 401, 401]
    assert nobody.get(links[0]["page"]).status_code == 404
    assert nobody.post(f"/v1/links{links[2]['url']}open", json={}).status_code == 404
    assert nobody.get(f"/v1/flows/{flow}/feed.json").json()["items"] == []
    problem(hers.post(f"/v1/media/{media}/approve"), 403, "forbidden")
    problem(theirs.post(f"/v1/media/{media}/approve"), 403, "forbidden")
    answer = app.http.post(f"/v1/media/{media}/approve")
    assert (answer.status_code, answer.json()["review"]) == (200, "approved")
    until(lambda: nobody.get(f"{url}4/").status_code == 200, 2, "the approval")
    until(lambda: nobody.get(f"{links[0]['url']}4/").status_code == 200, 2, "the approval")
    until(lambda: theirs.get(f"{links[1]['url']}4/").status_code == 200, 2, "the approval")
    assert nobody.get(f"/v1/flows/{flow}/feed.json").json()["items"] != []
    hits = seen(theirs, media, url, flow)
    assert hits[:2] + hits[3:] == [True] * 7
    assert asked(app.http, media).json()["classes_lst"][0] == COLOURS[0]
    job = {"job_type_str": "classify_images", "imgs_urls_str": [media]}
    running = app.http.post("/images/jobs/start", json=job).json()["running_job_id_str"]
    until(lambda: app.http.get(f"/v1/jobs/{running}").json()["state"] == "completed", 20, "the second look")
    assert app.http.get(f"/v1/media/{media}").json()["review"] == "approved"


def test_what_is_safe_is_shown_once_that_is_known_and_what_comes_in_later_is_held_too(app: App) -> None:
    owner, member, flow = app.user(), app.user(), flow_of(app, "hold")
    assert app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "viewer"}).status_code == 201
    theirs = app.viewer(member)
    answer = app.upload(owner, picture(BLUE), flow=flow).json()
    assert answer["review"] == "held"
    until(lambda: theirs.get(f"{answer['url']}4/").status_code == 200, 20, "the blue one")
    assert app.http.get(f"/v1/media/{answer['id']}").json()["review"] is None
    for known in (False, True):
        red = app.stored(owner, picture(RED))
        assert red["review"] is None
        if known:
            assert asked(app.http, red["id"]).status_code == 200
        assert app.http.put(f"/v1/flows/{flow}/media/{red['id']}").status_code == 204
        assert theirs.get(f"{red['url']}4/").status_code == 404
        until(lambda red=red: app.http.get(f"/v1/media/{red['id']}").json()["unsafe"] is not None, 20, "the score")  # type: ignore[misc]
        assert app.http.get(f"/v1/media/{red['id']}").json()["review"] == "held"
    assert found(theirs, flow=flow) == [answer["id"]]


def test_what_is_flagged_is_seen_and_says_so(app: App) -> None:
    owner, member, flow = app.user(), app.user(), flow_of(app, "flag")
    assert app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "viewer"}).status_code == 201
    red, blue = (app.stored(owner, picture(colour), flow=flow) for colour in (RED, BLUE))
    assert review(app, red["id"], "flagged") == "flagged"
    until(lambda: app.http.get(f"/v1/media/{blue['id']}").json()["unsafe"] is not None, 20, "the blue one")
    theirs = app.viewer(member)
    assert theirs.get(f"{red['url']}4/").status_code == 200
    told = {m["id"]: m["review"] for m in theirs.get("/v1/media").json()["items"]}
    assert told == {red["id"]: "flagged", blue["id"]: None}
    assert found(theirs, review="flagged") == [red["id"]]
    problem(theirs.get("/v1/search", params={"review": "none"}), 422, "unprocessable")


def test_the_commands_of_the_how_to_page_classify_find_hold_and_approve(app: App, tmp_path: Path) -> None:
    assert app.http.put("/v1/users/alice", json={}).status_code == 201
    (tmp_path / "photo.jpg").write_bytes(picture(RED))
    given = {**os.environ, "URL": app.system.url, "KEY": app.system.api_key}

    def run(block: str) -> list[Any]:
        known = (
            f"MEDIA={json.loads((tmp_path / 'media.json').read_text())['id']}\n"
            if (tmp_path / "media.json").exists()
            else ""
        )
        script = f"set -euo pipefail\n{known}" + block.replace("curl ", "curl -sf -w '\\n' ")
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path, env=given, stdout=subprocess.PIPE, text=True, check=True, timeout=60,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines() if line]

    ask, find, many, hold, approve = blocks("classify.md", "sh")[1:]
    media, classes = run(ask)
    assert classes["images"][0]["classes"][0]["class_str"] == COLOURS[0]
    assert media["id"] in [one["id"] for one in run(find)[0]["items"]]
    assert run(many)[0]["job_expected_outputs_lst"][0]["image_id_str"] == media["id"]
    flow, held = run(hold)
    assert (flow["unsafe"], held["review"]) == ("hold", "held")
    waiting, shown = run(approve)
    assert held["id"] in [one["id"] for one in waiting["items"]]
    assert shown["review"] == "approved"


def test_without_a_model_it_is_501_and_all_else_works(system: System) -> None:
    with App(system) as app:
        media = app.stored(app.user())
        assert (media["classes"], media["review"]) == (None, None)
        problem(asked(app.http, media["id"]), 501, "not_installed")
        body = {"job_type_str": "classify_images", "imgs_urls_str": [media["id"]], "user": media["owner"]}
        problem(app.http.post("/images/jobs/start", json=body), 501, "not_installed")
        problem(app.http.put(f"/v1/flows/{fresh('flow')}", json={"unsafe": "hold"}), 501, "not_installed")
        assert app.http.put(f"/v1/flows/{fresh('flow')}", json={"unsafe": "allow"}).status_code == 201


def counted(client: httpx.Client, flow: str) -> int:
    flows = client.get("/v1/images/flows/all").json()["all_flows_lst"]
    return int(next(one["flow_imgs_count_int"] for one in flows if one["flow_name_str"] == flow))


def test_a_flow_that_says_something_else_says_it_of_what_is_in_it_too(app: App) -> None:
    owner, member, flow = app.user(), app.user(), flow_of(app, "allow")
    assert app.http.put(f"/v1/flows/{flow}/members/{member}", json={"role": "viewer"}).status_code == 201
    theirs, media = app.viewer(member), [app.stored(owner, picture(c), flow=flow) for c in (RED, RED, BLUE, RED)]
    known, unknown, safe, approved = (m["id"] for m in media)
    assert asked(app.http, known).status_code == 200
    assert app.http.post(f"/v1/media/{approved}/approve").status_code == 200
    assert sorted(found(theirs, flow=flow)) == sorted([known, unknown, safe, approved])
    assert counted(theirs, flow) == 4

    def says(unsafe: str) -> None:
        assert app.http.put(f"/v1/flows/{flow}", json={"unsafe": unsafe}).json()["unsafe"] == unsafe

    def reviews() -> list[str | None]:
        return [app.http.get(f"/v1/media/{m['id']}").json()["review"] for m in media]

    says("hold")
    wanted = ["held", "held", None, "approved"]
    until(lambda: app.http.get(f"/v1/media/{safe}").json()["unsafe"] is not None, 20, "a look at the blue one")
    until(lambda: app.http.get(f"/v1/media/{unknown}").json()["unsafe"] is not None, 20, "a look at the red one")
    until(lambda: reviews() == wanted, 20, "what a flow that holds says")
    assert sorted(found(theirs, flow=flow)) == sorted([safe, approved])
    assert counted(theirs, flow) == counted(app.http, flow) == 2
    says("flag")
    until(lambda: reviews() == ["flagged", "flagged", None, "approved"], 20, "what a flow that flags says")
    until(lambda: theirs.get(f"{media[0]['url']}4/").status_code == 200, 2, "a view of what is flagged")
    says("hold")
    until(lambda: reviews() == wanted, 20, "what a flow that holds says")
    says("allow")
    until(lambda: reviews() == [None, None, None, "approved"], 20, "what a flow that allows says")
    assert theirs.get(f"{media[1]['url']}4/").status_code == 200
    assert counted(theirs, flow) == 4
    says("hold")
    until(lambda: reviews() == wanted, 20, "what a flow that holds says")
    assert app.http.delete(f"/v1/flows/{flow}/media/{known}").status_code == 204
    assert app.http.delete(f"/v1/media/{unknown}").status_code == 204
    assert app.http.delete(f"/v1/media/{safe}").status_code == 204
    assert counted(theirs, flow) == 1
