"""The precision in which each layer of a built network computes."""

from __future__ import annotations

from collections import Counter

import onnx

from edgeapl.calibration.quantise.graph import read_graph, weighted_nodes


def layer_precisions(model: bytes) -> dict[str, str]:
    """Map each layer with weights of an ONNX file to ``int8``, ``fp16`` or ``fp32``.

    A layer whose weights come from DequantizeLinear computes in eight bits once the runtime has
    fused it.
    """
    graph = read_graph(model).graph
    made_by = {output: node for node in graph.node for output in node.output}
    halves = {
        tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16
    }
    found = {}
    for node in weighted_nodes(graph):
        source = made_by.get(node.input[1])
        if source is not None and source.op_type == "DequantizeLinear":
            found[node.name] = "int8"
        elif halves.intersection(node.input):
            found[node.name] = "fp16"
        else:
            found[node.name] = "fp32"
    return found


def precision_counts(precisions: dict[str, str]) -> str:
    """Return how many layers compute in each precision, e.g. ``74 int8, 1 fp32``."""
    counts = Counter(precisions.values())
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), reverse=True))
