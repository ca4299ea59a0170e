"""The tensors of an ONNX file, and the file with some of them as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from edgeapl.errors import BundleError

WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

UNKNOWN_BYTES = 64 << 20
"""Assumed for a tensor whose size is unknown before it is run."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A floating-point tensor inside a network.

    row_bytes : for a batch of one. weighed : it is the input of a layer with weights, so its range
    determines that layer's precision in eight bits.
    """

    name: str
    row_bytes: int
    weighed: bool


class Network:
    """A parsed ONNX file.

    Parameters
    ----------
    name : used in errors. model : bytes of the file.

    Raises BundleError when the bytes are not an ONNX file.
    """

    def __init__(self, name: str, model: bytes) -> None:
        try:
            self._model = onnx.load_model_from_string(model)
        except Exception as error:  # protobuf's and onnx's own exceptions share no base class
            raise BundleError("network is not an ONNX file", name, "export it again") from error
        self._outputs = {output.name for output in self._model.graph.output}

    @property
    def has_convolution(self) -> bool:
        """Whether it is worth running in eight bits: a head of a few numbers is not."""
        return any(node.op_type == "Conv" for node in self._model.graph.node)

    @property
    def fixed_rows(self) -> int | None:
        """Batch size that every run must have; None if any will do."""
        axes = self._model.graph.input[0].type.tensor_type.shape.dim
        return axes[0].dim_value if axes and axes[0].HasField("dim_value") else None

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all float32 tensors that depend on the input, and those of unknown type."""
        graph = self._model.graph
        known = self._inferred()
        constant = {node.output[0] for node in graph.node if node.op_type == "Constant"}
        weights = {weight.name for weight in graph.initializer}
        weighed = {node.input[0] for node in graph.node if node.op_type in WITH_WEIGHTS}
        names = [value.name for value in graph.input if value.name not in weights]
        names += [name for node in graph.node for name in node.output if name not in constant]
        found = []
        for name in dict.fromkeys(name for name in names if name):
            kind, size = known.get(name, (None, UNKNOWN_BYTES))
            if kind in (None, TensorProto.FLOAT):
                found.append(Tensor(name, size, name in weighed))
        return tuple(found)

    def watched(self, tensors: Sequence[Tensor]) -> bytes:
        """Return the file with these tensors as its only outputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        given = {value.name for value in model.graph.input}
        del model.graph.output[:]
        for tensor in tensors:
            if tensor.name not in given:
                model.graph.output.append(onnx.ValueInfoProto(name=tensor.name))
        return bytes(model.SerializeToString())

    def _inferred(self) -> dict[str, tuple[int, int]]:
        """Return (element type, bytes for a batch of one) of every tensor with known ones."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for value in model.graph.input:
            for axis in value.type.tensor_type.shape.dim:
                if not axis.HasField("dim_value"):
                    axis.dim_value = 1
        for kept in (model.graph.value_info, model.graph.output):
            for value in kept:
                value.type.tensor_type.ClearField("shape")
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        return {
            value.name: (value.type.tensor_type.elem_type, _bytes_of(value))
            for value in (*graph.input, *graph.value_info, *graph.output)
        }


def _bytes_of(value: onnx.ValueInfoProto) -> int:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return UNKNOWN_BYTES
    size = 4
    for axis in tensor.shape.dim:
        if not axis.HasField("dim_value"):
            return UNKNOWN_BYTES
        size *= axis.dim_value
    return size


def parts(tensors: Sequence[Tensor], most_bytes: int) -> tuple[tuple[Tensor, ...], ...]:
    """Split tensors into groups of at most `most_bytes` each, or of one tensor."""
    groups: list[list[Tensor]] = []
    held = 0
    for tensor in tensors:
        if not groups or held + tensor.row_bytes > most_bytes:
            groups.append([])
            held = 0
        groups[-1].append(tensor)
        held += tensor.row_bytes
    return tuple(tuple(group) for group in groups)
