"""The graph of a network: reading, traversing and writing it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgeapl.errors import EngineError

WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that do nearly all of the work."""

OLDEST_OPSET = 18
NEWEST_OPSET = 19


def read_graph(model: bytes) -> onnx.ModelProto:
    """Read a network and give every unnamed node a unique name.

    Raises EngineError when the bytes are not an ONNX file, or cannot be converted.
    """
    try:
        loaded = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's and onnx's own exceptions share no base class
        raise EngineError("network is not an ONNX file", "", "export the bundle again") from error
    for node in loaded.graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise EngineError(
                "network has branches or loops in it",
                f"{node.op_type} {node.name}",
                "build it with --precision fp32",
            )
    opset = opset_of(loaded)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise EngineError(
            "network is written for another version of ONNX",
            f"opset {opset}",
            f"export it with opset {OLDEST_OPSET}",
        )
    name_nodes(loaded.graph)
    return loaded


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that the network uses."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain == ""), 0)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Name nodes without a unique name by operator and position."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for place, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{place}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def written(model: onnx.ModelProto) -> bytes:
    """Check a network, infer the types and shapes of all its tensors, and return its bytes.

    Raises EngineError when it is invalid: then this code is wrong, not the network.
    """
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        why = str(error).strip().splitlines()
        raise EngineError(
            "converted network is not valid", why[0] if why else "", "build it as FP32"
        ) from error
    return bytes(model.SerializeToString())


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sort nodes topologically, otherwise keeping their order."""
    waiting: dict[str, list[int]] = {}
    missing = []
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    made = {name for node in graph.node for name in node.output}
    for place, node in enumerate(graph.node):
        needs = {name for name in node.input if name in made and name not in known}
        missing.append(len(needs))
        for name in needs:
            waiting.setdefault(name, []).append(place)
    ready = [place for place, count in enumerate(missing) if not count]
    order = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for name in graph.node[place].output:
            for later in waiting.pop(name, ()):
                missing[later] -= 1
                if not missing[later]:
                    heapq.heappush(ready, later)
    nodes = [graph.node[place] for place in order]
    assert len(nodes) == len(missing)  # the network had no cycle before either
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove unused initializers."""
    used = {name for node in graph.node for name in node.input}
    used |= {value.name for value in graph.output}
    weights = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor, including initializers."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    return types | {weight.name: int(weight.data_type) for weight in graph.initializer}


def constants(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Return all floating-point initializers as arrays."""
    return {
        weight.name: numpy_helper.to_array(weight)
        for weight in graph.initializer
        if weight.data_type == TensorProto.FLOAT
    }


def inputs_of(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return the inputs without initializers."""
    weights = {weight.name for weight in graph.initializer}
    return tuple(value.name for value in graph.input if value.name not in weights)


def downstream(graph: onnx.GraphProto, starts: Iterable[str]) -> set[str]:
    """Return the names of the nodes that depend on these tensors. Nodes must be sorted."""
    reached = set(starts)
    nodes = set()
    for node in graph.node:
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
            nodes.add(node.name)
    return nodes


def upstream(graph: onnx.GraphProto, ends: Iterable[str]) -> set[str]:
    """Return the names of the nodes on which these tensors depend."""
    wanted = set(ends)
    nodes = set()
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            nodes.add(node.name)
    return nodes


def weighted_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that multiply by constant weights, quantised or not, in order."""
    stored = {weight.name for weight in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            stored.add(node.output[0])
        if node.op_type in WEIGHED and len(node.input) > 1 and node.input[1] in stored:
            yield node
