"""A convolutional network small enough for tests, and its ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeapl.calibration.quantise.graph import element_types
from tests.small_bundle import model

Range = tuple[float, float]
Rows = NDArray[Any]
SIZE = 16
CLASSES = ("a", "b", "c")
FIRST, SECOND, THIRD = "first", "second", "linear"
"""Names of the layers with weights."""


def conv_network(*, named: bool = True, epsilon: float = 0.0, gain: float = 1.0) -> bytes:
    """uint8 images, two convolutions with a residual sum, mean, a linear layer, softmax.

    epsilon : added between the layers, if it is not 0. gain : of the second convolution.
    """
    rng = np.random.default_rng(7)
    nodes = [
        helper.make_node("Transpose", ["cells"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["image"]),
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], name=FIRST, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Add", ["r1", "epsilon"], ["r2"], name="shift"),
        helper.make_node("Conv", ["r2", "w2", "b2"], ["c2"], name=SECOND, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r2"], ["sum"]),
        helper.make_node("ReduceMean", ["sum", "axes"], ["features"], keepdims=0),
        helper.make_node("Gemm", ["features", "w3", "b3"], ["logits"], name=THIRD),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        *[helper.make_node("Gather", ["p", str(n)], [c], axis=1) for n, c in enumerate(CLASSES)],
    ]
    if not named:
        for node in nodes:
            node.ClearField("name")
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            *[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in CLASSES],
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 8]),
        ],
        {
            "scale": np.float32(1 / 255),
            "w1": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
            "b1": rng.normal(0, 0.1, 8).astype(np.float32),
            "epsilon": np.float32(epsilon),
            "w2": (gain * rng.normal(0, 0.2, (8, 8, 3, 3))).astype(np.float32),
            "b2": rng.normal(0, 0.1, 8).astype(np.float32),
            "axes": np.array([2, 3]),
            "w3": rng.normal(0, 3, (8, 3)).astype(np.float32),
            "b3": np.zeros(3, dtype=np.float32),
            **{str(number): np.array(number) for number in range(3)},
        },
    )


def images(count: int = 8) -> dict[str, Rows]:
    """Give inputs of `conv_network`: flat colours with noise."""
    rng = np.random.default_rng(3)
    colours = rng.integers(30, 225, (count, 1, 1, 3))
    noise = rng.normal(0, 20, (count, SIZE, SIZE, 3))
    return {"cells": np.clip(colours + noise, 0, 255).astype(np.uint8)}


def run(network: bytes, inputs: Mapping[str, Rows]) -> dict[str, Rows]:
    """Run a network in onnxruntime as it is."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))


def measured(network: bytes, inputs: Mapping[str, Rows]) -> dict[str, Range]:
    """Measure smallest and largest values of all tensors of float32."""
    loaded = onnx.load_model_from_string(network)
    types = element_types(loaded)
    stored = {weight.name for weight in loaded.graph.initializer}
    given = {value.name for value in loaded.graph.output}
    names = [
        name
        for node in loaded.graph.node
        for name in node.output
        if types.get(name) == TensorProto.FLOAT and name not in stored
    ]
    for name in names:
        if name not in given:
            loaded.graph.output.append(onnx.ValueInfoProto(name=name))
    values: dict[str, Any] = {**run(loaded.SerializeToString(), inputs), **inputs}
    return {
        name: (float(values[name].min()), float(values[name].max()))
        for name in (*names, *inputs)
        if values[name].dtype == np.float32
    }


def nodes_of(network: bytes) -> dict[str, onnx.NodeProto]:
    """Give the nodes by name; two of one name fail."""
    nodes = list(onnx.load_model_from_string(network).graph.node)
    by_name = {node.name: node for node in nodes}
    assert len(by_name) == len(nodes)
    assert "" not in by_name
    return by_name


def separable_network(channels: int = 540, *, last: str = "wide") -> bytes:
    """uint8 images, a residual block of a depthwise and a pointwise convolution, mean, logits.

    last : what else uses the block's channels: "wide" none, "output" the caller, "concat" a node
    that puts channels together, "gate" a map of one channel that they are multiplied by.
    """
    rng = np.random.default_rng(5)

    def drawn(*shape: int) -> Rows:
        return rng.normal(0, 2 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    end = {"concat": "both", "gate": "gated"}.get(last, "r2")
    width = 2 * channels if last == "concat" else channels
    nodes = [
        helper.make_node("Transpose", ["cells"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["image"]),
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], name="first", strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node(
            "Conv", ["r1", "wd", "bd"], ["d"], name="deep", group=channels, pads=[1, 1, 1, 1]
        ),
        helper.make_node("Conv", ["d", "w2", "b2"], ["c2"], name="point"),
        helper.make_node("Add", ["c2", "c1"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r2"], name="rectify"),
    ]
    if last == "concat":
        nodes.append(helper.make_node("Concat", ["r2", "r1"], ["both"], axis=1))
    if last == "gate":
        nodes.append(helper.make_node("Conv", ["r2", "wg"], ["map"], name="gate"))
        nodes.append(helper.make_node("Mul", ["r2", "map"], ["gated"]))
    nodes += [
        helper.make_node("Conv", [end, "w3", "b3"], ["c3"], name="narrow"),
        helper.make_node("ReduceMean", ["c3", "axes"], ["features"], keepdims=0),
        helper.make_node("Gemm", ["features", "w4"], ["logits"], name=THIRD),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])]
    if last == "output":
        shape = ["n", channels, 7, 7]
        outputs.append(helper.make_tensor_value_info("r2", TensorProto.FLOAT, shape))
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        outputs,
        {
            "scale": np.float32(1 / 255),
            "w1": drawn(channels, 3, 3, 3),
            "b1": drawn(channels, 9)[:, 0],
            "wd": drawn(channels, 1, 3, 3),
            "bd": drawn(channels, 9)[:, 0],
            "w2": drawn(channels, channels, 1, 1),
            "b2": drawn(channels, 9)[:, 0],
            **({"wg": drawn(1, channels, 1, 1)} if last == "gate" else {}),
            "w3": drawn(8, width, 1, 1),
            "b3": drawn(8, 9)[:, 0],
            "axes": np.array([2, 3]),
            "w4": drawn(8, 3),
        },
    )
