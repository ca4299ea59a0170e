"""Emulates the rounding of FP16 and TF32 on a CPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeapl.calibration.quantise.graph import (
    WEIGHED,
    element_types,
    name_nodes,
    read_graph,
    written,
)

TF32_SPLIT = 2.0**13 + 1
"""Multiplying by this, and subtracting the excess again, keeps the 11 leading bits of a number's 24
(Veltkamp 1968): TF32 has no others."""


def with_fp16_rounding(model: bytes) -> bytes:
    """Write an FP16 network so that onnxruntime's CPU rounds every half, for a proof without a GPU.

    That runtime computes most FP16 operators in FP32 and, between two of them, omits the rounding,
    so overflow and lost digits would go unnoticed. Behind each of them a node that it runs in FP16
    (``Max(x, x)``) forces the rounding.

    This stands in for a GPU but does not answer for it. A GPU that fuses operators rounds less
    often between them; one that accumulates products in halves, as FP16 kernels may, loses more
    within a single operator than this shows, and the order of its additions is its own. Plans are
    therefore proven again where they run, and clear no slide before that.
    """
    loaded = read_graph(model)
    graph = loaded.graph
    types = element_types(loaded)
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name and types.get(name) == TensorProto.FLOAT16:
                exact = f"{name}_unrounded"
                node.output[place] = exact
                rounding = helper.make_node("Max", [exact, exact], [name], name=f"Round_{name}")
                nodes.append(rounding)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    name_nodes(graph)
    return written(loaded)


def with_tf32_products(model: bytes) -> bytes:
    """Write an FP32 network whose layers with weights multiply as a GPU does in TF32.

    Factors are rounded to 10 bits after the leading one, and products are added up in FP32.
    """
    loaded = read_graph(model)
    graph = loaded.graph
    types = element_types(loaded)
    split = "tf32_split"
    graph.initializer.append(numpy_helper.from_array(np.float32(TF32_SPLIT), split))
    nodes: list[onnx.NodeProto] = []
    rounded: dict[str, str] = {}
    for node in graph.node:
        for place, name in enumerate(node.input[:2] if node.op_type in WEIGHED else ()):
            if types.get(name) != TensorProto.FLOAT:
                continue
            if name not in rounded:
                wide, above, rounded[name] = (f"{name}_tf32_{part}" for part in "abc")
                steps = (("Mul", [name, split], wide), ("Sub", [wide, name], above))
                for kind, given, made in (*steps, ("Sub", [wide, above], rounded[name])):
                    nodes.append(helper.make_node(kind, given, [made], name=made))
            node.input[place] = rounded[name]
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return written(loaded)
