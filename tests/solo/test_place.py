from __future__ import annotations

import os
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from chipmunk import config
from chipmunk.config import Settings
from solo import place
from solo.privileges import Account
from solo.refusal import Refusal
from tests.harness import free_port


def test_a_directory_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    with place.hold(tmp_path / "data"), pytest.raises(Refusal, match="already runs on"):
        place.hold(tmp_path / "data")
    place.hold(tmp_path / "data").close()


def test_a_directory_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    with pytest.raises(Refusal, match="holds something else"):
        place.hold(tmp_path)
    assert os.listdir(tmp_path) == ["letters"]


def test_a_directory_that_cannot_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="cannot be written: Not a directory"):
        place.hold(tmp_path / "file" / "data")


def test_a_full_disk_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(Refusal, match="0 MiB left on its disk and needs 300"):
        place.furnish(tmp_path)
    assert os.listdir(tmp_path) == []


def test_its_folders_are_private(tmp_path: Path) -> None:
    place.furnish(tmp_path)
    assert {entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == {0o700}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(place, "MEMORY", tmp_path / "shm")
    (tmp_path / "data").mkdir()
    place.furnish(tmp_path / "data")
    return config.load({"CHIPMUNK_DATA_DIR": str(tmp_path / "data")})


def test_decisions_are_kept_in_memory_until_the_end_and_none_of_an_earlier_run(settings: Settings) -> None:
    for _ in range(2):
        place.clear(settings)
        kept = settings.run_dir / "decisions"
        assert kept.resolve().parent == place.MEMORY
        assert (kept.stat().st_mode & 0o777, list(kept.iterdir())) == (0o700, [])
        (kept / "decision").touch()
    place.forget_decisions(settings)
    assert list(place.MEMORY.iterdir()) == []


def test_where_memory_has_no_place_for_decisions_they_lie_below_the_data_directory(settings: Settings) -> None:
    (place.MEMORY / settings.short_name).symlink_to("/etc")
    place.clear(settings)
    assert not (settings.run_dir / "decisions").is_symlink()
    place.forget_decisions(settings)
    assert Path("/etc/passwd").exists()


def test_a_port_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Refusal, match=f"Port {port} on 127.0.0.1 is in use"):
            place.listen("127.0.0.1", port)


def test_what_nginx_is_handed_never_holds_a_worker_in_accept() -> None:
    for taken in place.listen("localhost", free_port()):
        with taken, pytest.raises(BlockingIOError):
            taken.accept()


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(Refusal, match=f"Cannot listen on {host}"):
        place.listen(host, free_port())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_what_is_ours_to_the_account_and_follows_no_link(tmp_path: Path) -> None:
    data = tmp_path / "data"
    place.hold(data).close()
    place.furnish(data)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (data / "store" / "link").symlink_to(elsewhere)
    (data / "store" / "file").touch()
    (data / "postgres").symlink_to(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    place.give(data, Account("nobody", 65534, 65534))
    assert elsewhere.stat().st_uid == (tmp_path / "other" / "file").stat().st_uid == 0
    assert {p.lstat().st_uid for p in (data, *data.rglob("*"))} == {65534}
