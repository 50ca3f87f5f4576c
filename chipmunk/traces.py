"""OpenTelemetry traces, sent where settings say; else what makes them is not loaded, and a span is no more than a look.

A trace's id is the request id that nginx made, and nginx's own span has the first half of it for its id: so every process
knows its parent from the request id alone, and a job from that of the request that made it. nginx's spans are made from
its access log; views, which are too fast to be told of, have none.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import structlog

from chipmunk.config import Settings

REQUEST_ID = re.compile("[0-9a-f]{32}")
EXPORT_MILLISECONDS = 1000
QUIET = (
    "/livez",
    "/healthz",
    "/metrics",
    "/v1/images/healthz",
    "/v1/images/v1/healthz",
)  # asked by machines, all the time
OFF: AbstractContextManager[None] = nullcontext()

_tracers: dict[str, Any] = {}
_own = ""
_forced: ContextVar[tuple[int, int] | None] = ContextVar("forced", default=None)


def setup(settings: Settings, service: str, *more: str) -> None:
    """Has this process's spans sent as `service`'s; it makes those of `more` too."""
    global _own
    if not settings.traces_url:
        return
    _own = service
    for name in (service, *more):
        _tracers[name] = _tracer(settings, name)


def _tracer(settings: Settings, service: str) -> Any:
    sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
    export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
    sampling: Any = importlib.import_module("opentelemetry.sdk.trace.sampling")
    resources: Any = importlib.import_module("opentelemetry.sdk.resources")
    otlp: Any = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    generators: Any = importlib.import_module("opentelemetry.sdk.trace.id_generator")

    class Ids(generators.RandomIdGenerator):  # type: ignore[misc]
        def generate_trace_id(self) -> int:
            forced = _forced.get()
            return forced[0] if forced else int(super().generate_trace_id())

        def generate_span_id(self) -> int:
            forced = _forced.get()
            return forced[1] if forced else int(super().generate_span_id())

    provider = sdk.TracerProvider(
        resource=resources.Resource({"service.name": f"chipmunk-{service}"}),
        sampler=sampling.TraceIdRatioBased(settings.traces_ratio),  # of the id, so that all processes agree
        id_generator=Ids(),
    )
    exporter = otlp.OTLPSpanExporter(endpoint=f"{settings.traces_url}/v1/traces", timeout=5)
    provider.add_span_processor(export.BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_MILLISECONDS))
    return provider.get_tracer("chipmunk")


def on() -> bool:
    return bool(_tracers)


def request_id() -> str | None:
    """Of the request that this is done for, however indirectly."""
    found: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return found


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A step of what is under way. Neither name nor attributes ever hold a secret, an address of a view or a file's name."""
    return _span(name, attributes) if _tracers else OFF


@contextmanager
def _span(name: str, attributes: dict[str, Any]) -> Iterator[Any]:
    with _tracers[_own].start_as_current_span(name, attributes=attributes, record_exception=False) as made:
        yield made


def beginning(name: str, request: str | None, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """The first step in this process of what is done for a request, below nginx's span of it."""
    return _beginning(name, request, attributes) if _tracers else OFF


@contextmanager
def _beginning(name: str, request: str | None, attributes: dict[str, Any]) -> Iterator[Any]:
    api: Any = importlib.import_module("opentelemetry.trace")
    context: Any = importlib.import_module("opentelemetry.context").Context()
    if request and REQUEST_ID.fullmatch(request):
        trace, parent = _ids(request)
        above = api.SpanContext(trace, parent, is_remote=True, trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED))
        context = api.set_span_in_context(api.NonRecordingSpan(above), context)
    with _tracers[_own].start_as_current_span(
        name, context=context, kind=api.SpanKind.SERVER, attributes=attributes, record_exception=False
    ) as made:
        yield made


def called(name: str) -> None:
    """What the step that is under way turned out to be."""
    if _tracers:
        importlib.import_module("opentelemetry.trace").get_current_span().update_name(name)


def _ids(request: str) -> tuple[int, int]:
    return int(request, 16), int(request[:16], 16) or 1


def of_nginx(lines: bytes) -> None:
    """Makes nginx's spans from lines of its access log."""
    for line in lines.splitlines():
        try:
            said = json.loads(line)
            if REQUEST_ID.fullmatch(said["rid"]) and said["path"].partition("?")[0] not in QUIET:
                _of_nginx(said)
        except (ValueError, KeyError, TypeError):
            continue


def _of_nginx(said: dict[str, Any]) -> None:
    api: Any = importlib.import_module("opentelemetry.trace")
    context: Any = importlib.import_module("opentelemetry.context").Context()
    ended = int(said["t"] * 1e9)
    forced = _forced.set(_ids(said["rid"]))
    try:
        made = _tracers["nginx"].start_span(
            said["method"], context=context, kind=api.SpanKind.SERVER, start_time=ended - int(said["seconds"] * 1e9),
            attributes={"http.response.status_code": int(said["status"]), "http.response.body.size": int(said["bytes"])},
        )  # fmt: skip
    finally:
        _forced.reset(forced)
    made.end(end_time=ended)
