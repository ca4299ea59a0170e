"""The layers of a plan, as the builder lists them: what each reads and writes, in which type."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgeapl.engines.trt.library import LAYERS

BYTES = {
    "float": 4,
    "fp32": 4,
    "half": 2,
    "fp16": 2,
    "bfloat16": 2,
    "int8": 1,
    "uint8": 1,
    "fp8": 1,
    "bool": 1,
    "int32": 4,
    "int64": 8,
}
"""Bytes of one number, by what TensorRT-RTX and TensorRT call it."""

NAMES = {"fp32": "float", "fp16": "half"}
CONVOLUTIONS = ("correlation", "convolution", "conv")
"""What kinds of convolution have in their names, in either library."""

_TENSOR = re.compile(r"\{ (.*?) \}")
_LAYER = re.compile(r"^Name: (.*?), LayerType: (\w+)")
_SHAPE = re.compile(r"Dimensions: \[([-\d,]*)\]")
_TYPE = re.compile(
    r"(?:Datatype: (\w+))|(?:Format/Datatype: .*?\b(FP32|FP16|INT8|INT32|BF16)\b)", re.I
)


@dataclass(frozen=True, slots=True)
class LayerTensor:
    """One value between layers. dtype : e.g. ``half``. shape : -1 is the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes_a_row(self) -> int:
        """Bytes for one row of the batch; 0 of a type that is not known."""
        return math.prod(abs(size) for size in self.shape) * BYTES.get(self.dtype, 0)


@dataclass(frozen=True, slots=True)
class PlanLayer:
    """One kernel, or one call. kind : the library's word for it."""

    name: str
    kind: str
    inputs: tuple[LayerTensor, ...]
    outputs: tuple[LayerTensor, ...]

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution."""
        return any(word in self.kind.lower() for word in CONVOLUTIONS)

    @property
    def leaves_int8(self) -> bool:
        """Whether it takes int8 and returns floats, so that another kernel must quantise again."""
        takes = bool(self.inputs) and self.inputs[0].dtype == "int8"
        return takes and any(tensor.dtype in ("float", "half") for tensor in self.outputs)

    @property
    def bytes_a_row(self) -> int:
        """Bytes of activations that it reads and writes for one row of the batch."""
        return sum(tensor.bytes_a_row for tensor in (*self.inputs, *self.outputs))

    @property
    def types(self) -> str:
        """Types of its inputs and outputs, e.g. ``int8 -> half``."""
        taken = "+".join(sorted({tensor.dtype for tensor in self.inputs})) or "nothing"
        given = "+".join(sorted({tensor.dtype for tensor in self.outputs})) or "nothing"
        return f"{taken} -> {given}"


@dataclass(frozen=True, slots=True)
class LayerCount:
    """The layers of a plan, counted.

    layers : all. convolutions : types to number. leaving_int8 : convolutions from int8 to floats.
    bytes_a_row : activations read and written for one row of the batch.
    """

    layers: int
    convolutions: dict[str, int]
    leaving_int8: int
    bytes_a_row: int


def read_layers(message: str) -> tuple[PlanLayer, ...]:
    """Read the builder's list; lines that are none of a layer are passed over."""
    found: list[PlanLayer] = []
    for line in message.partition(LAYERS)[2].splitlines():
        start = _LAYER.match(line)
        if start is None:
            if found and not line.strip():
                break  # what follows are the plan's own inputs and outputs
            continue
        lists = {name: _tensors(text) for name, text in _lists(line)}
        found.append(
            PlanLayer(start[1], start[2], lists.get("Inputs", ()), lists.get("Outputs", ()))
        )
    return tuple(found)


def count_layers(layers: Sequence[PlanLayer]) -> LayerCount:
    """Count the layers of a plan."""
    convolutions = [layer for layer in layers if layer.convolves]
    return LayerCount(
        len(layers),
        dict(Counter(layer.types for layer in convolutions)),
        sum(layer.leaves_int8 for layer in convolutions),
        sum(layer.bytes_a_row for layer in layers),
    )


def _lists(line: str) -> list[tuple[str, str]]:
    """Return each list of a line with its text; lists hold brackets, so these are counted."""
    found = []
    for name in ("Inputs", "Outputs"):
        start = line.find(f"{name}: [")
        if start < 0:
            continue
        begin = start + len(name) + 3
        depth, end = 1, begin
        while end < len(line) and depth:
            depth += (line[end] == "[") - (line[end] == "]")
            end += 1
        found.append((name, line[begin : end - 1]))
    return found


def _tensors(text: str) -> tuple[LayerTensor, ...]:
    found = []
    for match in _TENSOR.finditer(text):
        shape, kind = _SHAPE.search(match[1]), _TYPE.search(match[1])
        if shape is None:
            continue
        word = (kind[1] or kind[2]).lower() if kind else ""
        name = match[1].partition(", ")[0].removeprefix("Name: ")
        sizes = tuple(int(size) for size in shape[1].split(",") if size)
        found.append(LayerTensor(name, NAMES.get(word, word), sizes))
    return tuple(found)
