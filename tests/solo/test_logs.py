from __future__ import annotations

from pathlib import Path

import pytest

from solo import logs
from solo.logs import Logs


def test_a_log_that_grows_too_large_is_cut_while_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LARGEST_BYTES", 100)
    book = Logs(tmp_path)
    with book.open("child") as writer:
        writer.write(b"x" * 101)
        writer.flush()
        book.bound()
        writer.write(b"and on")
    assert (tmp_path / "child.log.1").read_text() == "x" * 101
    assert (tmp_path / "child.log").read_text() == "and on"


def test_a_new_run_starts_new_logs_and_keeps_those_of_the_last(tmp_path: Path) -> None:
    book = Logs(tmp_path)
    (tmp_path / "child.log").write_text("last run")
    book.turn()
    assert not (tmp_path / "child.log").exists()
    assert (tmp_path / "child.log.1").read_text() == "last run"


def test_the_last_line_is_the_last_that_says_something(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("first\nport in use \n\n")
    assert Logs(tmp_path).last_line("child") == "port in use"
    assert Logs(tmp_path).last_line("silent") == "(nothing)"


def test_an_event_that_cannot_be_written_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Logs(tmp_path / "nowhere").event("child died", name="api")
    assert '"event": "child died", "name": "api"' in capfd.readouterr().err
