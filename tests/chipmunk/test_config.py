from pathlib import Path

import pytest

from chipmunk import config
from chipmunk.errors import SettingsError


def test_a_value_may_come_from_a_file_and_loses_its_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("cmk_abcdefgh\n")
    assert config.load({"CHIPMUNK_API_KEY_FILE": str(tmp_path / "key")}).api_key == "cmk_abcdefgh"


def test_a_value_and_its_file_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CHIPMUNK_API_KEY_FILE"):
        config.load({"CHIPMUNK_API_KEY": "x", "CHIPMUNK_API_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("ORIGINS", "https://a.example/path"),
        ("ORIGINS", "*"),
        ("TRUSTED_PROXIES", "everyone"),
        ("RUNG_QUALITIES", "1,2,3"),
        ("RUNG_EFFORTS", "7,6,4,4,4,4"),
        ("JWT_ALGORITHMS", "HS256"),
        ("JWT_ALGORITHMS", "none"),
        ("HOST", "127.0.0.1; include /etc/passwd"),
        ("PUBLIC_URL", "ftp://x"),
        ("COOKIE_SAME_SITE", "strict"),
        ("API_KEY", "secret"),
        ("OPERATOR_KEY", "cmk_0123456789"),
        ("SECRET_KEYS", "short"),
        ("MASTER_KEYS", "short"),
    ],
)
def test_a_wrong_value_is_refused_by_name_without_being_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config.load({f"CHIPMUNK_{name}": value})
    assert f"CHIPMUNK_{name}" in str(caught.value)
    assert "KEY" not in name or value not in str(caught.value)


def test_a_misspelt_setting_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="CHIPMUNK_QOUTA"):
        config.load({"CHIPMUNK_QOUTA": "1"})


def test_secrets_are_not_in_the_printed_settings() -> None:
    settings = config.load({"CHIPMUNK_API_KEY": "cmk_verysecret", "CHIPMUNK_SECRET_KEYS": "a" * 40})
    settings = settings.model_copy(update={"master_keys": ("m" * 40,)})
    assert "verysecret" not in repr(settings)
    assert "aaaa" not in repr(settings)
    assert "mmmm" not in repr(settings)


def test_a_socket_fits_below_any_data_directory() -> None:
    deep = config.load({"CHIPMUNK_DATA_DIR": "/tmp/" + "x" * 120})
    assert len(str(deep.run_dir / ".s.PGSQL.5432.lock")) < 108


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "cross-origin"),
        ({"PUBLIC_URL": "http://localhost:8080"}, "cross-origin"),
        ({"PUBLIC_URL": "http://[::1]:8080"}, "cross-origin"),
        ({"PUBLIC_URL": "https://media.example.com"}, "same-site"),
        ({"PUBLIC_URL": "https://media.example.com", "COOKIE_SAME_SITE": "none"}, "cross-origin"),
        ({"RESOURCE_POLICY": "same-origin"}, "same-origin"),
    ],
)
def test_views_are_for_the_same_site_where_browsers_can_tell_what_that_is(
    settings: dict[str, str], expected: str
) -> None:
    given = {f"CHIPMUNK_{name}": value for name, value in settings.items()}
    assert config.load(given).view_policy == expected


def test_a_login_that_lacks_its_audience_or_its_keys_is_refused() -> None:
    with pytest.raises(SettingsError, match="CHIPMUNK_JWT_AUDIENCE and CHIPMUNK_JWT_JWKS"):
        config.load({"CHIPMUNK_JWT_ISSUER": "https://login.example.com/"})
