"""Traces of real requests, as a collector gets them: OTLP over HTTP, read by OpenTelemetry's own definitions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.client import App, photo
from tests.harness import System, scratch, until


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str
    text: str = field(repr=False)


class Collector(ThreadingHTTPServer):
    """Takes what is exported to it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            [service] = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            for scope in resource.scope_spans:
                for s in scope.spans:
                    ids = s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex()
                    self.spans.append(Span(service, s.name, *ids, str(s)))

    def of(self, trace: str) -> dict[tuple[str, str], Span]:
        return {(s.service, s.name): s for s in self.spans if s.trace == trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def app(collector: Collector) -> Iterator[App]:
    url = f"http://127.0.0.1:{collector.server_port}"
    with scratch() as folder, System(folder / "data", traces_url=url) as system, App(system) as app:
        yield app
        assert system.stop() == 0, system.output


def test_an_upload_is_one_trace_through_nginx_the_compressor_and_the_worker(app: App, collector: Collector) -> None:
    user = app.user()
    answer = app.upload(user, photo(), filename="secret-name.jpg")
    trace = answer.headers["x-request-id"]
    media = app.ready(answer.json()["id"])
    wanted = {
        ("chipmunk-nginx", "PUT"), ("chipmunk-compressor", "check"), ("chipmunk-compressor", "upload"),
        ("chipmunk-compressor", "decode first"), ("chipmunk-compressor", "place"), ("chipmunk-compressor", "commit"),
        ("chipmunk-worker", "job ladder"), ("chipmunk-worker", "decode rest"),
    }  # fmt: skip
    until(lambda: wanted <= set(collector.of(trace)), 20, "all spans of the upload")
    found = collector.of(trace)
    root = found["chipmunk-nginx", "PUT"]
    assert root.parent == ""
    for service, name in [("compressor", "check"), ("compressor", "upload"), ("worker", "job ladder")]:
        assert found[f"chipmunk-{service}", name].parent == root.id
    assert found["chipmunk-compressor", "place"].parent == found["chipmunk-compressor", "upload"].id
    assert found["chipmunk-worker", "decode rest"].parent == found["chipmunk-worker", "job ladder"].id
    told = "".join(span.text for span in collector.spans)
    for secret in ("secret-name", user, app.system.api_key, media["url"].strip("/"), media["id"]):
        assert secret not in told


def test_calls_are_named_and_decisions_are_told(app: App, collector: Collector) -> None:
    media = app.stored(app.user())
    answer = app.http.get(f"/v1/media/{media['id']}")
    trace = answer.headers["x-request-id"]
    until(lambda: ("chipmunk-api", "get_media") in collector.of(trace), 20, "the call's span")
    assert app.http.get(f"{media['url']}1/").status_code == 200
    until(lambda: any((s.service, s.name) == ("chipmunk-authorizer", "decide") for s in collector.spans), 20)


def test_nothing_waits_for_a_collector_that_is_away() -> None:
    with scratch() as folder, System(folder / "data", traces_url="http://127.0.0.1:9") as system, App(system) as app:
        assert app.stored(app.user())["status"] == "ready"
        assert system.stop() == 0, system.output
