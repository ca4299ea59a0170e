"""Whatever operator stands between two layers, INT8 is built, or the layer is kept higher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import registry

from edgeapl.calibration.builder.files import kept_layers, quantise_int8
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.inputs import NetworkInputs
from edgeapl.calibration.quantise.precision_fallback import Unquantised, quantise_most
from edgeapl.calibration.range_measurement import MeasurementOptions, measure
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from tests.quantised_operators import MIDDLES, UNDER_TEST, operator_network
from tests.quantising import images, measured, run

OPSET = 18
EXPLAINING = frozenset({"second", "last"})
KEPT = {
    "ConvTranspose, grouped": frozenset({UNDER_TEST}),
    "Gemm, bias of one number": frozenset({UNDER_TEST}),
    "Gemm, bias of one row": frozenset({UNDER_TEST}),
    "ArgMax": EXPLAINING,
    "Gather from a constant": EXPLAINING,
}
"""Layers that onnxruntime's quantiser fails on; and those behind an ArgMax, which explain."""

FAR = 0.3
"""Largest change of an answer, in standard deviations of the answers over all cells."""

REFUSED = {"Pad of some axes": "network failed while running"}
"""What onnxruntime itself cannot run once it is in eight bits; FP32 can be built."""

OTHERWISE_IN_OPENVINO = ("LSTM", "Conv of a constant", "Pad of some axes")
"""Computed otherwise by OpenVINO in eight bits than by onnxruntime, from the same file: what proves
engines in the runtime that serves them refuses these. One that is mended there leaves this list."""


def test_every_operator_of_the_quantiser_is_tried() -> None:
    known = {
        *(*registry.QDQRegistry, *registry.QLinearOpsRegistry),
        *(*registry.CommonOpsRegistry, *registry.IntegerOpsRegistry),
    }
    operators = {name for name in known if onnx.defs.has(name, OPSET, "")}
    tried = {node.op_type for nodes, _ in MIDDLES.values() for node in nodes}
    assert operators - tried == set()
    assert len(operators) > 30


@pytest.mark.parametrize("name", MIDDLES)
def test_it_is_built_or_its_layer_is_kept_higher(name: str, tmp_path: Path) -> None:
    network = operator_network(name)
    spool = DiskArray(tmp_path / "cells")
    spool.append(images()["cells"])
    how = MeasurementOptions("minmax", grow=False)
    ranges = measure(
        "n", network, NetworkInputs("cells", spool), how, lambda done, of: None
    ).tensors
    built = quantise_int8(network, "onnxruntime", ranges, frozenset())
    assert kept_layers(network, built) == KEPT.get(name, frozenset())
    plan = quantise_int8(network, "tensorrt", ranges, frozenset())
    assert kept_layers(network, plan) <= KEPT.get(name, frozenset())
    if name in REFUSED:
        with pytest.raises(EngineError, match=REFUSED[name]):
            open_engine("onnxruntime", "n", built).run(images())
        return
    wanted = run(network, images())["logits"]
    given = open_engine("onnxruntime", "n", built).run(images())["logits"]
    assert np.abs(given - wanted).max() < FAR * wanted.std()


@pytest.mark.parametrize("name", MIDDLES)
def test_openvino_takes_it_too_or_is_seen_to_answer_otherwise(name: str) -> None:
    pytest.importorskip("openvino", reason="needs the openvino extra")
    network = operator_network(name)
    built = quantise_int8(network, "openvino", measured(network, images()), frozenset())
    wanted = run(network, images())["logits"]
    given = open_engine("openvino", "n", built).run(images())["logits"]
    assert (np.abs(given - wanted).max() > FAR * wanted.std()) == (name in OTHERWISE_IN_OPENVINO)


def test_layers_that_fail_together_alone_are_one_line() -> None:
    def quantised(nodes: Sequence[str]) -> bytes:
        if {"a", "d"} <= set(nodes):
            raise Unquantised("two of a kind")
        return ",".join(nodes).encode()

    with pytest.raises(EngineError, match=r"cannot be quantised.*two of a kind.*fp32"):
        quantise_most(["a", "b", "c", "d"], quantised)


def test_only_layers_that_fail_are_spared() -> None:
    def quantised(nodes: Sequence[str]) -> bytes:
        if {"b", "e"} & set(nodes):
            raise Unquantised("unknown")
        return ",".join(nodes).encode()

    assert quantise_most(list("abcdefg"), quantised) == b"a,c,d,f,g"
    assert quantise_most(["b"], quantised) is None
