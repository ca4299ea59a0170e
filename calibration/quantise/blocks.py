"""Pads channels to whole blocks: depthwise kernels compute a partial block one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from edgeapl.calibration.quantise.graph import inputs_of, read_graph, written

BLOCK = 16
"""Channels per step of a depthwise AVX-512 kernel. Xception's 728 are 45 and a half blocks, and
become 736. `tests/peers/rewritten.py` measures the gain.
"""

MOST_MORE = 1 / 8
"""Wasted work allowed in the other layers. Chosen to be small, not measured: Xception's empty
channels are one in ninety."""

ALIKE = frozenset(
    {
        # Each outputs as many channels as it takes, and finite numbers for zeros.
        *("Relu", "LeakyRelu", "Clip", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
        *("Identity", "MaxPool", "AveragePool", "GlobalAveragePool"),
    }
)
JOINING = frozenset({"Add", "Sub", "Mul"})


def pad_channels(model: bytes) -> bytes:
    """Return a network with empty channels added where depthwise layers have partial blocks.

    Parameters
    ----------
    model : ONNX file in FP32, with its weights as initializers.

    An empty channel has zero weights and biases, and its consumers multiply it by zero: answers and
    the names of nodes and tensors stay the same. Channels seen by anything but convolutions,
    poolings and arithmetic between pictures stay as they are.
    """
    loaded = read_graph(model)
    channels = _Channels(loaded.graph)
    if not channels.widen():
        return model
    return written(loaded)


@dataclass
class _Channels:
    """Tensors with the same channels, and the layers that produce and consume them."""

    graph: onnx.GraphProto
    above: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    given: list[tuple[str, onnx.NodeProto]] = field(default_factory=list)
    taken: list[tuple[str, onnx.NodeProto]] = field(default_factory=list)
    depthwise: list[tuple[str, onnx.NodeProto]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        used = Counter(name for node in self.graph.node for name in node.input)
        self.shared = {name for name, count in used.items() if count > 1}
        ends = [*inputs_of(self.graph), *(value.name for value in self.graph.output)]
        self.fixed.update(ends)
        for node in self.graph.node:
            self._read(node)

    def widen(self) -> bool:
        """Add the empty channels, and return whether there were any to add."""
        fixed = {self._same(name) for name in self.fixed}
        sizes: dict[str, int] = {}
        for name, node in (*self.given, *self.depthwise):
            size = self._shape(node)[0]
            if sizes.setdefault(self._same(name), size) != size:  # one of them is broadcast
                fixed.add(self._same(name))
        wider = {}
        for name, _ in self.depthwise:
            channels = self._same(name)
            more = -sizes[channels] % BLOCK
            if channels not in fixed and 0 < more <= MOST_MORE * sizes[channels]:
                wider[channels] = more
        for name, node in (*self.given, *self.depthwise):
            for place in range(1, len(node.input)):
                self._pad(node.input[place], 0, wider.get(self._same(name), 0))
        for _, node in self.depthwise:
            _set_groups(node, self._shape(node)[0])
        for name, node in self.taken:
            self._pad(node.input[1], 1, wider.get(self._same(name), 0))
        return bool(wider)

    def _read(self, node: onnx.NodeProto) -> None:
        """Record which tensors have the same channels because of one node."""
        pictures = [name for name in node.input if name and name not in self.weights]
        output = node.output[0]
        if node.op_type == "Conv" and self._plain(node):
            if _groups(node) == 1:
                self.given.append((output, node))
                self.taken.append((node.input[0], node))
                return
            if _groups(node) == self._shape(node)[0] and self._shape(node)[1] == 1:
                self._join((node.input[0], output))
                self.depthwise.append((output, node))
                return
        alike = node.op_type in ALIKE and len(node.output) == 1 and len(pictures) == 1
        joining = node.op_type in JOINING and len(pictures) == len(node.input)
        if alike or joining:
            self._join((*pictures, output))
        else:
            self.fixed.update((*pictures, *node.output))

    def _plain(self, node: onnx.NodeProto) -> bool:
        """Return whether only this convolution uses its weights and bias, and both are stored."""
        stored = node.input[1:]
        return all(name in self.weights and name not in self.shared for name in stored)

    def _shape(self, node: onnx.NodeProto) -> Sequence[int]:
        return tuple(self.weights[node.input[1]].dims)

    def _join(self, names: Sequence[str]) -> None:
        for name in names[1:]:
            self.above[self._same(name)] = self._same(names[0])

    def _same(self, name: str) -> str:
        """Return the representative of all tensors with the same channels."""
        while self.above.get(name, name) != name:
            name = self.above[name]
        return name

    def _pad(self, name: str, axis: int, more: int) -> None:
        if not more:
            return
        values = numpy_helper.to_array(self.weights[name])
        ends = [(0, more if place == axis else 0) for place in range(values.ndim)]
        self.weights[name].CopyFrom(numpy_helper.from_array(np.pad(values, ends), name))


def _groups(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _set_groups(node: onnx.NodeProto, groups: int) -> None:
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = groups
