"""Every metric, in one table. Processes write files that are added up at a scrape (prometheus multiprocess mode).

prometheus_client decides at its first import where it writes, so `setup` points it there before that: nothing imports
prometheus_client but this module, and it does so lazily.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from chipmunk import renditions
from chipmunk.config import Settings

LONG = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
TABLE: dict[str, tuple[Literal["counter", "histogram", "gauge"], str, tuple[str, ...]]] = {}


class Metric:
    """A metric of the table; the real one is made at its first use."""

    def __init__(self, kind: Literal["counter", "histogram"], name: str, help_text: str, *labels: str) -> None:
        TABLE[name] = (kind, help_text, labels)
        self._make: Callable[[], Any] = lambda: _make(kind, name, help_text, labels)
        self._made: Any = None

    def _real(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    def labels(self, *values: str) -> Any:
        return self._real().labels(*values)

    def inc(self, amount: float = 1) -> None:
        self._real().inc(amount)

    def observe(self, amount: float) -> None:
        self._real().observe(amount)


def _make(kind: str, name: str, help_text: str, labels: tuple[str, ...]) -> Any:
    client: Any = importlib.import_module("prometheus_client")
    if kind == "counter":
        return client.Counter(name, help_text, labels)
    return client.Histogram(name, help_text, labels, buckets=LONG)


class Gauge:
    """A gauge of the table. No process keeps it: whoever is scraped reads its values then and there."""

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        TABLE[name] = ("gauge", help_text, labels)
        self.name, self.help_text, self.labels = name, help_text, labels


Readings = Mapping[Gauge, Mapping[tuple[str, ...], float]]

PROBLEMS = Metric("counter", "chipmunk_problems_total", "Errors answered, by code.", "service", "code")
REQUESTS = Metric("counter", "chipmunk_requests_total", "API calls, by operation and status.", "operation", "status")
VIEWS = Metric(
    "counter",
    "chipmunk_views_total",
    "Views answered by nginx, by status and decision cache.",
    "status",
    "cache",
)
DECISIONS = Metric(
    "counter",
    "chipmunk_decisions_total",
    "Decisions of the authorizer, by outcome and where from.",
    "outcome",
    "source",
)
STORED_READS = Metric(
    "counter",
    "chipmunk_stored_reads_total",
    "Stretches of media read from a backend for views, by outcome.",
    "backend",
    "outcome",
)
STORED_BYTES = Metric("counter", "chipmunk_stored_bytes_total", "Bytes read from a backend for views.", "backend")
UPLOADS = Metric("counter", "chipmunk_uploads_total", "Uploads, by door and outcome.", "door", "outcome")
UPLOAD_BYTES = Metric("counter", "chipmunk_upload_bytes_total", "Bytes of originals taken, by door.", "door")
UPLOAD_SECONDS = Metric(
    "histogram", "chipmunk_upload_seconds", "From a body's last byte to the answer, by door.", "door"
)
CLIENT_SECONDS = Metric(
    "histogram", "chipmunk_client_upload_seconds", "Time of an upload as its client tells, by stage.", "stage"
)
RUNGS = Metric("counter", "chipmunk_rungs_total", "Renditions made, by rung.", "quality")
RUNG_BYTES = Metric("counter", "chipmunk_rung_bytes_total", "Bytes of renditions made, by rung.", "quality")
RUNG_SECONDS = Metric("histogram", "chipmunk_rung_seconds", "Time to encode a rendition, by rung.", "quality")
DECODE_SECONDS = Metric(
    "histogram",
    "chipmunk_decode_seconds",
    "Time of a file in a decoding process, waiting for one included.",
    "stage",
    "kind",
)
CLASSIFY_SECONDS = Metric("histogram", "chipmunk_classify_seconds", "Time of a picture in the classifier.")
STORE_SECONDS = Metric(
    "histogram", "chipmunk_store_seconds", "Time of a call of a store.", "backend", "operation", "outcome"
)
JOBS = Metric("counter", "chipmunk_jobs_total", "Attempts at jobs, by kind and outcome.", "kind", "outcome")
JOB_SECONDS = Metric("histogram", "chipmunk_job_seconds", "Time of an attempt at a job, by kind.", "kind")
QUOTA_REFUSALS = Metric("counter", "chipmunk_quota_refusals_total", "Uploads refused for quota, by code.", "code")
RATE_LIMITED = Metric(
    "counter",
    "chipmunk_rate_limited_total",
    "Calls refused by rate limits, by subject and class.",
    "subject_kind",
    "class",
)
UNCOUNTED = Metric("counter", "chipmunk_uncounted_total", "Calls that no rate limit was applied to, for want of Redis.")
COPIED_BYTES = Metric("counter", "chipmunk_copied_bytes_total", "Bytes of media brought to a backend and verified.")
COPIES_DAMAGED = Metric(
    "counter",
    "chipmunk_copies_damaged_total",
    "Copies that a scrub found damaged, by whether another could mend them.",
    "outcome",
)
DELIVERIES = Metric(
    "counter", "chipmunk_webhook_attempts_total", "Attempts to tell apps by webhooks, by outcome.", "outcome"
)
MAILS = Metric("counter", "chipmunk_mails_total", "Mails that share media, by what became of them.", "outcome")
BROWSER_RESULTS = Metric(
    "counter", "chipmunk_browser_results_total", "Colours that browsers say images have, by outcome.", "outcome"
)
PLUGIN_CALLS = Metric(
    "counter", "chipmunk_plugin_calls_total", "Questions to plug-ins, by outcome.", "plugin", "hook", "outcome"
)
PLUGIN_SECONDS = Metric("histogram", "chipmunk_plugin_seconds", "Time of such a question.", "plugin", "hook")
SWEPT = Metric("counter", "chipmunk_swept_total", "What sweeps took away, by kind.", "kind")
SWEEPS_REFUSED = Metric(
    "counter", "chipmunk_sweeps_refused_total", "Sweeps that found too much orphaned and took nothing."
)


JOBS_WAITING = Gauge("chipmunk_jobs_waiting", "Jobs that have not ended, by kind and state.", "kind", "state")
JOBS_OLDEST = Gauge("chipmunk_jobs_oldest_seconds", "Age of the oldest of them, by kind and state.", "kind", "state")
COPIES_UNSETTLED = Gauge(
    "chipmunk_copies_unsettled", "Copies that have to be made or taken away, by backend.", "backend"
)
BACKEND_UP = Gauge("chipmunk_backend_up", "Whether a backend passed its last check.", "backend")
DELIVERIES_WAITING = Gauge(
    "chipmunk_webhook_deliveries", "What enabled webhooks were not told yet, and what they could not be told.", "state"
)
DELIVERIES_OLDEST = Gauge("chipmunk_webhook_oldest_seconds", "Age of the oldest that is pending.")
WATCHERS = Gauge("chipmunk_watchers", "Streams of events that are open.")
UP = Gauge("chipmunk_up", "Whether a server that this one needs can be reached.", "server")


def count_rungs(rungs: list[dict[str, int]]) -> None:
    """Counts renditions that were made and stored."""
    for rung in rungs:
        RUNGS.labels(renditions.label(rung["quality"])).inc()
        RUNG_BYTES.labels(renditions.label(rung["quality"])).inc(rung["bytes"])


def setup(settings: Settings) -> None:
    """Points this process's metrics at the directory that the others use; first thing in its main."""
    directory = settings.run_dir / "metrics"
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values: Any = importlib.import_module("prometheus_client.values")

    identifier = f"{socket.gethostname()}-{os.getpid()}"
    values.ValueClass = values.MultiProcessValue(lambda: identifier)


def expose(readings: Readings) -> bytes:
    """All processes' metrics, and these readings, in Prometheus' text format."""
    client: Any = importlib.import_module("prometheus_client")
    multiprocess: Any = importlib.import_module("prometheus_client.multiprocess")
    core: Any = importlib.import_module("prometheus_client.core")

    class Read:
        def collect(self) -> Iterator[Any]:
            for gauge, values in readings.items():
                family = core.GaugeMetricFamily(gauge.name, gauge.help_text, labels=gauge.labels)
                for labels, value in values.items():
                    family.add_metric(labels, value)
                yield family

    registry = client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    registry.register(Read())
    return bytes(client.generate_latest(registry))
