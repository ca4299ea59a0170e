"""Halves that are really rounded, on a CPU."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from edgeapl.calibration.quantise.graph import element_types, name_nodes, read_graph, written


def rounded_everywhere(model: bytes) -> bytes:
    """Write an FP16 network so that onnxruntime's CPU rounds every half, for a proof without a GPU.

    That runtime computes most FP16 operators in FP32 and, where two of them meet, leaves out the
    rounding between: overflow and lost digits would not be seen. A node that it runs in FP16
    (``Max(x, x)``) behind each of the others makes it round.

    This stands in for a GPU and does not answer for it. One that fuses operators rounds less often
    between them; one that adds products up in halves, as kernels for FP16 may, loses more within a
    single operator than this shows, and the order in which it adds is its own. Plans are therefore
    proven again where they run, and clear no slide before.
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
