"""The cost of ONNX graphs, and graphs that consist of matrix products only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edgeapl.errors import EngineError

Shape = tuple[int, ...]

PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators that multiply matrices; all others count as free, as if fused into these."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one row of a network.

    flop : multiplications and additions, two per pair. elements : numbers read and written by the
    operators of `PRODUCTS`, including weights; times the size of a number, it is the memory
    traffic of a runtime that fuses everything else.
    """

    flop: int
    elements: int


def network_cost(name: str, model: bytes, inputs: Mapping[str, Shape]) -> Cost:
    """Count the cost of a network at these input shapes.

    Raises EngineError when a shape is unknown beforehand, as in a detector that keeps as many
    boxes as it finds.
    """
    made = onnx.load_model_from_string(model)
    for value in made.graph.input:
        if value.name in inputs:
            given = helper.make_tensor_value_info(
                value.name, value.type.tensor_type.elem_type, inputs[value.name]
            )
            value.CopyFrom(given)
    shapes = _shapes(shape_inference.infer_shapes(made, data_prop=True).graph)
    flop = elements = 0
    for node in made.graph.node:
        if node.op_type not in PRODUCTS:
            continue
        used = (*node.input[:2], node.output[0])
        if any(part not in shapes for part in used):
            mend = f"{node.op_type} {node.name} has a shape that is known only when it runs"
            raise EngineError("cost of a network is not known", name, mend)
        first, second, output = (shapes[part] for part in used)
        flop += 2 * _pairs(node, first, second, output)
        elements += sum(math.prod(shape) for shape in (first, second, output))
    return Cost(flop, elements)


def _pairs(node: Any, first: Shape, second: Shape, output: Shape) -> int:
    """Return the multiplications of a node: per number of the output, how many it sums."""
    if node.op_type == "Conv":
        return math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    if node.op_type == "Gemm":
        turned = any(part.name == "transA" and part.i for part in node.attribute)
        return math.prod(output) * (first[0] if turned else first[1])
    return math.prod(output) * first[-1]


def _shapes(graph: Any) -> dict[str, Shape]:
    shapes = {value.name: tuple(value.dims) for value in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(
            size.HasField("dim_value") for size in sizes
        ):
            shapes[value.name] = tuple(size.dim_value for size in sizes)
    return shapes


def product_model(size: int, *, int8: bool, repeat: int = 4) -> bytes:
    """Make a graph that multiplies a square matrix ``a`` by `repeat` others, one after another.

    INT8 multiplies uint8 by int8 into int32, the fastest form of onnxruntime on CPUs with dot
    products of bytes; each product takes ``a`` anew, as its result has another type.
    """
    random = np.random.default_rng(0)
    kind = TensorProto.UINT8 if int8 else TensorProto.FLOAT
    weights, nodes = [], []
    for number in range(repeat):
        values = (
            random.integers(-127, 128, (size, size)).astype(np.int8)
            if int8
            else random.normal(size=(size, size)).astype(np.float32)
        )
        weights.append(numpy_helper.from_array(values, f"b{number}"))
        operator = "MatMulInteger" if int8 else "MatMul"
        nodes.append(helper.make_node(operator, ["a", f"b{number}"], [f"y{number}"]))
        # Only one number of each is output, so that nothing large is copied out of the runtime.
        inner = f"f{number}" if int8 else f"y{number}"
        if int8:
            nodes.append(helper.make_node("Cast", [f"y{number}"], [inner], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Slice", [inner, "from", "to"], [f"o{number}"]))
    weights += [
        numpy_helper.from_array(np.array([0, 0], np.int64), "from"),
        numpy_helper.from_array(np.array([1, 1], np.int64), "to"),
    ]
    return _bytes(
        nodes,
        [helper.make_tensor_value_info("a", kind, [size, size])],
        [
            helper.make_tensor_value_info(f"o{number}", TensorProto.FLOAT, [1, 1])
            for number in range(repeat)
        ],
        weights,
    )


def _bytes(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], weights: Sequence[Any]
) -> bytes:
    graph = helper.make_graph(list(nodes), "product", list(inputs), list(outputs), list(weights))
    # onnxruntime 1.20, the oldest in use, reads opset 18 and format 9.
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())
