"""What a service names and other processes run is loaded there alone."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from compressor.elsewhere import Elsewhere

LOADED = "import sys, {}; print([name for name in {} if name in sys.modules])"


def loaded(modules: str, *looked_for: str) -> str:
    script = LOADED.format(modules, looked_for)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_a_name_is_sent_and_called_where_it_arrives() -> None:
    arrived = pickle.loads(pickle.dumps(Elsewhere("posixpath").join))
    assert arrived("a", "b") == "a/b"
    with pytest.raises(AttributeError):
        Elsewhere("posixpath").nothing()


def test_services_load_no_library_that_decodes() -> None:
    assert loaded("compressor.app, compressor.worker", "PIL", "pillow_heif", "mutagen", "av") == "[]"


def test_decoding_processes_load_nothing_that_only_services_need() -> None:
    assert loaded("compressor.tasks", "pydantic", "asyncio", "asyncpg", "redis", "structlog", "av") == "[]"
