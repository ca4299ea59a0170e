"""Q/DQ networks are what each runtime fuses, close to FP32, and spare the layers they must."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edgeapl.calibration.quantise.layers import layer_groups, only_for
from edgeapl.calibration.quantise.qdq import (
    qdq_onnxruntime,
    qdq_tensorrt,
    quantised_layers,
    saturates,
)
from edgeapl.errors import EngineError
from tests.quantising import (
    CLASSES,
    FIRST,
    SECOND,
    THIRD,
    conv_network,
    images,
    measured,
    nodes_of,
    run,
)

NETWORK = conv_network()
RANGES = measured(NETWORK, images())
FLAVOURS = [qdq_onnxruntime, qdq_tensorrt]

Quantise = Callable[..., bytes]


def zero_points(network: bytes) -> list[tuple[str, int, int]]:
    """Give (kind of node, element type, largest zero point) of all Q and DQ nodes."""
    graph = onnx.load_model_from_string(network).graph
    stored = {weight.name: weight for weight in graph.initializer}
    return [
        (
            node.op_type,
            stored[node.input[2]].data_type,
            int(np.abs(numpy_helper.to_array(stored[node.input[2]]).astype(int)).max()),
        )
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]


@pytest.mark.parametrize("quantise", FLAVOURS)
def test_eight_bits_answer_nearly_like_fp32(quantise: Quantise) -> None:
    quantised = quantise(NETWORK, RANGES)
    assert quantised_layers(quantised) == (FIRST, SECOND, THIRD)
    wanted, given = run(NETWORK, images()), run(quantised, images())
    assert list(given) == [*CLASSES, "features"]
    for name in CLASSES:
        assert given[name].dtype == np.float32
        apart = np.abs(given[name] - wanted[name]).max()
        assert 0 < apart < 0.05


def test_the_tensorrt_file_has_no_zero_point_no_uint8_and_no_quantised_bias() -> None:
    found = zero_points(qdq_tensorrt(NETWORK, RANGES))
    assert {(kind, largest) for _, kind, largest in found} == {(TensorProto.INT8, 0)}
    graph = onnx.load_model_from_string(qdq_tensorrt(NETWORK, RANGES)).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert all(made_by.get(layer.input[2]) is None for layer in layers)  # biases stay FP32
    quantised = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    fed = {made_by.get(node.input[0]) for node in quantised}
    assert "Gemm" not in fed  # no Q behind the last layer


def test_the_onnxruntime_file_has_uint8_activations_and_int8_weights() -> None:
    found = zero_points(qdq_onnxruntime(NETWORK, RANGES))
    assert {kind for node, kind, _ in found if node == "QuantizeLinear"} == {TensorProto.UINT8}
    assert max(largest for _, kind, largest in found if kind == TensorProto.UINT8) > 0
    kinds = {kind for node, kind, _ in found if node == "DequantizeLinear"}
    assert TensorProto.INT8 in kinds


def test_weights_have_a_scale_per_channel() -> None:
    graph = onnx.load_model_from_string(qdq_tensorrt(NETWORK, RANGES)).graph
    stored = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    scales = {
        node.input[0]: stored[node.input[1]]
        for node in graph.node
        if node.input[0] in stored and node.op_type == "DequantizeLinear"
    }
    assert sorted(scales.values()) == [(3,), (8,), (8,)]


@pytest.mark.parametrize("quantise", FLAVOURS)
def test_layers_that_are_kept_stay_as_they_were(quantise: Quantise) -> None:
    kept = quantise(NETWORK, RANGES, frozenset({SECOND}))
    assert quantised_layers(kept) == (FIRST, THIRD)
    assert nodes_of(kept)[SECOND].input[1] == "w2"
    same = quantise(
        NETWORK, RANGES, frozenset(node for g in layer_groups(NETWORK) for node in g.nodes)
    )
    np.testing.assert_array_equal(run(same, images())["a"], run(NETWORK, images())["a"])


@pytest.mark.parametrize("quantise", FLAVOURS)
def test_probabilities_and_the_normalised_image_are_not_rounded_to_256_steps(
    quantise: Quantise,
) -> None:
    graph = onnx.load_model_from_string(quantise(NETWORK, RANGES)).graph
    quantised = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert not quantised & {"p", *CLASSES, "float", "planes", "logits"}


@pytest.mark.parametrize("quantise", FLAVOURS)
def test_a_missing_range_is_told_by_tensor(quantise: Quantise) -> None:
    ranges = {name: limits for name, limits in RANGES.items() if name != "r2"}
    with pytest.raises(EngineError, match=r"no range was measured for a tensor: r2: run edgeapl"):
        quantise(NETWORK, ranges)


@pytest.mark.parametrize("quantise", FLAVOURS)
def test_the_same_ranges_give_the_same_bytes_and_every_node_a_name(quantise: Quantise) -> None:
    unnamed = conv_network(named=False)
    assert quantise(unnamed, RANGES) == quantise(unnamed, RANGES)
    names = set(nodes_of(quantise(unnamed, RANGES)))
    assert {"Conv_3", "Conv_6", "Gemm_9"} <= names
    assert quantised_layers(quantise(unnamed, RANGES, frozenset({"Conv_3"}))) == (
        "Conv_6",
        "Gemm_9",
    )


@pytest.mark.parametrize("quantise", FLAVOURS)
def test_what_is_no_network_is_refused(quantise: Quantise) -> None:
    with pytest.raises(EngineError, match="network is not an ONNX file"):
        quantise(b"\x00not a network", RANGES)
    loaded = onnx.load_model_from_string(NETWORK)
    loaded.opset_import[0].version = 13
    with pytest.raises(EngineError, match="opset 13"):
        quantise(loaded.SerializeToString(), RANGES)


def test_layers_are_parted_in_order_and_neighbours_share_a_group() -> None:
    groups = layer_groups(NETWORK)
    assert [group.name for group in groups] == [FIRST, SECOND, THIRD]
    assert "shift" in groups[0].nodes
    halved = layer_groups(NETWORK, most=2)
    assert [group.weighed for group in halved] == [(FIRST, SECOND), (THIRD,)]
    assert layer_groups(NETWORK, most=1)[0].weighed == (FIRST, SECOND, THIRD)


def test_what_serves_one_output_alone_is_found() -> None:
    assert THIRD in only_for(NETWORK, CLASSES)
    assert SECOND not in only_for(NETWORK, CLASSES)
    assert not only_for(NETWORK, ["features"])


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        ({"avx2"}, True),
        ({"avx2", "avx512bw"}, True),
        ({"avx2", "avx512bw", "avx512_vnni"}, False),
        ({"avx2", "avx_vnni"}, False),
        ({"asimd", "asimddp"}, False),
        (set(), False),
    ],
)
def test_processors_that_saturate_are_told_by_their_flags(flags: set[str], wrong: bool) -> None:
    assert saturates(frozenset(flags)) is wrong
