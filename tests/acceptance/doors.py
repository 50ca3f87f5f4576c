"""The seven doors by which a file comes in, each as a function that returns the id of the media it became."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
from tusclient.client import TusClient

from tests.client import App
from tests.harness import until

Door = Callable[[App, str, str, Path, str], str]


def form(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    with photo.open("rb") as file:
        answer = app.http.post("/v1/media", data={"user": user, "flow": flow}, files={"file": (photo.name, file)})
    return _stored(answer)


def raw(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    query = {"user": user, "flow": flow, "filename": photo.name}
    return _stored(app.http.put("/v1/media", params=query, content=photo.read_bytes()))


def data_uri(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    data = "data:image/jpeg;base64," + base64.b64encode(photo.read_bytes()).decode()
    body = {"user": user, "flow": flow, "filename": photo.name, "data": data}
    return _stored(app.http.post("/v1/media", json=body))


def external(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    return _stored(app.http.post("/v1/media", json={"user": user, "flow": flow, "url": url}))


def add_img(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    body = {
        "image_extern_url_str": url, "image_origin_page_url_str": url.rpartition("/")[0], "client_type_str": "test",
        "flows_names_lst": [flow],
    }  # fmt: skip
    answer = app.http.post("/v1/images/flows/add_img", params={"user": user}, json=body)
    assert answer.status_code == 200, answer.text
    _finished(app, answer.json()["images_job_id_str"])
    return str(answer.json()["image_id_str"])


def tus(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    client = TusClient(f"{app.system.url}/v1/uploads/", headers=app.system.app)
    metadata = {"filename": photo.name, "user": user, "flow": flow}
    with photo.open("rb") as file:
        uploader = client.uploader(file_stream=file, chunk_size=200_000, metadata=metadata)
        uploader.upload()
    answer = app.http.get(str(uploader.url))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["media"])


def presigned(app: App, user: str, flow: str, photo: Path, url: str) -> str:
    query = {"imgf": "jpg", "imgn": photo.name, "f": flow, "ct": "test", "user": user}
    answer = app.http.get("/v1/images/upload_init", params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()["upload_info_map"]
    sent = httpx.request(
        told["method"], told["presigned_url_str"], headers=told["headers"], content=photo.read_bytes(), timeout=30
    )
    assert sent.status_code in (200, 201, 204), sent.text
    identifier = str(told["upload_gf_image_id_str"])
    done = app.http.post("/v1/images/upload_complete", params={"imgid": identifier, "f": flow}, json={"meta_map": {}})
    assert done.status_code == 200, done.text
    _finished(app, done.json()["images_job_id_str"])
    return identifier


DOORS: dict[str, Door] = {
    "form": form, "raw": raw, "data_uri": data_uri, "external": external, "add_img": add_img, "tus": tus,
    "presigned": presigned,
}  # fmt: skip


def _stored(answer: httpx.Response) -> str:
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _finished(app: App, job: str) -> None:
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(app.http.get(f"/v1/jobs/{job}").json())
        return found["state"] not in ("queued", "running")

    until(ended, 60, f"the end of job {job}")
    assert found["state"] == "completed", found


class _Quiet(BaseHTTPRequestHandler):
    """Serves one file, whatever is asked for."""

    photo: Path

    def do_GET(self) -> None:
        data = self.photo.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web(photo: Path) -> Iterator[str]:
    """The address of the photograph on a web server of the tests' own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(type("Serving", (_Quiet,), {"photo": photo})))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/pages/{photo.name}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def settled(app: App, media: str, backend: str, seconds: float = 60) -> dict[str, Any]:
    """The media, once it lies on that backend alone."""
    deadline = time.monotonic() + seconds
    while True:
        found = dict(app.http.get(f"/v1/media/{media}").json())
        if [(p["backend"], p["role"], p["state"]) for p in found["stored"]] == [(backend, "primary", "stored")]:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
