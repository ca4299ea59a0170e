"""One small network for each operator that onnxruntime's quantiser knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.quantising import SIZE, Rows
from tests.small_bundle import model

Middle = tuple[Sequence[onnx.NodeProto], Mapping[str, Any]]

CHANNELS = 8
UNDER_TEST = "middle"
"""Name of the node between the two convolutions."""


def node(
    kind: str, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",), **how: Any
) -> Any:
    """Make the node under test."""
    return helper.make_node(kind, list(inputs), list(outputs), name=UNDER_TEST, **how)


def drawn(*shape: int) -> Rows:
    """Give weights."""
    return np.random.default_rng(4).normal(0, 0.3, shape).astype(np.float32)


def ints(*values: int) -> Rows:
    """Give whole numbers as ONNX takes them."""
    return np.array(values, dtype=np.int64)


def after(kind: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **how: Any) -> Any:
    """Make a node that brings the tested one's output back to pictures of `CHANNELS`."""
    return helper.make_node(kind, list(inputs), list(outputs), **how)


def _transposed(**how: Any) -> Any:
    return node("ConvTranspose", ("x", "w", "b"), kernel_shape=[2, 2], strides=[2, 2], **how)


MIDDLES: dict[str, Middle] = {
    "Add": ([node("Add", ("x", "x"))], {}),
    "Add of numbers": ([node("Add", ("x", "w"))], {"w": drawn(1, 8, 1, 1)}),
    "ArgMax": (
        [
            node("ArgMax", ("x",), ("i",), axis=1, keepdims=1),
            after("Cast", ("i",), ("f",), to=TensorProto.FLOAT),
            after("Add", ("x", "f")),
        ],
        {},
    ),
    "AveragePool": ([node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])], {}),
    "BatchNormalization": (
        [node("BatchNormalization", ("x", "s", "b", "m", "v"))],
        {"s": 1 + drawn(8), "b": drawn(8), "m": drawn(8), "v": 1 + drawn(8) ** 2},
    ),
    "Clip": ([node("Clip", ("x", "low", "high"))], {"low": np.float32(0), "high": np.float32(6)}),
    "Concat": (
        [node("Concat", ("x", "x"), ("c",), axis=1), after("Slice", ("c", "a", "z", "ax"))],
        {"a": ints(4), "z": ints(12), "ax": ints(1)},
    ),
    "Conv": ([node("Conv", ("x", "w", "b"))], {"w": drawn(8, 8, 3, 3), "b": drawn(8)}),
    "Conv, grouped": ([node("Conv", ("x", "w"), group=2)], {"w": drawn(8, 4, 3, 3)}),
    "Conv, weights computed": (
        [
            after("Mul", ("w", "gain"), ("v",)),
            after("Identity", ("v",), ("u",)),
            node("Conv", ("x", "u")),
        ],
        {"w": drawn(8, 8, 3, 3), "gain": np.float32(2)},
    ),
    "Conv in one dimension": (
        [
            after("Reshape", ("x", "s"), ("r",)),
            node("Conv", ("r", "w", "b"), ("c",), pads=[1, 1]),
            after("Reshape", ("c", "t")),
        ],
        {"w": drawn(8, 8, 3), "b": drawn(8), "s": ints(0, 8, -1), "t": ints(0, 8, 16, -1)},
    ),
    "ConvTranspose": ([_transposed()], {"w": drawn(8, 8, 2, 2), "b": drawn(8)}),
    "ConvTranspose, grouped": ([_transposed(group=2)], {"w": drawn(8, 4, 2, 2), "b": drawn(8)}),
    "ConvTranspose, depthwise": ([_transposed(group=8)], {"w": drawn(8, 1, 2, 2), "b": drawn(8)}),
    "ConvTranspose, other width": (
        [
            node("ConvTranspose", ("x", "w", "b"), ("t",)),
            after("Conv", ("t", "v")),
        ],
        {"w": drawn(8, 6, 3, 3), "b": drawn(6), "v": drawn(8, 6, 1, 1)},
    ),
    "ConvTranspose, grouped, without bias": (
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], name=UNDER_TEST, group=4)],
        {"w": drawn(8, 2, 3, 3)},
    ),
    "Gemm, bias of one number": (
        [
            after("ReduceMean", ("x", "axes2"), ("m",), keepdims=0),
            node("Gemm", ("m", "w", "b"), ("g",), alpha=0.5, beta=2.0),
            after("Reshape", ("g", "s"), ("r",)),
            after("Add", ("x", "r")),
        ],
        {"w": drawn(8, 8), "b": drawn(1), "s": ints(-1, 8, 1, 1), "axes2": ints(2, 3)},
    ),
    "Gemm, bias of one row": (
        [
            after("ReduceMean", ("x", "axes2"), ("m",), keepdims=0),
            node("Gemm", ("m", "w", "b"), ("g",)),
            after("Reshape", ("g", "s"), ("r",)),
            after("Add", ("x", "r")),
        ],
        {"w": drawn(8, 8), "b": drawn(1, 8), "s": ints(-1, 8, 1, 1), "axes2": ints(2, 3)},
    ),
    "Gemm, weights on the left": (
        [
            after("ReduceMean", ("x", "axes2"), ("m",), keepdims=0),
            node("Gemm", ("w", "m"), ("g",), transB=1),
            after("Transpose", ("g",), ("h",), perm=[1, 0]),
            after("Reshape", ("h", "s"), ("r",)),
            after("Add", ("x", "r")),
        ],
        {"w": drawn(8, 8), "s": ints(-1, 8, 1, 1), "axes2": ints(2, 3)},
    ),
    "MatMul, weights on the left": ([node("MatMul", ("w", "x"))], {"w": drawn(16, 16)}),
    "MatMul, weights for each channel": ([node("MatMul", ("x", "w"))], {"w": drawn(8, 16, 16)}),
    "Conv, weights used twice": (
        [after("Conv", ("x", "w", "b"), ("c",)), node("Conv", ("c", "w", "b"))],
        {"w": drawn(8, 8, 3, 3), "b": drawn(8)},
    ),
    "Conv, bias computed": (
        [after("ReduceMean", ("x", "all"), ("b",), keepdims=0), node("Conv", ("x", "w", "b"))],
        {"w": drawn(8, 8, 3, 3), "all": ints(0, 2, 3)},
    ),
    "Conv, weights of zero": ([node("Conv", ("x", "w"))], {"w": 0 * drawn(8, 8, 3, 3)}),
    "Conv, weights used elsewhere": (
        [after("Conv", ("x", "w"), ("c",)), node("Mul", ("c", "w"))],
        {"w": drawn(8, 8, 1, 1)},
    ),
    "Conv of a constant": (
        [node("Conv", ("k", "w"), ("c",)), after("Add", ("x", "c"))],
        {"k": drawn(1, 8, 16, 16), "w": drawn(8, 8, 1, 1)},
    ),
    "Clip with one limit": ([node("Clip", ("x", "", "high"))], {"high": np.float32(6)}),
    "Clip, limit computed": (
        [after("ReduceMax", ("x",), ("m",), keepdims=0), node("Clip", ("x", "", "m"))],
        {},
    ),
    "MaxPool with places": (
        [
            node("MaxPool", ("x",), ("p", "i"), kernel_shape=[2, 2]),
            after("Cast", ("i",), ("f",), to=TensorProto.FLOAT),
            after("Mul", ("f", "tiny"), ("g",)),
            after("Add", ("p", "g")),
        ],
        {"tiny": np.float32(1e-6)},
    ),
    "Split into sizes": (
        [
            node("Split", ("x", "n"), ("s1", "s2"), axis=1),
            after("Concat", ("s2", "s1"), axis=1),
        ],
        {"n": ints(3, 5)},
    ),
    "Pad of some axes": ([node("Pad", ("x", "p", "", "ax"))], {"p": ints(1, 1), "ax": ints(3)}),
    "Gather by one number": (
        [
            node("Gather", ("x", "i"), ("g",), axis=1),
            after("Unsqueeze", ("g", "one"), ("u",)),
            after("Add", ("x", "u")),
        ],
        {"i": np.array(3), "one": ints(1)},
    ),
    "Gather from a constant": (
        [
            after("ArgMax", ("x",), ("a",), axis=1, keepdims=0),
            node("Gather", ("k", "a"), ("g",)),
            after("Transpose", ("g",), perm=[0, 3, 1, 2]),
        ],
        {"k": drawn(8, 8)},
    ),
    "GlobalAveragePool into Gemm": (
        [
            node("GlobalAveragePool", ("x",), ("g",)),
            after("Flatten", ("g",), ("f",)),
            after("Gemm", ("f", "w"), ("d",)),
            after("Reshape", ("d", "s"), ("r",)),
            after("Mul", ("x", "r")),
        ],
        {"w": drawn(8, 8), "s": ints(-1, 8, 1, 1)},
    ),
    "Relu of a sum": ([after("Add", ("x", "x"), ("t",)), node("Relu", ("t",))], {}),
    "Mul by a number on the left": ([node("Mul", ("k", "x"))], {"k": np.float32(2)}),
    "CumSum": ([node("CumSum", ("x", "axis"))], {"axis": ints(2)}),
    "Flatten": (
        [node("Flatten", ("x",), ("f",)), after("Reshape", ("f", "s"))],
        {"s": ints(-1, 8, 16, 16)},
    ),
    "Gather": ([node("Gather", ("x", "i"), axis=1)], {"i": ints(7, 6, 5, 4, 3, 2, 1, 0)}),
    "GatherElements": (
        [
            after("Shape", ("x",), ("shape",)),
            after(
                "ConstantOfShape",
                ("shape",),
                ("zeros",),
                value=helper.make_tensor("v", TensorProto.INT64, [1], [0]),
            ),
            node("GatherElements", ("x", "zeros"), axis=2),
        ],
        {},
    ),
    "Gemm": (
        [
            after("ReduceMean", ("x", "axes2"), ("m",), keepdims=0),
            node("Gemm", ("m", "w", "b"), ("g",), transB=1),
            after("Reshape", ("g", "s"), ("r",)),
            after("Add", ("x", "r")),
        ],
        {"w": drawn(8, 8), "b": drawn(8), "s": ints(-1, 8, 1, 1), "axes2": ints(2, 3)},
    ),
    "GlobalAveragePool": (
        [node("GlobalAveragePool", ("x",), ("g",)), after("Add", ("x", "g"))],
        {},
    ),
    "InstanceNormalization": (
        [node("InstanceNormalization", ("x", "s", "b"))],
        {"s": 1 + drawn(8), "b": drawn(8)},
    ),
    "LSTM": (
        [
            after("Reshape", ("x", "s"), ("r",)),
            after("Transpose", ("r",), ("q",), perm=[2, 0, 1]),
            node("LSTM", ("q", "w", "v"), ("l",), hidden_size=8),
            after("Squeeze", ("l", "one"), ("k",)),
            after("Transpose", ("k",), ("p",), perm=[1, 2, 0]),
            after("Reshape", ("p", "t")),
        ],
        {
            "s": ints(0, 8, -1),
            "w": drawn(1, 32, 8),
            "v": drawn(1, 32, 8),
            "one": ints(1),
            "t": ints(0, 8, 16, 16),
        },
    ),
    "LayerNormalization": (
        [node("LayerNormalization", ("x", "s", "b"))],
        {"s": 1 + drawn(16), "b": drawn(16)},
    ),
    "LayerNormalization without bias": (
        [node("LayerNormalization", ("x", "s"))],
        {"s": 1 + drawn(16)},
    ),
    "LeakyRelu": ([node("LeakyRelu")], {}),
    "MatMul": ([node("MatMul", ("x", "w"))], {"w": drawn(16, 16)}),
    "MatMul of two answers": (
        [after("Transpose", ("x",), ("t",), perm=[0, 1, 3, 2]), node("MatMul", ("x", "t"))],
        {},
    ),
    "MatMul by a vector": (
        [
            node("MatMul", ("x", "w"), ("v",)),
            after("Reshape", ("v", "s"), ("r",)),
            after("Add", ("x", "r")),
        ],
        {"w": drawn(16), "s": ints(0, 8, 16, 1)},
    ),
    "MaxPool": ([node("MaxPool", kernel_shape=[2, 2])], {}),
    "Mul": ([node("Mul", ("x", "x"))], {}),
    "Pad": ([node("Pad", ("x", "p"))], {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "Pad, reflecting": (
        [node("Pad", ("x", "p"), mode="reflect")],
        {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)},
    ),
    "Pad with a value": (
        [node("Pad", ("x", "p", "v"))],
        {"p": ints(0, 0, 1, 1, 0, 0, 1, 1), "v": np.float32(0.5)},
    ),
    "Relu": ([node("Relu")], {}),
    "Reshape": (
        [node("Reshape", ("x", "s"), ("r",)), after("Reshape", ("r", "t"))],
        {"s": ints(0, 8, -1), "t": ints(0, 8, 16, 16)},
    ),
    "Resize": (
        [node("Resize", ("x", "", "scales"), mode="linear")],
        {"scales": np.array([1, 1, 2, 2], dtype=np.float32)},
    ),
    "Resize to sizes": (
        [
            after("Shape", ("x",), ("n",), end=2),
            after("Concat", ("n", "hw"), ("sizes",), axis=0),
            node("Resize", ("x", "", "", "sizes"), mode="nearest"),
        ],
        {"hw": ints(20, 20)},
    ),
    "Sigmoid": ([node("Sigmoid")], {}),
    "Slice": (
        [node("Slice", ("x", "a", "z", "ax"))],
        {"a": ints(2), "z": ints(14), "ax": ints(2)},
    ),
    "Softmax": ([node("Softmax", axis=1)], {}),
    "Split": (
        [
            node("Split", ("x",), ("s1", "s2"), axis=1, num_outputs=2),
            after("Concat", ("s2", "s1"), axis=1),
        ],
        {},
    ),
    "Squeeze": (
        [
            after("Reshape", ("x", "s"), ("r",)),
            node("Squeeze", ("r", "one"), ("q",)),
            after("Identity", ("q",)),
        ],
        {"s": ints(0, 1, 8, 16, 16), "one": ints(1)},
    ),
    "TopK": (
        [node("TopK", ("x", "k"), ("t", "i"), axis=2), after("Identity", ("t",))],
        {"k": ints(5)},
    ),
    "Transpose": ([node("Transpose", perm=[0, 1, 3, 2])], {}),
    "Unsqueeze": (
        [node("Unsqueeze", ("x", "one"), ("u",)), after("Squeeze", ("u", "one"))],
        {"one": ints(1)},
    ),
    "Where": (
        [after("Greater", ("x", "zero"), ("c",)), node("Where", ("c", "x", "w"))],
        {"zero": np.float32(0), "w": drawn(1, 8, 1, 1)},
    ),
    "Where, by a constant": (
        [node("Where", ("c", "x", "w"))],
        {"c": np.arange(8).reshape(1, 8, 1, 1) % 2 == 0, "w": drawn(1, 8, 1, 1)},
    ),
}
"""What is called like an operator, or more, to the nodes that turn `x` into `y`, (n, 8, h, w) both,
and their constants."""


def operator_network(name: str) -> bytes:
    """uint8 images, a convolution, the nodes of `MIDDLES`, a convolution, mean, logits."""
    middle, values = MIDDLES[name]
    nodes = [
        helper.make_node("Transpose", ["cells"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["image"]),
        helper.make_node("Conv", ["image", "w1", "b1"], ["x"], name="first", pads=[1, 1, 1, 1]),
        *middle,
        helper.make_node("Conv", ["y", "w2", "b2"], ["c2"], name="second"),
        helper.make_node("Relu", ["c2"], ["r2"], name="rectify"),
        helper.make_node("ReduceMean", ["r2", "axes"], ["features"], keepdims=0),
        helper.make_node("Gemm", ["features", "w3"], ["logits"], name="last"),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        {
            "scale": np.float32(1 / 255),
            "w1": drawn(CHANNELS, 3, 3, 3),
            "b1": drawn(CHANNELS),
            "w2": drawn(8, CHANNELS, 1, 1),
            "b2": drawn(8),
            "axes": ints(2, 3),
            "w3": drawn(8, 3),
            **values,
        },
    )
