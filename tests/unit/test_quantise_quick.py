"""What is rewritten for onnxruntime's quick kernels computes the same, and gets these kernels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgeapl.calibration.builder import files
from edgeapl.calibration.quantise.fast_kernels import AMX_PRODUCTS, optimise_for_onnxruntime
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime, saturates
from edgeapl.engines.store.machine import Device, cpu
from tests.quantising import conv_network, images, measured, run, separable_network

NETWORK = separable_network(544)
QUANTISED = qdq_onnxruntime(NETWORK, measured(NETWORK, images()))


def weights(network: bytes) -> dict[str, tuple[NDArray[np.float32], set[int]]]:
    """Give every convolution's weights, dequantised, and the zero points they are stored with."""
    graph = onnx.load_model_from_string(network).graph
    stored = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv":
            values, scale, zero = (stored[name] for name in made_by[node.input[1]].input)
            whole = values.astype(int) - zero.astype(int)[:, None, None, None]
            found[node.name] = (whole * scale[:, None, None, None], set(zero.tolist()))
    return found


def kernels(network: bytes, folder: Path) -> Counter[str]:
    """Count the operators that onnxruntime really computes."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


@pytest.mark.parametrize("products", [None, AMX_PRODUCTS])
def test_no_answer_changes(products: int | None) -> None:
    if products and saturates(frozenset(cpu().capability.split())):
        pytest.skip("products of other weights overflow on this CPU")
    given = run(optimise_for_onnxruntime(QUANTISED, products), images())["logits"]
    np.testing.assert_array_equal(given, run(QUANTISED, images())["logits"])


def test_a_relu_between_eight_bits_is_looked_up_and_not_computed_in_fp32(tmp_path: Path) -> None:
    before = kernels(QUANTISED, tmp_path)
    after = kernels(optimise_for_onnxruntime(QUANTISED, None), tmp_path)
    assert after["QLinearLeakyRelu"] == 1
    assert after["DequantizeLinear"] == before["DequantizeLinear"] - 1


def normalising(scales: list[float]) -> bytes:
    """A network in eight bits that multiplies each colour of a picture by a number of its own."""
    network = onnx.load_model_from_string(conv_network())
    (scale,) = (constant for constant in network.graph.initializer if constant.name == "scale")
    values = np.array(scales, np.float32).reshape(1, -1, 1, 1)
    scale.CopyFrom(numpy_helper.from_array(values, "scale"))
    made = network.SerializeToString()
    return qdq_onnxruntime(made, measured(made, images()))


@pytest.mark.parametrize(
    ("scales", "shape"),
    [
        ([1 / 255] * 3, (1,)),
        ([1 / 255, 1 / 200, 1 / 230], (1, 3, 16, 16)),
        ([1 / 255], (1, 1, 1, 1)),
    ],
)
def test_numbers_for_colours_are_spread_over_the_picture_and_no_answer_changes(
    scales: list[float], shape: tuple[int, ...]
) -> None:
    plain = normalising(scales)
    spread = optimise_for_onnxruntime(plain, None)
    graph = onnx.load_model_from_string(spread).graph
    (by,) = {node.input[1] for node in graph.node if node.op_type == "Mul"}
    (values,) = (numpy_helper.to_array(one) for one in graph.initializer if one.name == by)
    assert values.shape == shape
    given, wanted = run(spread, images()), run(plain, images())
    for name in ("features", "a", "b", "c"):
        np.testing.assert_array_equal(given[name], wanted[name])


def test_a_number_for_each_channel_of_a_layer_stays() -> None:
    network = onnx.load_model_from_string(conv_network())
    (shift,) = (constant for constant in network.graph.initializer if constant.name == "epsilon")
    values = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 8, 1, 1)
    shift.CopyFrom(numpy_helper.from_array(values, "epsilon"))
    graph = onnx.load_model_from_string(
        optimise_for_onnxruntime(network.SerializeToString(), None)
    ).graph
    assert "epsilon" in {constant.name for constant in graph.initializer}


def test_with_amx_the_weights_of_wide_convolutions_alone_are_shifted_and_none_changes() -> None:
    before, after = weights(QUANTISED), weights(optimise_for_onnxruntime(QUANTISED, AMX_PRODUCTS))
    assert {name: zero for name, (_, zero) in after.items()} == {
        "first": {0},
        "deep": {0},
        "point": {-1},
        "narrow": {-1},
    }
    for name, (values, _) in before.items():
        np.testing.assert_array_equal(after[name][0], values)


@pytest.mark.parametrize(
    ("target", "capability", "shifted", "leaky"),
    [
        ("onnxruntime", "avx512f avx512_vnni amx_int8", True, True),
        ("onnxruntime", "avx512f avx512_vnni", False, True),
        ("openvino", "avx512f avx512_vnni amx_int8", False, False),
    ],
)
def test_only_onnxruntime_gets_these_words_and_shifted_weights_only_with_amx(
    target: str, capability: str, shifted: bool, leaky: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "cpu", lambda: Device("a CPU", capability))
    made = files.quantise_int8(NETWORK, target, measured(NETWORK, images()), frozenset())
    operators = [node.op_type for node in onnx.load_model_from_string(made).graph.node]
    assert ("LeakyRelu" in operators) is leaky
    assert any(zero != {0} for _, zero in weights(made).values()) is shifted
