"""Services load no library that only others of their libraries would like to use."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOOK = """
import sys
from chipmunk import lean
{}
unused = ("rich", "pygments", "attr", "psutil", "opentelemetry")
print([name for name in unused if name in sys.modules])
import rich.console, opentelemetry.sdk.trace
"""


@pytest.mark.parametrize(
    "service",
    [
        "import compressor.worker",
        "import compressor.__main__, compressor.app",
        "lean.load(); import gateway.authorizer, gateway.api.app",
    ],
)
def test_what_is_not_used_is_not_loaded_and_can_be_later(service: str) -> None:
    script = LOOK.format(service)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_is_loaded_already_stays() -> None:
    script = "import sys, opentelemetry.trace as trace, rich; " + (
        "from chipmunk import lean; lean.load(); import opentelemetry; assert opentelemetry.trace is trace"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
