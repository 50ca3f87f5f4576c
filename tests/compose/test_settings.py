"""What compose users can set, held to the table of settings."""

from __future__ import annotations

import re

from chipmunk import config
from chipmunk.config import PREFIX, Settings
from solo.packages import PROJECT

FIXED_BY_SOLO = {"NGINX", "USER", "WORKERS"}
NAME = re.compile(rf"^(?:# )?{PREFIX}([A-Z0-9_]+)=(.*)$", re.MULTILINE)


def _example() -> dict[str, str]:
    return dict(NAME.findall((PROJECT / ".env.example").read_text()))


def _composed() -> set[str]:
    found = re.findall(rf"^ +{PREFIX}([A-Z0-9_]+):", (PROJECT / "docker-compose.yml").read_text(), re.MULTILINE)
    return {name.removesuffix("_FILE") for name in found}


def test_each_setting_is_in_the_example_or_given_by_the_compose_file_or_for_one_machine_alone() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    assert settings - set(_example()) - _composed() == FIXED_BY_SOLO | {"RESOLVER"}
    assert set(_example()) <= settings
    assert _composed() <= settings


def test_the_example_is_taken_as_it_is_and_with_every_line_in_force() -> None:
    config.load({PREFIX + name: value for name, value in _example().items()})


def test_what_the_example_says_a_number_is_by_default_it_is() -> None:
    example, settings = _example(), config.load({})
    for name in ("DEFAULT_QUOTA_BYTES", "MAX_FILE_BYTES", "MAX_PIXELS", "DECODE_MEMORY_BYTES", "CACHE_MAX_AGE"):
        assert int(example[name]) == getattr(settings, name.lower()), name
