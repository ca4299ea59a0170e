"""Rewrites eight-bit networks into the form for which onnxruntime has fast kernels."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeapl.calibration.quantise.graph import drop_unused, read_graph, written

AMX_PRODUCTS = 512
"""Products per output value of a convolution from which the matrix product is used on a CPU with
AMX; `tests/peers/rewritten.py` measures smaller ones.
"""

SHIFT = -1
"""Zero point of weights. Weights from -127 to 127 are stored as -128 to 126, without loss."""


ELEMENTWISE = ("Add", "Div", "Mul", "Sub")

MOST_COLOURS = 4
"""Most channels of a picture; with more, one number per pixel would make its constant large."""


def optimise_for_onnxruntime(model: bytes, amx_products: int | None) -> bytes:
    """Rewrite a network so that onnxruntime computes the same, faster.

    Parameters
    ----------
    model : output of `edgeapl.calibration.quantise.qdq.qdq_onnxruntime`.
    amx_products : fewest products per output value for convolutions that AMX computes; None if the
        CPU has none. onnxruntime 1.31 uses AMX only in its matrix product, and computes
        convolutions with that only if the weights have a zero point other than 0, otherwise with
        vectors.
    """
    loaded = read_graph(model)
    _rectify_by_table(loaded.graph)
    _spread_constants(loaded)
    if amx_products is not None:
        _multiply_as_matrices(loaded.graph, amx_products)
    return written(loaded)


def _rectify_by_table(graph: onnx.GraphProto) -> None:
    """Replace a ReLU between eight-bit tensors by a LeakyReLU with slope 0.

    onnxruntime computes the latter by a table of 256 answers, the former in FP32.
    """
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    eight = {n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    for node in graph.node:
        dequantised = made_by.get(node.input[0]) == "DequantizeLinear" if node.input else False
        if node.op_type == "Relu" and dequantised and node.output[0] in eight:
            node.op_type = "LeakyRelu"
            node.attribute.append(helper.make_attribute("alpha", 0.0))


def _spread_constants(model: onnx.ModelProto) -> None:
    """Expand per-colour constants of networks that normalise pictures to one per pixel.

    onnxruntime stores colours last. With one number per colour it then processes three pixels at a
    time, where it could use whole vectors.
    """
    graph = model.graph
    shapes = _shapes(model)
    stored = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        for place, name in enumerate(node.input if node.op_type in ELEMENTWISE else ()):
            whole = shapes.get(node.output[0], ())
            if name not in stored or shapes.get(node.input[1 - place]) != whole:
                continue
            values = numpy_helper.to_array(stored[name])
            picture = whole[1:]
            if values.shape != (1, *picture[:1], 1, 1) or not 1 < values.size <= MOST_COLOURS:
                continue
            alike = (values == values.flat[0]).all()
            spread = values.reshape(-1)[0] if alike else np.broadcast_to(values, (1, *picture))
            node.input[place] = f"{name}_spread"
            if node.input[place] not in stored:
                made = numpy_helper.from_array(np.ascontiguousarray(spread), node.input[place])
                graph.initializer.append(made)
                stored[made.name] = made
    drop_unused(graph)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor whose sizes are known but for the first, which becomes 0."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        if sizes and all(sizes[1:]):
            found[value.name] = (0, *sizes[1:])
    return found


def _multiply_as_matrices(graph: onnx.GraphProto, fewest: int) -> None:
    """Set a nonzero zero point of the weights in convolutions with at least `fewest` products."""
    stored = {weight.name: weight for weight in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        weights = made_by.get(node.input[1]) if node.op_type == "Conv" else None
        if weights is None or not set(weights.input) <= stored.keys():
            continue
        values = numpy_helper.to_array(stored[weights.input[0]])
        zero = numpy_helper.to_array(stored[weights.input[2]])
        many = int(np.prod(values.shape[1:])) >= fewest
        if not many or values.dtype != np.int8 or zero.any() or values.min() < -np.int8(127):
            continue
        for place, shifted in ((0, values + np.int8(SHIFT)), (2, zero + np.int8(SHIFT))):
            name = f"{weights.input[place]}_shifted"
            weights.input[place] = name
            graph.initializer.append(numpy_helper.from_array(shifted, name))
    drop_unused(graph)
