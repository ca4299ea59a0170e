"""Forms of an eight-bit graph, and what TensorRT-RTX makes of their convolutions: figures.

    python -m tests.data.measure_int8_forms

Needs the extras ``export``, ``build`` and ``rtx``, and no GPU. The network is one Xception of
`eckardt2022` at 299 px with random weights; ranges are made up, as what is asked is which types
kernels take and give. Bytes are those of activations that all kernels read and write for a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.calibration.quantise.graph import read_graph
from edgeapl.calibration.quantise.qdq import (
    TENSORRT_TYPES,
    _as_data,
    _run,
    _with_types,
    qdq_tensorrt,
)
from edgeapl.engines.trt.build import BuildOptions, Profile, make_plan
from edgeapl.engines.trt.layers import count_layers
from edgeapl.engines.trt.library import find_library
from edgeapl.errors import EngineError
from tests.data.measure_plans import in_precision, networks

NETWORK = "eckardt2022/myeloblast"
MORE_TYPES = (*TENSORRT_TYPES, "Relu", "Add", "MaxPool")


def quantised(
    model: bytes,
    *,
    per_channel: bool = True,
    types: Sequence[str] = TENSORRT_TYPES,
    outputs: bool = False,
    depthwise: bool = True,
) -> bytes:
    """Write a form: weights by channel or whole, operators, answers of layers in eight bits too."""
    loaded = read_graph(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in loaded.graph.initializer}
    names = [
        node.name
        for node in loaded.graph.node
        if node.op_type in types
        and (depthwise or node.op_type != "Conv" or weights[node.input[1]][1] != 1)
    ]
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": [] if outputs else list(TENSORRT_TYPES),
        "MinimumRealRange": 1e-6,
    }
    quantizer = QDQQuantizer(
        _with_types(loaded),
        per_channel=per_channel,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=_as_data(ranges(model)),
        nodes_to_quantize=names,
        nodes_to_exclude=[],
        op_types_to_quantize=list(types),
        extra_options=options,
    )
    return _run(quantizer)


def ranges(model: bytes) -> dict[str, tuple[float, float]]:
    graph = onnx.load_model_from_string(model).graph
    tensors = {name for node in graph.node for name in (*node.input, *node.output) if name}
    return dict.fromkeys(tensors, (-3.0, 3.0))


def half(model: bytes) -> bytes:
    return to_fp16(model)[0]


def forms(model: bytes) -> Iterator[tuple[str, Callable[[], bytes], BuildOptions]]:
    """Give what it is, what makes it, and how it is built."""
    usual = BuildOptions()
    now = half(qdq_tensorrt(model, ranges(model)))
    yield "FP32", lambda: model, usual
    yield "FP16", lambda: in_precision(model, "fp16"), usual
    yield "INT8 as it is built", lambda: now, usual
    yield "FP32 around it", lambda: qdq_tensorrt(model, ranges(model)), usual
    for level in (0, 5):
        yield f"optimization level {level}", lambda: now, BuildOptions(level=level)
    for capability in ("7.5", "8.0", "8.6", "8.9", "12.0"):
        options = BuildOptions(capabilities=(capability,))
        yield f"for compute capability {capability}", lambda: now, options
    yield "one batch size", lambda: now, BuildOptions(profile=Profile(16, 16, 16))
    yield "answers of layers in eight bits too", lambda: half(quantised(model, outputs=True)), usual
    yield (
        "ReLU, Add and MaxPool in eight bits too",
        lambda: half(quantised(model, types=MORE_TYPES, outputs=True)),
        usual,
    )
    yield "weights by layer", lambda: half(quantised(model, per_channel=False)), usual
    yield "weights by layer, FP32 around it", lambda: quantised(model, per_channel=False), usual
    yield (
        "weights by layer, answers in eight bits too",
        lambda: half(quantised(model, per_channel=False, outputs=True)),
        usual,
    )
    yield (
        "weights by layer, depthwise layers in FP16",
        lambda: half(quantised(model, per_channel=False, depthwise=False)),
        usual,
    )
    yield "depthwise layers in FP16", lambda: half(quantised(model, depthwise=False)), usual


def main() -> None:
    library = find_library("tensorrt-rtx")
    model = next(model for name, model in networks(("eckardt2022",)) if name == NETWORK)
    print(f"tensorrt_rtx {library.version}, {NETWORK}")
    print("| form | layers | convolutions | leave int8 | MB a cell |\n|---|---|---|---|---|")
    for name, write, options in forms(model):
        try:
            made = make_plan(write(), name=name, library=library, options=options)
        except EngineError as error:
            print(f"| {name} | {error} |")
            continue
        found = count_layers(made.layers)
        kinds = ", ".join(f"{count} {types}" for types, count in found.convolutions.items())
        fixed = options.profile.smallest == options.profile.largest
        moved = found.bytes_a_row / (options.profile.largest if fixed else 1) / 1e6
        print(f"| {name} | {found.layers} | {kinds} | {found.leaving_int8} | {moved:.0f} |")


if __name__ == "__main__":
    main()
