"""Networks as small as can be, real ones all the same: they score pictures by their mean colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

COLOURS = ("red things", "green things", "blue things")
SIDE = 32


def _graph(nodes: list[Any], kept: list[Any], shape: list[Any], outputs: int) -> bytes:
    given = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", outputs])
    graph = helper.make_graph(nodes, "colours", [given], [made], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _mean(picture: str) -> list[Any]:
    """Nodes that give the mean of each colour as `mean`, N×3."""
    return [
        helper.make_node("GlobalAveragePool", [picture], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
    ]


def colours(folder: Path) -> str:
    """Tells which colour there is most of; its outputs are logits."""
    nodes = [*_mean("picture"), helper.make_node("Mul", ["mean", "steep"], ["scores"])]
    path = folder / "colours.onnx"
    path.write_bytes(_graph(nodes, [numpy_helper.from_array(np.float32(3), "steep")], ["n", 3, SIDE, SIDE], 3))
    path.with_suffix(".txt").write_text("\n".join(COLOURS) + "\n")
    return str(path)


def red_is_unsafe(folder: Path) -> str:
    """Takes the more red than blue there is the more for unsafe; its pictures have their colours last, and its outputs are
    scores. It takes one at a time."""
    nodes = [
        helper.make_node("Transpose", ["picture"], ["turned"], perm=[0, 3, 1, 2]),
        *_mean("turned"),
        helper.make_node("MatMul", ["mean", "weigh"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    weigh = numpy_helper.from_array(np.float32([[3, 0], [0, 0], [0, 3]]), "weigh")
    path = folder / "red.onnx"
    path.write_bytes(_graph(nodes, [weigh], [1, SIDE, SIDE, 3], 2))
    path.with_suffix(".txt").write_text("unsafe\nsafe\n")
    return str(path)
