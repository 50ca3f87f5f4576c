"""Views are counted from nginx's log: each once, whoever reads, whatever happens to the file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from gateway.api import views_log
from gateway.api.views_log import ViewsLog, count

HIT, MISS, NONE = ("200", "hit"), ("404", "miss"), ("405", "none")


def line(path: str = "/AbC_-9.../3/", status: int = 200, cache: str = "HIT") -> bytes:
    fields = {
        "t": 1.5,
        "rid": "a" * 32,
        "method": "GET",
        "path": path,
        "status": status,
        "bytes": 5,
        "seconds": 0.1,
        "cache": cache,
    }
    return json.dumps({**fields, "upstream": ""}, separators=(",", ":")).encode() + b"\n"


def test_views_are_told_from_everything_else_and_by_status_and_cache() -> None:
    text = line() + line() + line("/v1/media") + line(status=404, cache="MISS") + line(status=405, cache="") + line("-")
    assert count(text) == Counter({HIT: 2, MISS: 1, NONE: 1})
    assert count(b"") == count(b"junk\n" * 9) == count(line("/AbC_-9.../33/")) == Counter()


def test_a_line_that_is_still_being_written_is_counted_once_it_is_whole(tmp_path: Path) -> None:
    log, whole = tmp_path / "access.log", line()
    log.write_bytes(whole + whole[:20])
    views = ViewsLog(log)
    assert views.read() == {HIT: 1}
    assert views.read() == {}
    with log.open("ab") as file:
        file.write(whole[20:] + whole)
    assert views.read() == {HIT: 2}
    views.close()


def test_one_reads_at_a_time_and_the_next_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line() * 3)
    first, second = ViewsLog(log), ViewsLog(log)
    assert first.read() == {HIT: 3}
    log.write_bytes(log.read_bytes() + line() * 2)
    assert second.read() == {}, "the first one holds the place"
    first.close()
    assert second.read() == {HIT: 2}
    second.close()


def test_a_log_that_was_cut_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line() * 9)
    views = ViewsLog(log)
    assert views.read() == {HIT: 9}
    log.write_bytes(line())
    assert views.read() == {HIT: 1}
    log.unlink()
    assert views.read() == {}
    log.write_bytes(b"")
    assert views.read() == {}
    views.close()


def test_a_place_that_says_nothing_is_the_start(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line())
    (tmp_path / "access.place").write_text("x" * 40)
    views = ViewsLog(log)
    assert views.read() == {HIT: 1}
    views.close()


def test_a_log_past_its_bound_is_kept_once_and_emptied_when_it_has_been_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line() * 1000)
    views = ViewsLog(log)
    monkeypatch.setattr(views_log, "LARGEST", 1000)
    assert views.read() == {HIT: 1000}
    assert log.read_bytes() == b""
    assert (tmp_path / "access.log.old").read_bytes() == line() * 1000
    log.write_bytes(line())
    assert views.read() == {HIT: 1}
    views.close()


def test_lines_longer_than_a_reading_are_passed_over_and_much_is_read_in_several(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"x" * (views_log.CHUNK + 5) + b"\n" + line())
    views = ViewsLog(log)
    assert views.read() == {HIT: 1}
    many = views_log.CHUNK * 2 // len(line())
    with log.open("ab") as file:
        file.write(line() * many)
    assert views.read() == {HIT: many}
    views.close()
