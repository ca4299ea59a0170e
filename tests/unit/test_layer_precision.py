"""`inspect` says of every layer what it really computes in."""

from __future__ import annotations

from edgeapl.calibration.builder.layer_precision import layer_precisions, precision_counts
from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime
from tests.quantising import FIRST, SECOND, THIRD, conv_network, images, measured


def test_layers_are_counted_as_they_compute() -> None:
    network = conv_network()
    ranges = measured(network, images())
    assert set(layer_precisions(network).values()) == {"fp32"}
    eight = layer_precisions(qdq_onnxruntime(network, ranges))
    assert eight == {FIRST: "int8", SECOND: "int8", THIRD: "int8"}
    spared = layer_precisions(qdq_onnxruntime(network, ranges, frozenset({SECOND})))
    assert spared == {FIRST: "int8", SECOND: "fp32", THIRD: "int8"}
    halves = layer_precisions(to_fp16(network, frozenset({FIRST}))[0])
    assert halves == {FIRST: "fp32", SECOND: "fp16", THIRD: "fp16"}
    assert precision_counts(spared) == "2 int8, 1 fp32"
