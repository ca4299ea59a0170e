"""INT8: Q/DQ nodes from measured ranges, in the form that each runtime fuses.

Two files from the same ranges, because what makes one runtime fast is refused by the other:
onnxruntime wants uint8 activations with a zero point, TensorRT int8 ones without.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edgeapl.calibration.quantise.graph import (
    element_types,
    name_nodes,
    read_graph,
    sort_nodes,
    weighted_nodes,
    written,
)
from edgeapl.calibration.quantise.layers import after_weights, before_weights, explaining
from edgeapl.calibration.quantise.precision_fallback import Unquantised, quantise_most
from edgeapl.errors import EngineError

Range = tuple[float, float]

TENSORRT_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ONNXRUNTIME_TYPES = (
    *TENSORRT_TYPES,
    *("Relu", "Clip", "LeakyRelu", "Add", "Mul", "Concat", "Split", "Pad", "Slice", "Gather"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Resize"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"),
)
"""Operators for which onnxruntime has 8-bit kernels, except Softmax and Sigmoid: with 256 steps a
probability cannot be closer than 0.002 to its true value."""


def qdq_onnxruntime(
    model: bytes, ranges: Mapping[str, Range], keep: frozenset[str] = frozenset()
) -> bytes:
    """Write a network in eight bits for onnxruntime on the CPU.

    Parameters
    ----------
    model : ONNX file in FP32. ranges : tensor to smallest and largest value.
    keep : names of nodes that stay in FP32.

    Activations are uint8 with a zero point, weights int8 per channel. What precedes the first and
    follows the last layer with weights stays in FP32, and so do layers that the library cannot
    quantise. Raises EngineError when a range is missing.
    """
    outside = before_weights(model) | after_weights(model)
    # A linear layer can output floats at no cost; 256 steps would shift the answer's logits.
    options = {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
    return _quantised(model, ranges, keep | outside, ONNXRUNTIME_TYPES, QuantType.QUInt8, options)


def qdq_tensorrt(
    model: bytes, ranges: Mapping[str, Range], keep: frozenset[str] = frozenset()
) -> bytes:
    """Write a network in eight bits for TensorRT; parameters and errors as for `qdq_onnxruntime`.

    Inputs of layers with weights are int8 without a zero point, weights int8 per channel; biases
    and outputs are left alone, as TensorRT fuses what follows by itself.
    """
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(TENSORRT_TYPES),
    }
    return _quantised(model, ranges, keep, TENSORRT_TYPES, QuantType.QInt8, options)


def _quantised(
    model: bytes,
    ranges: Mapping[str, Range],
    keep: frozenset[str],
    kinds: tuple[str, ...],
    activations: QuantType,
    options: Mapping[str, Any],
) -> bytes:
    loaded = read_graph(model)
    keep |= explaining(model)
    nodes = [
        node.name for node in loaded.graph.node if node.op_type in kinds and node.name not in keep
    ]
    if not nodes:
        return written(loaded)
    _check(loaded, ranges, set(nodes), outputs=activations is QuantType.QUInt8)

    def quantised(chosen: Sequence[str]) -> bytes:
        return _run(
            QDQQuantizer(
                _with_types(loaded),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=activations,
                tensors_range=_as_data(ranges),
                nodes_to_quantize=list(chosen),
                nodes_to_exclude=[],
                op_types_to_quantize=list(kinds),
                extra_options={"MinimumRealRange": 1e-6, **options},
            )
        )

    return quantise_most(nodes, quantised) or written(loaded)


def _run(quantizer: QDQQuantizer) -> bytes:
    """Quantise without the library's log lines about single tensors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantizer.quantize_model()
    except Exception as error:  # the library raises any exception for what it does not know
        raise Unquantised(str(error)) from error
    finally:
        logging.disable(before)
    model: onnx.ModelProto = quantizer.model.model
    sort_nodes(model.graph)
    name_nodes(model.graph)
    return written(model)


def _with_types(loaded: onnx.ModelProto) -> onnx.ModelProto:
    """Infer all types, without which the library silently skips tensors."""
    return onnx.shape_inference.infer_shapes(loaded, data_prop=True)


def _check(
    loaded: onnx.ModelProto, ranges: Mapping[str, Range], nodes: set[str], *, outputs: bool
) -> None:
    stored = {weight.name for weight in loaded.graph.initializer}
    types = element_types(loaded)
    missing = dict.fromkeys(
        name
        for node in loaded.graph.node
        if node.name in nodes
        for name in (*node.input, *(node.output if outputs else ()))
        if types.get(name) == TensorProto.FLOAT and name not in stored and name not in ranges
    )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EngineError(
            "no range was measured for a tensor",
            f"{next(iter(missing))}{more}",
            "run edgeapl calibrate on this bundle",
        )


def _as_data(ranges: Mapping[str, Range]) -> TensorsData:
    return TensorsData(
        CalibrationMethod.MinMax,
        {
            name: TensorData(lowest=np.float32(low), highest=np.float32(high))
            for name, (low, high) in ranges.items()
        },
    )


def quantised_layers(model: bytes) -> tuple[str, ...]:
    """Return the names of the layers with weights that compute in eight bits."""
    graph = read_graph(model).graph
    quantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return tuple(node.name for node in weighted_nodes(graph) if node.input[1] in quantised)


def saturates(flags: frozenset[str]) -> bool:
    """Return whether a CPU may accumulate eight-bit products wrongly.

    Parameters
    ----------
    flags : named as in ``/proc/cpuinfo``.

    AVX2 and AVX-512 without VNNI multiply uint8 by int8 into 16 bits that saturate; see the
    documentation of onnxruntime's quantisation, ``reduce_range``. ARM has no such instruction.
    """
    vectors = flags & {"avx2", "avx512bw"}
    exact = flags & {"avx512_vnni", "avx_vnni", "amx_int8"}
    return bool(vectors) and not exact
