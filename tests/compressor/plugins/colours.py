"""A plug-in that classifies pictures by their mean colour: the worst of the frames is the one with the most red."""

from __future__ import annotations

import os

from chipmunk.hooks import Looked, Plugin, Seen

NAMES = ("much red", "much green", "much blue")


class Colours(Plugin):
    def classify(self, looked: Looked) -> Seen:
        if os.path.exists(self.options.get("dies_while_file", "")):
            os._exit(1)
        length = looked.width * looked.height * 3
        frames = [looked.file.read(length) for _ in range(looked.frames)]
        if looked.file.read(1) or any(len(frame) < length for frame in frames):
            raise ValueError("there are other frames than it was told")
        means = [[sum(frame[n::3]) / (length / 3) / 255 for n in range(3)] for frame in frames]
        scores = [sum(mean[n] for mean in means) / len(means) for n in range(3)]
        return Seen(tuple(zip(NAMES, scores, strict=True)), max(0.0, *(mean[0] - mean[2] for mean in means)))
