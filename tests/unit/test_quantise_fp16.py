"""FP16 networks keep their inputs and outputs, and FP32 where halves would lose."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeapl.calibration.quantise.fp16 import LARGEST, to_fp16
from edgeapl.calibration.quantise.graph import element_types
from edgeapl.calibration.quantise.qdq import qdq_tensorrt, quantised_layers
from edgeapl.calibration.quantise.rounding import with_fp16_rounding, with_tf32_products
from edgeapl.errors import EngineError
from edgeapl.model import EMBEDDED
from tests.quantising import CLASSES, FIRST, SECOND, THIRD, conv_network, images, measured, run
from tests.small_bundle import model

NETWORK = conv_network()
HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def precisions(network: bytes) -> dict[str, int]:
    """Give the element type that each node gives, by name of the node."""
    loaded = onnx.load_model_from_string(network)
    types = element_types(loaded)
    return {node.name: types[node.output[0]] for node in loaded.graph.node}


def test_inputs_and_outputs_stay_and_answers_are_near() -> None:
    half, kept = to_fp16(NETWORK)
    before, after = (onnx.load_model_from_string(one).graph for one in (NETWORK, half))
    assert list(before.input) == list(after.input)
    assert [(o.name, o.type.tensor_type.elem_type) for o in before.output] == [
        (o.name, o.type.tensor_type.elem_type) for o in after.output
    ]
    wanted, given = run(NETWORK, images()), run(half, images())
    for name in CLASSES:
        assert 0 < np.abs(given[name] - wanted[name]).max() < 0.005
    assert kept


def test_layers_are_halves_and_sensitive_parts_are_not() -> None:
    half, kept = to_fp16(NETWORK)
    types = precisions(half)
    assert {types[name] for name in (FIRST, SECOND, THIRD)} == {HALF}
    kinds = {node.name: node.op_type for node in onnx.load_model_from_string(half).graph.node}
    assert {kinds[name] for name in kept} == {"Transpose", "Cast", "Mul", "ReduceMean", "Softmax"}
    assert all(types[name] in (SINGLE, TensorProto.UINT8) for name in kept)


def test_nodes_that_are_asked_for_stay_in_fp32() -> None:
    half, kept = to_fp16(NETWORK, frozenset({SECOND}))
    assert SECOND in kept
    types = precisions(half)
    assert types[SECOND] == SINGLE
    assert types[FIRST] == HALF


@pytest.mark.parametrize(("largest", "exact"), [(LARGEST / 8, False), (LARGEST / 2, True)])
def test_a_tensor_near_the_end_of_halves_keeps_its_nodes_in_fp32(
    largest: float, exact: bool
) -> None:
    _, kept = to_fp16(NETWORK, ranges={"c2": (-1.0, largest)})
    assert (SECOND in kept) is exact
    assert FIRST not in kept


def test_numbers_that_overflow_halves_are_given_right() -> None:
    network = conv_network(gain=3e5)
    ranges = measured(network, images())
    assert max(high for _, high in ranges.values()) > LARGEST
    right = run(with_fp16_rounding(to_fp16(network, ranges=ranges)[0]), images())["features"]
    wanted = run(network, images())["features"]
    np.testing.assert_allclose(right, wanted, rtol=0.01, atol=0.01 * float(np.abs(wanted).max()))


def test_overflow_is_seen_on_a_cpu_that_would_compute_in_fp32() -> None:
    half, _ = to_fp16(conv_network(gain=3e5))  # no ranges: nothing is kept for its size
    seen = run(with_fp16_rounding(half), images())["features"]
    assert not np.isfinite(seen).all()


def test_rounding_everywhere_changes_no_more_than_halves_do() -> None:
    half, _ = to_fp16(NETWORK)
    wanted, given = run(NETWORK, images()), run(with_fp16_rounding(half), images())
    assert 0 < np.abs(given["a"] - wanted["a"]).max() < 0.005


def test_products_in_tf32_have_ten_bits_and_sums_all() -> None:
    rng = np.random.default_rng(7)
    weights = rng.normal(0, 1, (40, 3)).astype(np.float32)
    product = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        {"w": weights},
    )
    given = rng.normal(0, 1, (5, 40)).astype(np.float32)
    found = run(with_tf32_products(product), {"x": given})["y"]
    exact, rounded = (
        one.astype(np.float64) @ other.astype(np.float64)
        for one, other in ((given, weights), (ten_bits(given), ten_bits(weights)))
    )
    np.testing.assert_allclose(found, rounded, atol=1e-5)
    assert np.abs(found - exact).max() > 1e-4


def ten_bits(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return ((values.view(np.uint32) + 0x1000) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def test_sums_that_a_gpu_makes_in_halves_lose_more_than_the_stand_in_shows() -> None:
    # Why no stand-in answers for a GPU: kernels for FP16 may add up in FP16, one after the other.
    rng = np.random.default_rng(4)
    row, column = (rng.normal(0, 1, 512).astype(np.float16) for _ in range(2))
    exact = float(row.astype(np.float64) @ column.astype(np.float64))
    once = float(np.float16(exact))  # as the stand-in: rounded when all is added up
    total = np.float16(0)
    for product in row * column:
        total = np.float16(total + product)
    assert abs(float(total) - exact) > 3 * abs(once - exact)


def test_an_epsilon_that_a_half_can_not_hold_keeps_its_node_in_fp32() -> None:
    assert "shift" in to_fp16(conv_network(epsilon=1e-9))[1]
    assert "shift" not in to_fp16(conv_network(epsilon=0.5))[1]


def test_eight_bits_and_halves_mix_with_one_precision_around_each_layer() -> None:
    ranges = measured(NETWORK, images())
    mixed, _ = to_fp16(qdq_tensorrt(NETWORK, ranges), ranges=ranges)
    assert quantised_layers(mixed) == (FIRST, SECOND, THIRD)
    types = precisions(mixed)
    assert {types[name] for name in (FIRST, SECOND, THIRD)} == {HALF}
    graph = onnx.load_model_from_string(mixed).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.name in (FIRST, SECOND, THIRD)]
    fed = {made_by[name] for layer in layers for name in layer.input[:2]}
    assert fed == {"DequantizeLinear"}  # no cast between
    wanted, given = run(NETWORK, images()), run(mixed, images())
    assert max(np.abs(given[name] - wanted[name]).max() for name in CLASSES) < 0.05


def test_a_scale_that_a_half_can_not_hold_keeps_its_layer_in_fp32() -> None:
    network = conv_network(gain=1e-6)
    ranges = measured(network, images())
    mixed, kept = to_fp16(qdq_tensorrt(network, ranges), ranges=ranges)
    assert SECOND in kept
    types = precisions(mixed)
    assert types[SECOND] == SINGLE
    assert types[FIRST] == HALF
    wanted, given = run(network, images()), run(mixed, images())
    assert max(np.abs(given[name] - wanted[name]).max() for name in CLASSES) < 0.05


def test_a_network_of_numbers_without_images_is_converted_too() -> None:
    head = model(
        [
            helper.make_node("Gemm", ["ratios", "w"], ["logit"], name="gemm"),
            helper.make_node("Sigmoid", ["logit"], ["apl"], name="sigmoid"),
        ],
        [helper.make_tensor_value_info("ratios", SINGLE, ["n", 3])],
        [helper.make_tensor_value_info("apl", SINGLE, ["n", 1])],
        {"w": np.ones((3, 1), dtype=np.float32)},
    )
    half, kept = to_fp16(head)
    assert kept == ("sigmoid",)
    assert precisions(half)["gemm"] == HALF
    rows = {"ratios": np.array([[0.1, 0.2, 0.3]], dtype=np.float32)}
    np.testing.assert_allclose(run(half, rows)["apl"], run(head, rows)["apl"], atol=1e-3)


def test_the_embedded_bundle_answers_alike_in_halves() -> None:
    network = (EMBEDDED / "cells.onnx").read_bytes()
    half, kept = to_fp16(network)
    rows = {"cells": np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)}
    wanted, given = run(network, rows), run(half, rows)
    assert max(np.abs(given[name] - wanted[name]).max() for name in wanted) < 0.01
    nodes = {node.name: node.op_type for node in onnx.load_model_from_string(half).graph.node}
    assert {"Log", "Sigmoid", "ReduceMean"} <= {nodes[name] for name in kept}


def test_a_network_with_branches_is_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["ratios"], ["out"])],
        "b",
        [],
        [helper.make_tensor_value_info("out", SINGLE, ["n", 3])],
    )
    loaded = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    "If", ["yes"], ["given"], name="fork", then_branch=branch, else_branch=branch
                )
            ],
            "g",
            [helper.make_tensor_value_info("ratios", SINGLE, ["n", 3])],
            [helper.make_tensor_value_info("given", SINGLE, ["n", 3])],
            [numpy_helper.from_array(np.array(True), "yes")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    with pytest.raises(EngineError, match="branches or loops in it: If fork"):
        to_fp16(loaded.SerializeToString())
