"""Resumable uploads by the clients that people have: tuspy, tus-js-client in Node. Through nginx, as they are shipped."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tusclient import client as tuspy
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from tests.client import App, fresh, leaves_nothing, leftovers, media_folder, photo, sha256
from tests.harness import System, until
from tests.servers.cutting import NEVER, Cutter
from tests.servers.tus_js import Clients

PATH = "/v1/uploads/"
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def app(system: System) -> Iterator[App]:
    with App(system) as app:
        yield app


def large(seed: int, size: int = 3_000_000) -> bytes:
    """A JPEG with so many bytes after its end that it is as large as this."""
    data = photo(800, 600, seed)
    return data + random.Random(seed).randbytes(size - len(data))


def original(app: App, url: str) -> bytes:
    return (media_folder(app.system, url.rpartition("/")[2]) / "0").read_bytes()


def unfinished(app: App, url: str) -> int:
    """How many bytes of an upload there are."""
    answer = app.http.head(url.replace(url.partition(PATH)[0], ""), headers=TUS)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["upload-offset"])


def uploader(app: App, data: bytes, user: str, **given: Any) -> Any:
    tus = tuspy.TusClient(f"{given.pop('url', app.system.url)}{PATH}", headers=app.system.app)
    said = {"user": user, "filename": "p.jpg"}
    return tus.uploader(file_stream=io.BytesIO(data), metadata=said, retry_delay=0, **given)


@pytest.mark.parametrize("given", [{}, {"chunk_size": 400_000}, {"chunk_size": 700_001, "upload_checksum": True}])
def test_tuspy_uploads_whole_and_in_pieces_and_with_checksums(app: App, given: dict[str, Any]) -> None:
    user, data = app.user(), large(len(given) + 1)
    upload = uploader(app, data, user, **given)
    upload.upload()
    media = upload.request.response_headers["chipmunk-media"]
    assert upload.url.endswith(media)
    found = app.ready(media)
    assert (found["sha256"], found["owner"], found["filename"]) == (sha256(data), user, "p.jpg")
    standing = app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"]) == (found["total_bytes"], 0)


def test_tuspy_goes_on_where_it_was_cut(app: App) -> None:
    user, data = app.user(), large(7)
    plans = iter([(NEVER, NEVER), (NEVER, NEVER), (300_000, NEVER)])  # a creation, a piece, and half of the next
    with Cutter(app.system.port, lambda: next(plans, (NEVER, NEVER))) as cutter:
        first = uploader(app, data, user, url=cutter.url, chunk_size=600_000)
        with pytest.raises(TusUploadFailed):
            first.upload()
        assert 600_000 <= unfinished(app, first.url) < 900_000
        again = uploader(app, data, user, url=cutter.url, retries=5)  # what was cut may still be on its way: then 409
        again.set_url(first.url)
        again.offset = again.get_offset()
        assert again.offset >= 600_000
        again.upload()
    assert original(app, first.url) == data


def test_tuspy_is_told_why_it_was_refused(app: App) -> None:
    user = app.user(quota_bytes=1000)
    with leaves_nothing(app, user):
        with pytest.raises(TusCommunicationError) as refused:
            uploader(app, large(1), user).upload()
        assert refused.value.status_code == 413
    user = app.user()
    with leaves_nothing(app, user):
        with pytest.raises(TusUploadFailed) as failed:
            uploader(app, bytes(5000), user).upload()
        assert (failed.value.status_code, json.loads(failed.value.response_content)["code"]) == (
            415,
            "unsupported_type",
        )


@pytest.fixture(scope="module")
def node(tus_clients: Clients, app: App) -> Any:
    """Uploads data with tus-js-client by the app's key; tells how it ended."""

    def send(folder: Path, data: bytes, user: str, url: str = "", **given: Any) -> dict[str, Any]:
        path = folder / fresh("file")
        path.write_bytes(data)
        metadata = {"user": user, "filename": "ä b.jpg", "filetype": "image/jpeg"}
        asked = {"path": str(path), "metadata": metadata, **given}
        headers = app.system.app
        [told] = tus_clients.upload(f"{url or app.system.url}{PATH}", [asked], headers=headers, retries=20)
        return told

    return send


WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "in chunks": {"options": {"chunkSize": 500_000}},
    "with the first bytes in the creation": {"options": {"uploadDataDuringCreation": True, "chunkSize": 700_000}},
    "of a length that is said at the end": {
        "stream": True, "options": {"uploadLengthDeferred": True, "chunkSize": 400_000},
    },
    "by POST": {"options": {"overridePatchMethod": True, "chunkSize": 1_000_000}},
    "by draft 03": {"options": {"protocol": "ietf-draft-03", "chunkSize": 700_000}},
    "by draft 05": {"options": {"protocol": "ietf-draft-05"}},
    "by draft 05, with the first bytes in the creation": {
        "options": {"protocol": "ietf-draft-05", "uploadDataDuringCreation": True, "chunkSize": 700_000},
    },
    "by draft 03, all in the creation": {"options": {"protocol": "ietf-draft-03", "uploadDataDuringCreation": True}},
    "by draft 05, of a length that is said at the end": {
        "stream": True, "options": {"protocol": "ietf-draft-05", "uploadLengthDeferred": True, "chunkSize": 400_000},
    },
    "in parallel": {"options": {"parallelUploads": 4}},
    "in parallel, with all said of the parts": {
        "options": {"parallelUploads": 3, "metadataForPartialUploads": {"user": ""}},
    },
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_tus_js_client_uploads(app: App, node: Any, tmp_path: Path, way: str) -> None:
    user, given = app.user(), {**WAYS[way]}
    options = {**given.get("options", {})}
    if "parallelUploads" in options:
        options["metadataForPartialUploads"] = {"user": user}
    data = large(20 + len(way))
    told = node(tmp_path, data, user, **{**given, "options": options})
    assert "error" not in told, told
    assert original(app, told["url"]) == data
    found = app.ready(told["media"])
    assert (found["owner"], found["filename"], found["sha256"]) == (user, "ä b.jpg", sha256(data))
    standing = app.standing(user)
    assert (standing["used_bytes"], standing["reserved_bytes"]) == (found["total_bytes"], 0)
    assert not [name for name in leftovers(app.system) if told["media"] in name]


@pytest.mark.parametrize(
    ("protocol", "parallel"), [("tus-v1", 1), ("tus-v1", 3), ("ietf-draft-03", 1), ("ietf-draft-05", 1)]
)
def test_tus_js_client_survives_cuts(app: App, node: Any, tmp_path: Path, protocol: str, parallel: int) -> None:
    user, data, chance = app.user(), large(40 + parallel, 6_000_000), random.Random(parallel)

    def plan() -> tuple[int, int]:
        return (chance.randrange(1_000, 1_500_000), NEVER)

    options = {"protocol": protocol, "parallelUploads": parallel, "metadataForPartialUploads": {"user": user}}
    with Cutter(app.system.port, plan) as cutter:
        told = node(tmp_path, data, user, url=cutter.url, options=options)
        assert cutter.cuts > 2
    assert "error" not in told, told
    assert original(app, told["url"]) == data
    assert app.ready(told["url"].rpartition("/")[2])["sha256"] == sha256(data)


def test_tus_js_client_ends_an_upload(app: App, node: Any, tmp_path: Path) -> None:
    user = app.user()
    with leaves_nothing(app, user):
        told = node(tmp_path, large(50, 60_000_000), user, abortAfter=1_000_000)
        assert told["aborted"]
        path = f"{PATH}{told['url'].rpartition('/')[2]}"
        until(lambda: app.http.head(path, headers=TUS).status_code == 404, 10, "the end of the upload")


def test_tus_js_client_is_told_why_it_was_refused_and_asks_no_more(app: App, node: Any, tmp_path: Path) -> None:
    user = app.user()
    with leaves_nothing(app, user):
        told = node(tmp_path, b"no picture" * 100, user)
        assert (told["status"], json.loads(told["body"])["code"]) == (415, "unsupported_type")
        assert told["requests"] == ["POST 201", "PATCH 415"]


def test_a_page_of_an_allowed_origin_may_use_tus_and_no_other(app: App) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "tus-resumable,upload-offset"}
    for path in (PATH, f"{PATH}{'0' * 32}"):
        answer = httpx.options(f"{app.system.url}{path}", headers={"Origin": "https://app.example", **asked})
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        allowed = answer.headers["access-control-allow-headers"].lower()
        for name in ("tus-resumable", "upload-offset", "upload-length", "upload-metadata", "upload-checksum"):
            assert name in allowed
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        for name in ("location", "upload-offset", "upload-expires", "chipmunk-media"):
            assert name in answer.headers["access-control-expose-headers"].lower()
        evil = httpx.options(f"{app.system.url}{path}", headers={"Origin": "https://evil.example", **asked})
        assert not [name for name in evil.headers if name.startswith("access-control-")]
    other = httpx.options(f"{app.system.url}/v1/media", headers={"Origin": "https://app.example", **asked})
    assert "PATCH" not in other.headers["access-control-allow-methods"]
