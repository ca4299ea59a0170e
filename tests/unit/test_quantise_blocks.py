"""Empty channels are added where depthwise kernels are slow, and change no answer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeapl.calibration.quantise.blocks import pad_channels
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime
from tests.quantising import conv_network, images, measured, run, separable_network


def channels(network: bytes) -> dict[str, tuple[int, ...]]:
    """Give the shape of every convolution's weights by the name of its node."""
    graph = onnx.load_model_from_string(network).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    return {n.name: shapes[n.input[1]] for n in graph.node if n.op_type == "Conv"}


def tensors(network: bytes) -> list[tuple[str, ...]]:
    """Give what every node gives."""
    return [tuple(n.output) for n in onnx.load_model_from_string(network).graph.node]


def test_a_broken_block_of_a_depthwise_layer_is_filled_up_wherever_its_channels_go() -> None:
    network = separable_network(540)
    wider = pad_channels(network)
    assert channels(wider) == {
        "first": (544, 3, 3, 3),
        "deep": (544, 1, 3, 3),
        "point": (544, 544, 1, 1),
        "narrow": (8, 544, 1, 1),
    }
    # Ranges are kept by the names of tensors, layers that stay in FP32 by those of nodes.
    assert tensors(wider) == tensors(network)


def test_empty_channels_change_no_answer() -> None:
    network = separable_network(540)
    wider = pad_channels(network)
    wanted = run(network, images())["logits"]
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(run(wider, images())["logits"], wanted, atol=1e-5)
    # In eight bits sums are exact: not even the last digit may differ.
    ranges = measured(network, images())
    np.testing.assert_array_equal(
        run(qdq_onnxruntime(wider, ranges), images())["logits"],
        run(qdq_onnxruntime(network, ranges), images())["logits"],
    )


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (separable_network(48), "whole blocks"),
        (separable_network(20), "12 more would be 60 % more work"),
        (separable_network(540, last="output"), "the caller sees the channels"),
        (separable_network(540, last="concat"), "they are put beside others"),
        (separable_network(540, last="gate"), "one channel is repeated for all"),
        (conv_network(), "no depthwise layer"),
    ],
)
def test_channels_stay_where_more_would_be_wrong_or_not_worth_it(network: bytes, why: str) -> None:
    assert pad_channels(network) == network, why
