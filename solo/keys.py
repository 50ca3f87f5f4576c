"""The keys that nobody set: made at first start, kept in files of mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from chipmunk.config import Settings
from solo.refusal import Refusal

FILES = {
    "api_key": ("api.key", "cmk_"),
    "operator_key": ("operator.key", "cmo_"),
    "secret_keys": ("secret.keys", ""),
    "master_keys": ("master.keys", ""),
}


def with_keys(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """Settings in which every key is set, and those of them that were made just now."""
    folder, values, fresh = settings.data_dir / "keys", {}, {}
    for field, (name, prefix) in FILES.items():
        if getattr(settings, field):
            continue
        if not (folder / name).exists():
            fresh[field] = prefix + secrets.token_urlsafe(32)
            _keep(folder / name, fresh[field])
        values[field] = (folder / name).read_text().strip()
        if not values[field]:
            raise Refusal(f"{folder / name} is empty: restore it, or remove it to have a new key made.")
    split = {field: value.split(",") for field, value in values.items()}
    several = {field: tuple(words) for field, words in split.items() if field in ("secret_keys", "master_keys")}
    return settings.model_copy(update={**values, **several}), fresh


def _keep(path: Path, value: str) -> None:
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
