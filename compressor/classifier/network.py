"""A network that scores pictures, loaded from ONNX, and how the pictures have to come to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from compressor.classifier.installed import Unusable

Scores = NDArray[np.float32]
LEAST_SIDE, LARGEST_SIDE = 16, 1024


@dataclass(frozen=True, slots=True)
class Preparation:
    """(value - mean) / scale, for values from 0 to 255 of red, green and blue, or blue first."""

    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    blue_first: bool = False


# As nearly all networks were trained that know ImageNet's classes (torchvision, "Models and pre-trained weights").
IMAGENET = Preparation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True, slots=True)
class Model:
    """What a network is made of: a file, or its bytes, and the name of each of its outputs."""

    source: Path | bytes
    labels: tuple[str, ...]
    preparation: Preparation = IMAGENET


class Network:
    """One input, square pictures in one of the two orders, `N×3×S×S` or `N×S×S×3`; one score for each label, or its logit."""

    def __init__(self, model: Model) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        source = model.source if isinstance(model.source, bytes) else str(model.source)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as e:
            raise Unusable(f"onnxruntime does not take it ({type(e).__name__}).") from None
        self.labels, self._preparation = model.labels, model.preparation
        self._name, self.side, self._channels_last, self._most = _input(self._session)
        found = self.scores([bytes(self.side * self.side * 3)])
        if found.shape != (1, len(self.labels)):
            raise Unusable(f"It gives {found[0].size} scores and has {len(self.labels)} labels.")

    def scores(self, pictures: list[bytes]) -> Scores:
        """A row for each picture: its scores, which sum to 1. Pictures are RGB bytes, `side` wide and high."""
        return np.concatenate([self._some(pictures[n : n + self._most]) for n in range(0, len(pictures), self._most)])

    def _some(self, pictures: list[bytes]) -> Scores:
        given, shape = self._preparation, (len(pictures), self.side, self.side, 3)
        values: NDArray[Any] = np.frombuffer(b"".join(pictures), np.uint8).reshape(shape).astype(np.float32)
        if given.blue_first:
            values = values[..., ::-1]
        values = (values - np.array(given.mean, np.float32)) / np.array(given.scale, np.float32)
        if not self._channels_last:
            values = values.transpose(0, 3, 1, 2)
        try:
            found = self._session.run(None, {self._name: np.ascontiguousarray(values)})[0]
        except Exception as e:
            raise Unusable(f"It cannot be run ({type(e).__name__}).") from None
        return _shares(np.asarray(found, np.float32).reshape(len(pictures), -1))


def _input(session: Any) -> tuple[str, int, bool, int]:
    """Name, side, whether colours come last, and most pictures at once."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(shape) != 4 or inputs[0].type != "tensor(float)" or 3 not in (shape[1], shape[3]):
        raise Unusable("It does not take one batch of coloured pictures in 32-bit floats.")
    last = shape[3] == 3
    side = shape[1] if last else shape[2]
    if not isinstance(side, int) or shape[2 if last else 3] != side or not LEAST_SIDE <= side <= LARGEST_SIDE:
        raise Unusable(f"Its pictures are not squares of a fixed size from {LEAST_SIDE} to {LARGEST_SIDE}.")
    return inputs[0].name, side, last, shape[0] if isinstance(shape[0], int) else 16


def _shares(found: Scores) -> Scores:
    """The scores as they are where they sum to 1, else what softmax makes of them as logits."""
    if not np.isfinite(found).all():
        raise Unusable("It gives scores that are no numbers.")
    if found.min() >= 0 and np.allclose(found.sum(1), 1, atol=1e-2):
        return found
    powers = np.exp(found - found.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)
