from __future__ import annotations

from pathlib import Path

import pytest

from chipmunk import config
from solo.keys import with_keys
from solo.refusal import Refusal


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path


def test_keys_are_made_once_and_kept_where_only_their_owner_reads_them(data_dir: Path) -> None:
    first, fresh = with_keys(config.load({}, data_dir=data_dir))
    again, nothing = with_keys(config.load({}, data_dir=data_dir))
    assert first == again
    assert nothing == {}
    assert fresh == {
        "api_key": first.api_key,
        "operator_key": first.operator_key,
        "secret_keys": first.secret_keys[0],
        "master_keys": first.master_keys[0],
    }
    assert first.api_key.startswith("cmk_")
    assert first.operator_key.startswith("cmo_")
    assert all(len(key) >= 43 for key in fresh.values())
    assert {path.stat().st_mode & 0o777 for path in (data_dir / "keys").iterdir()} == {0o600}


def test_keys_that_are_set_are_used_and_not_written_down(data_dir: Path) -> None:
    settings, fresh = with_keys(
        config.load({}, data_dir=data_dir, api_key="cmk_given-by-you", secret_keys="a" * 32 + "," + "b" * 32)
    )
    assert settings.api_key == "cmk_given-by-you"
    assert settings.secret_keys == ("a" * 32, "b" * 32)
    assert set(fresh) == {"operator_key", "master_keys"}
    assert {path.name for path in (data_dir / "keys").iterdir()} == {"operator.key", "master.keys"}


@pytest.mark.parametrize("name", ["secret", "master"])
def test_signing_and_master_keys_may_be_rotated_in_their_file(name: str, data_dir: Path) -> None:
    (data_dir / "keys" / f"{name}.keys").write_text(f"{'n' * 40},{'o' * 40}\n")
    settings = with_keys(config.load({}, data_dir=data_dir))[0]
    assert getattr(settings, f"{name}_keys") == ("n" * 40, "o" * 40)


def test_an_empty_key_file_is_refused_rather_than_replaced(data_dir: Path) -> None:
    (data_dir / "keys" / "secret.keys").touch()
    with pytest.raises(Refusal, match=r"secret\.keys is empty"):
        with_keys(config.load({}, data_dir=data_dir))
