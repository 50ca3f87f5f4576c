"""Somebody in every role towards the same things: a user's media in a private flow, and what else is theirs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import httpx

from chipmunk import recipients
from chipmunk.signing import random_identifier
from tests.client import App, fresh, photo
from tests.compressor.site import Site
from tests.harness import until

ROLES = (
    "none", "other app", "other user", "viewer", "editor", "flow admin", "owner", "read key", "upload key", "app", "operator",
)  # fmt: skip
MEMBERS = {"viewer": "viewer", "editor": "editor", "flow admin": "admin"}
MAIL = {"smtp_url": "smtp://127.0.0.1:9", "mail_from": "media@example.com"}  # where nothing takes it
TUS = {"Tus-Resumable": "1.0.0"}
PICTURE = photo(40, 30)


@dataclass
class Call:
    """What is sent in a call, whoever sends it."""

    method: str
    path: str
    json: Any = None
    content: bytes | None = None
    headers: dict[str, str] | None = None


class Stage:
    def __init__(self, app: App, site: Site) -> None:
        self.app, self.site, self.stranger = app, site, app.anonymous()
        self.slow: list[str] = []
        self.owner = app.user()
        self.users = {"other user": app.user(), "owner": self.owner, **{role: app.user() for role in MEMBERS}}
        self.flow = self.shared_flow()
        self.closed, self.open = self.shared_flow(posting="editors"), self.shared_flow(visibility="public")
        self.media = app.ready(self.stored(self.flow, self.closed)["id"])
        self.failed = self.ended_job("/none.jpg")
        self.other = fresh("app")
        self.answer("PUT", f"/v1/apps/{self.other}", json={}, headers=self.headers("operator"))
        self.keys = {
            "other app": self.key(self.other, "admin")["key"],
            "read key": self.key("default", "read")["key"],
            "upload key": self.key("default", "upload")["key"],
        }

    def key(self, app: str, *scopes: str) -> dict[str, Any]:
        """A new API key of an app."""
        made = self.answer(
            "POST", f"/v1/apps/{app}/keys", json={"scopes": scopes or ["admin"]}, headers=self.headers("operator")
        )
        return dict(made)

    def headers(self, role: str) -> dict[str, str]:
        """A credential of this role, of a session made just now where it is a user's."""
        if role == "none":
            return {}
        keys = {"app": self.app.system.api_key, "operator": self.app.system.operator_key}
        token = keys.get(role) or self.keys.get(role) or self.app.session(self.users[role])["token"]
        return {"Authorization": f"Bearer {token}"}

    def asks(self, call: Call, role: str) -> int:
        """The status of the answer; an endless one is not waited for."""
        headers = {**(call.headers or {}), **self.headers(role)}
        self.stranger.cookies.clear()  # of who entered
        sent = {"json": call.json, "content": call.content, "headers": headers}
        with self.stranger.stream(call.method, call.path, **sent) as answer:
            status = answer.status_code
        while self.slow:  # or it would keep others from being fetched
            self.app.http.delete(f"/v1/jobs/{self.slow.pop()}")
        return status

    def answer(self, method: str, path: str, **sent: Any) -> Any:
        """The app's own call, which has to succeed."""
        answer = self.app.http.request(method, path, **sent)
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.content else answer

    def shared_flow(self, **fields: Any) -> str:
        """A private flow with a member in each role, where any user may post."""
        name = fresh("flow")
        self.answer("PUT", f"/v1/flows/{name}", json={"posting": "users", **fields})
        for role, given in MEMBERS.items():
            self.answer("PUT", f"/v1/flows/{name}/members/{self.users[role]}", json={"role": given})
        return name

    def stored(self, *flows: str) -> dict[str, Any]:
        """A media of the owner's."""
        answer = self.app.upload(self.owner, PICTURE, flow=list(flows) or self.flow)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def link(self, **fields: Any) -> dict[str, Any]:
        """One of the owner's for anyone."""
        fields = {"audience": "anyone", **fields}
        return dict(self.answer("POST", f"/v1/media/{self.media['id']}/links", json=fields))

    def recipient(self) -> str:
        """What somebody who got a mail unsubscribes by."""
        return recipients.leaving(self.app.system.settings).sign(random_identifier())

    def nine_bytes(self) -> dict[str, str]:
        """What is said when a resumable upload of the owner's is made."""
        said = f"user {base64.b64encode(self.owner.encode()).decode()}"
        return {**TUS, "Upload-Length": "9", "Upload-Metadata": said}

    def upload(self) -> str:
        """The address of a resumable upload of the owner's with no byte yet."""
        answer = self.app.http.post("/v1/uploads/", headers=self.nine_bytes())
        assert answer.status_code == 201, answer.text
        return str(httpx.URL(answer.headers["location"]).path)

    def presigned(self) -> dict[str, Any]:
        query = {"imgf": "jpeg", "imgn": "a.jpg", "f": self.flow, "ct": "app", "user": self.owner}
        return dict(self.answer("GET", "/v1/images/upload_init", params=query)["upload_info_map"])

    def sent(self) -> str:
        """A presigned upload of the owner's that nobody has completed."""
        info = self.presigned()
        answer = httpx.put(info["presigned_url_str"], headers=info["headers"], content=PICTURE)
        assert answer.status_code == 200, answer.text
        return str(info["upload_gf_image_id_str"])

    def images_job(self, path: str) -> str:
        """A job of the owner's with an image of that path."""
        body = {"job_type_str": "process_extern_images", "imgs_urls_str": [self.site.url(path)], "user": self.owner}
        return str(self.answer("POST", "/images/jobs/start", json=body)["running_job_id_str"])

    def slow_job(self) -> str:
        """A job that is at it until the call is over."""
        self.slow.append(self.images_job("/slow.jpg"))
        return self.slow[-1]

    def ended_job(self, path: str) -> str:
        job = self.images_job(path)
        until(lambda: self.answer("GET", f"/v1/jobs/{job}")["state"] not in ("queued", "running"), 30, "the job's end")
        return job
