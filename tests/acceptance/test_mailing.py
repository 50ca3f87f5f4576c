"""Sharing by mail through the whole system: nginx, the API, a worker and a real mail server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import App, problem
from tests.harness import System, scratch, until
from tests.servers.mail import Mailbox, mailbox, text_of

ANN = "ann@example.com"


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def app(box: Mailbox) -> Iterator[App]:
    settings = {
        "smtp_url": f"smtp://127.0.0.1:{box.port}",
        "mail_from": "media@chipmunk.example",
        "mail_per_recipient": 3,
    }
    with scratch() as folder, System(folder / "data", **settings) as system, App(system) as app:
        yield app
        assert system.stop() == 0, system.output


def fields(media: str, address: str = ANN) -> dict[str, str]:
    return {"image_id": media, "email_address": address, "email_subject": "Look", "email_body": "There it is."}


def test_a_mail_opens_its_picture_until_it_is_revoked_and_its_reader_can_have_no_more(app: App, box: Mailbox) -> None:
    user, stranger, anyone = app.user(), app.user(), app.anonymous()
    media = app.stored(user)["id"]
    problem(app.viewer(stranger).post("/v1/images/share", json=fields(media)), 404, "not_found")
    problem(anyone.post("/v1/images/share", json=fields(media)), 401, "unauthorized")
    problem(app.http.post("/v1/images/share", json=fields(media, f"{ANN}\nBcc: x@example.com")), 422, "unprocessable")
    owner = app.viewer(user)
    assert owner.post("/v1/images/share", json=fields(media)).json() == {}
    until(lambda: len(box.mails) == 1, 20, "the mail")
    text = text_of(box.mails[0])
    [shared] = re.findall(rf"{app.system.url}/share/([\w.-]+)", text)
    view = anyone.get(f"/{shared}/6/")
    assert (view.status_code, view.headers["content-type"]) == (200, "image/webp")
    assert anyone.get(f"/{shared}/0/").status_code in (401, 404)
    [link] = owner.get(f"/v1/media/{media}/links").json()["items"]
    assert owner.delete(f"/v1/links/{link['id']}").status_code == 204
    until(lambda: anyone.get(f"/{shared}/6/").status_code == 401, 2, "a link that opens nothing")

    [leave] = re.findall(rf"{app.system.url}(/unsubscribe/[\w.-]+)", text)
    page = anyone.get(leave)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    problem(anyone.post(leave[:-3] + "AAA"), 404, "not_found")
    assert anyone.post(leave, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert owner.post("/v1/images/share", json=fields(media)).json() == {}
    assert owner.post("/v1/images/share", json=fields(media, "bob@example.com")).json() == {}
    until(lambda: bool(box.to("bob@example.com")), 20, "the other mail")
    assert owner.post("/v1/images/share", json=fields(media)).json() == {}
    refused = owner.post("/v1/images/share", json=fields(media))
    problem(refused, 429, "too_many_mails")
    assert 86_000 < int(refused.headers["retry-after"]) <= 86_400

    def counted() -> dict[str, float]:
        metrics = app._client({"Authorization": f"Bearer {app.system.operator_key}"}).get("/metrics").text
        return {
            k: float(n) for k, n in re.findall(r'^chipmunk_mails_total{outcome="(\w+)"} (\S+)$', metrics, re.MULTILINE)
        }

    until(lambda: counted() == {"sent": 2, "unwanted": 2, "refused": 1}, 20, "all mails counted")
    assert len(box.to(ANN)) == 1


def test_no_log_and_no_row_holds_an_address_or_what_unsubscribes_it(app: App, box: Mailbox) -> None:
    user = app.user()
    assert app.http.post("/v1/images/share", json=fields(app.stored(user)["id"], "carl@example.com")).status_code == 200
    until(lambda: bool(box.to("carl@example.com")), 20, "the mail")
    leave = re.findall(r"/unsubscribe/([\w.-]+)", box.to("carl@example.com")[0]["List-Unsubscribe"])[0]
    assert app.anonymous().get(f"/unsubscribe/{leave}").status_code == 200

    def logged() -> bool:
        lines = [json.loads(line) for line in app.system.log("access").splitlines()]
        return any(line["path"] == "/unsubscribe/..." and line["status"] == 200 for line in lines)

    until(logged, 10, "the line")
    found = "".join(path.read_text(errors="replace") for path in Path(app.system.data_dir / "log").iterdir())
    assert "carl@" not in found
    assert ANN not in found
    assert leave not in found
