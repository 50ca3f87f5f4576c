"""Traces where nobody asked for them: a span is nothing, and what would send it is not loaded."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import sys
from chipmunk import config, traces
import gateway.api.app, gateway.authorizer, compressor.app, compressor.worker
traces.setup(config.load({}), "api", "nginx")
with traces.beginning("call", "0" * 32), traces.span("step", size=1):
    traces.called("it")
assert not traces.on()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk.trace", "opentelemetry.exporter"))])
"""


def test_without_a_collector_nothing_that_makes_or_sends_spans_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
