"""FP16: a strongly typed network whose inputs and outputs keep their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeapl.calibration.quantise.graph import (
    NEWEST_OPSET,
    WEIGHED,
    drop_unused,
    element_types,
    name_nodes,
    read_graph,
    written,
)
from edgeapl.calibration.quantise.layers import after_weights, before_weights, explaining

Range = tuple[float, float]

LARGEST = float(np.finfo(np.float16).max)
"""65504, above which a half is infinite."""

HEADROOM = 4
"""How far beyond the calibration set's range a tensor may reach without overflowing a half."""

SCALE_ERROR = 2.0**-10
"""Largest relative error of a scale as a half: twice the rounding error of a normal half. Scales
below 6e-5, where halves lose digits, have more.
"""

OLDEST_IR = 9
"""The file format that came with opset 19."""

SENSITIVE = frozenset(
    {
        # Exponents and logarithms: a half ends at exp(11).
        *("Exp", "Log", "Pow", "Softplus", "LogSoftmax", "ReduceLogSumExp", "Erf"),
        # Sums over many numbers: a half stops counting at 2048.
        *("ReduceSum", "ReduceSumSquare", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceProd"),
        *("GlobalAveragePool", "CumSum", "Einsum"),
        # Small differences of large numbers.
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization"),
        *("MeanVarianceNormalization", "LpNormalization", "Sqrt", "Reciprocal"),
        # Runtimes differ in the types that its scales may have.
        "Resize",
    }
)
SENSITIVE_AT_THE_END = frozenset({"Softmax", "Sigmoid", "Div", "HardSigmoid", "Tanh", "Clip"})
"""Harmless between layers; those that produce the answer stay exact."""


def to_fp16(
    model: bytes,
    keep: frozenset[str] = frozenset(),
    ranges: Mapping[str, Range] | None = None,
) -> tuple[bytes, tuple[str, ...]]:
    """Write a network in FP16, except for its inputs and outputs.

    Parameters
    ----------
    model : ONNX file in FP32, or with Q/DQ nodes as `qdq_tensorrt` writes them.
    keep : names of nodes that stay in FP32.
    ranges : tensor to smallest and largest value seen; nodes that come near the limits of a half
        stay in FP32.

    Returns the file and the names of the nodes that compute in FP32: those requested, the
    normalisation of images, softmax and sigmoid of the answer, exponents, long sums, Grad-CAM
    arithmetic, and nodes whose numbers do not fit. Raises EngineError when the network cannot
    be converted.
    """
    loaded = read_graph(model)
    kept = _kept(model, loaded, keep, ranges or {})
    types = element_types(loaded)
    for entry in loaded.opset_import:
        # Opset 19 only adds types and attributes to 18; Q/DQ nodes need it for FP16 scales.
        if entry.domain == "":
            entry.version = NEWEST_OPSET
    loaded.ir_version = max(loaded.ir_version, OLDEST_IR)
    _Fp16Converter(loaded.graph, types, kept).convert()
    return written(loaded), tuple(node.name for node in loaded.graph.node if node.name in kept)


def _kept(
    model: bytes, loaded: onnx.ModelProto, keep: frozenset[str], ranges: Mapping[str, Range]
) -> frozenset[str]:
    graph = loaded.graph
    values = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    at_the_end = after_weights(model)
    first = before_weights(model)
    exact = set(keep | explaining(model))
    for node in graph.node:
        if node.name in first and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            exact.add(node.name)
        sensitive = node.op_type in SENSITIVE
        sensitive |= node.op_type in SENSITIVE_AT_THE_END and node.name in at_the_end
        given = [name for name in (*node.input, *node.output) if name]
        reaches = max((_reach(ranges.get(name)) for name in given), default=0.0)
        stored = [values[name] for name in node.input if name in values]
        if sensitive or reaches > LARGEST / HEADROOM or not _fit(node, stored):
            exact.add(node.name)
    return _scaled_exactly(graph, exact)


def _reach(limits: Range | None) -> float:
    return 0.0 if limits is None else max(abs(limits[0]), abs(limits[1]))


def _fit(node: onnx.NodeProto, stored: list[NDArray[np.generic]]) -> bool:
    """Return whether a node's constants survive as halves.

    Weights may become zero, as they are then too small to matter; other constants may not: an
    epsilon that becomes zero leads to division by it.
    """
    for constant in stored:
        if constant.dtype != np.float32:
            continue
        values = np.asarray(constant, dtype=np.float32)
        with np.errstate(over="ignore", under="ignore"):
            half = values.astype(np.float16).astype(np.float32)
        if not np.isfinite(half).all():
            return False
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            if (np.abs(half - values) > SCALE_ERROR * np.abs(values)).any():
                return False
        elif node.op_type not in WEIGHED and ((half == 0) & (values != 0)).any():
            return False
    return True


def _scaled_exactly(graph: onnx.GraphProto, exact: set[str]) -> frozenset[str]:
    """Return `exact`, extended so that a layer with weights and its DQ nodes have one precision.

    A cast between them would keep TensorRT from running the layer in eight bits.
    """
    of = {name: node for node in graph.node for name in node.output}
    joined = [
        {node.name}
        | {of[name].name for name in node.input if name in of and _dequantizes(of[name])}
        for node in graph.node
        if node.op_type in WEIGHED
    ]
    grown = set(exact)
    again = True
    while again:
        again = False
        for names in joined:
            if len(names) > 1 and not names.isdisjoint(grown) and not names <= grown:
                grown |= names
                again = True
    return frozenset(grown)


def _dequantizes(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == "DequantizeLinear")


@dataclass
class _Fp16Converter:
    """Rewrites a graph in place.

    types : tensor to its original element type. kept : nodes that stay in FP32.
    """

    graph: onnx.GraphProto
    types: dict[str, int]
    kept: frozenset[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: dict[tuple[str, int], str] = field(default_factory=dict)

    def convert(self) -> None:
        """Convert all nodes that are not kept, with casts at the borders."""
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        self.now = dict(self.types)
        outputs = {value.name for value in self.graph.output}
        for node in self.graph.node:
            half = node.name not in self.kept
            fixed = _fixed_inputs(node)
            for place, name in enumerate(node.input):
                if name and self.types.get(name) == TensorProto.FLOAT and place not in fixed:
                    node.input[place] = self._as(name, half=half)
            self.nodes.append(node)
            if half:
                self._halve(node, outputs)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        drop_unused(self.graph)
        name_nodes(self.graph)

    def _halve(self, node: onnx.NodeProto, outputs: set[str]) -> None:
        """Make a node output halves, and record their type."""
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(numpy_helper.from_array(values.astype(np.float16)))
        for place, name in enumerate(node.output):
            if self.types.get(name) != TensorProto.FLOAT:
                continue
            if name in outputs:  # the network's own outputs stay FP32 under their names
                node.output[place] = self._name(name, TensorProto.FLOAT16)
                self.made[name, TensorProto.FLOAT16] = node.output[place]
                self._cast(node.output[place], name, TensorProto.FLOAT)
            else:
                self.now[name] = TensorProto.FLOAT16

    def _as(self, name: str, *, half: bool) -> str:
        """Return the name of a tensor in the wanted precision, cast if needed."""
        wanted = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        if self.now.get(name) == wanted:
            return name
        if (name, wanted) not in self.made:
            made = self._name(name, wanted)
            self.made[name, wanted] = made
            if name in self.weights:
                values = numpy_helper.to_array(self.weights[name])
                self.graph.initializer.append(
                    numpy_helper.from_array(values.astype(np.float16), made)
                )
            else:
                self._cast(name, made, wanted)
        return self.made[name, wanted]

    def _cast(self, name: str, made: str, wanted: int) -> None:
        self.nodes.append(helper.make_node("Cast", [name], [made], name=f"Cast_{made}", to=wanted))

    def _name(self, name: str, wanted: int) -> str:
        ending = "_fp16" if wanted == TensorProto.FLOAT16 else "_fp32"
        made = name + ending
        while made in self.types:
            made += "_"
        self.types[made] = self.now[made] = wanted
        return made


def _fixed_inputs(node: onnx.NodeProto) -> frozenset[int]:
    """Return the indices of inputs that must be FP32 for an operator whatever its precision."""
    schema = onnx.defs.get_schema(node.op_type, NEWEST_OPSET, node.domain)
    last = len(schema.inputs) - 1
    fixed = set()
    for place in range(len(node.input)):
        kind = schema.inputs[min(place, last)].type_str
        allowed = next(
            (
                list(rule.allowed_type_strs)
                for rule in schema.type_constraints
                if rule.type_param_str == kind
            ),
            [kind],
        )
        if "tensor(float16)" not in allowed:
            fixed.add(place)
    return frozenset(fixed)
