"""A layer without a kernel gets more bits, alone; others of its form follow when it is the rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder import files
from edgeapl.calibration.builder.files import NetworkFile, write_network
from edgeapl.calibration.builder.layer_fallback import (
    ALONE,
    MOST_BUILDS,
    BuiltWithFallback,
    build_with_fallback,
)
from edgeapl.calibration.builder.layer_precision import layer_precisions
from edgeapl.engines.store.record import Precision
from edgeapl.engines.trt.build import make_plan
from edgeapl.engines.trt.library import find_library
from edgeapl.engines.trt.missing_kernel import MissingKernelError, missing_kernel, named_layers
from edgeapl.errors import EngineError
from tests.quantising import measured
from tests.small_bundle import SIZE, pooled_network, small_bundle

DEPTH = 12
CELLS = np.random.default_rng(4).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
FUSED = "w.weight + w.weight_QuantizeLinear + /b/Conv + PWN(PWN(/b/Sigmoid), /b/Mul)"


@pytest.mark.parametrize(
    ("lines", "fused"),
    [
        ([f"Could not find any implementation for node {FUSED}."], FUSED),
        (
            [
                "Error Code 9: Skipping tactic 0x1 due to exception",
                f"Error Code 10: (Could not find any implementation for node {FUSED}.)",
            ],
            FUSED,
        ),
        (["IBuilder::buildSerializedNetwork: Error Code 4: something else"], ""),
        ([], ""),
    ],
)
def test_the_layer_is_read_from_what_builders_log(lines: list[str], fused: str) -> None:
    assert missing_kernel(lines) == fused


@pytest.mark.parametrize(
    ("fused", "named"),
    [
        (FUSED, ["/b/Conv"]),
        ("conv1.weight + conv1.weight_QuantizeLinear + conv1", ["conv1"]),
        ("conv1 || conv10", ["conv1", "conv10"]),
        ("/x/b/Conv_1", ["/x/b/Conv_1"]),
        ("{ForeignNode[/b/Conv.../x/b/Conv_1]}", ["/b/Conv", "conv1", "conv10", "/x/b/Conv_1"]),
        ("(Unnamed Layer* 8) [Convolution]", []),
    ],
)
def test_a_layer_is_not_taken_for_one_with_a_longer_name(fused: str, named: list[str]) -> None:
    layers = ["/b/Conv", "conv1", "conv10", "/x/b/Conv_1", "/b/Conv_1"]
    assert list(named_layers(fused, layers)) == named


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle whose network has a dense convolution, `dense`, and twelve depthwise ones."""
    nodes = [
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["c0"], name="dense"),
    ]
    for number in range(1, DEPTH + 1):
        given, made = f"c{number - 1}", f"c{number}"
        node = helper.make_node("Conv", [given, f"w{number}"], [made], group=3, pads=[1] * 4)
        node.name = f"depthwise{number}"
        nodes.append(node)
    nodes.append(helper.make_node("ReduceMean", [f"c{DEPTH}", "axes"], ["features"], keepdims=0))
    centre = np.zeros((3, 1, 3, 3), np.float32)
    centre[:, :, 1, 1] = 1
    values = {"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "axes": np.array([2, 3])}
    values |= {f"w{number}": centre for number in range(1, DEPTH + 1)}
    values |= {"weights": np.eye(3, dtype=np.float32), "bias": np.zeros(3, np.float32)}
    network = pooled_network(nodes, values)
    ranges = measured(network, {"cells": CELLS})
    monkeypatch.setattr(files, "ranges_of", lambda _: {"cells": ranges})
    return small_bundle(tmp_path / "bundle", cells=network)


Needs = Callable[[str, str], bool]
"""Whether there is a kernel for a layer in a precision."""


class Builder:
    """Builds what it has kernels for, and names the first layer that it has none for."""

    def __init__(self, has_kernel: Needs) -> None:
        self._has_kernel = has_kernel
        self.builds = 0

    def __call__(self, model: bytes) -> dict[str, str]:
        self.builds += 1
        found = layer_precisions(model)
        for layer, precision in found.items():
            if not self._has_kernel(layer, precision):
                raise MissingKernelError("cells", f"w + {layer} + Relu")
        return found


def built(
    bundle: Bundle, builder: Builder, folder: Path, precision: Precision = "int8"
) -> BuiltWithFallback[dict[str, str]]:
    target = "tensorrt"
    folder.mkdir()
    first = write_network(bundle, "cells", target, precision, frozenset(), folder)

    def rewrite(keep: frozenset[str], exact: frozenset[str]) -> NetworkFile:
        return write_network(bundle, "cells", target, precision, keep, folder, exact)

    return build_with_fallback(first, builder, rewrite, lambda _: None)


def test_one_layer_alone_is_changed(bundle: Bundle, tmp_path: Path) -> None:
    builder = Builder(lambda layer, precision: (layer, precision) != ("depthwise4", "int8"))
    made = built(bundle, builder, tmp_path / "work")
    assert builder.builds == 2
    assert [(one.layer, one.precision) for one in made.fallbacks] == [("depthwise4", "fp16")]
    assert made.fallbacks[0].why == "no int8 kernel: w + depthwise4 + Relu"
    convolutions = {layer: kind for layer, kind in made.plan.items() if layer != "logits"}
    assert {layer for layer, kind in convolutions.items() if kind != "int8"} <= {
        "depthwise4",
        *(set(layer_precisions(bundle.read("cells.onnx"))) - {"dense"} - set(depthwise())),
    }
    assert made.plan["dense"] == "int8"
    assert "depthwise4" in made.network.kept


def depthwise() -> list[str]:
    return [f"depthwise{number}" for number in range(1, DEPTH + 1)]


def test_a_layer_without_a_kernel_in_halves_either_is_built_in_floats(
    bundle: Bundle, tmp_path: Path
) -> None:
    builder = Builder(lambda layer, precision: layer != "depthwise4" or precision == "fp32")
    precisions: tuple[Precision, ...] = ("int8", "fp16")
    for number, precision in enumerate(precisions):
        made = built(bundle, builder, tmp_path / precision, precision)
        assert [(one.layer, one.precision) for one in made.fallbacks] == [("depthwise4", "fp32")]
        assert made.plan["depthwise4"] == "fp32"
        assert made.plan["depthwise5"] == precision
        assert builder.builds == (3, 5)[number]


def test_where_it_is_the_rule_all_layers_of_the_form_follow(bundle: Bundle, tmp_path: Path) -> None:
    builder = Builder(lambda layer, precision: "depthwise" not in layer or precision != "int8")
    made = built(bundle, builder, tmp_path / "work")
    assert builder.builds == ALONE + 2  # one for each that was alone, for all others, and at last
    assert [one.layer for one in made.fallbacks] == depthwise()
    assert made.plan["dense"] == "int8"


def test_builds_end(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeapl.calibration.builder.layer_fallback.ALONE", 1000)
    builder = Builder(lambda layer, precision: "depthwise" not in layer or precision != "int8")
    with pytest.raises(EngineError, match=rf"{MOST_BUILDS} builds.*--precision fp16"):
        built(bundle, builder, tmp_path / "work")
    assert builder.builds == MOST_BUILDS


@pytest.mark.parametrize("fused", ["(Unnamed Layer* 8) [Convolution]", "w + depthwise4"])
def test_what_can_not_be_set_higher_is_an_error_in_one_line(
    bundle: Bundle, tmp_path: Path, fused: str
) -> None:
    def refuse(_: bytes) -> None:
        raise MissingKernelError("cells", fused)

    first = write_network(bundle, "cells", "tensorrt", "fp32", frozenset(), tmp_path)
    with pytest.raises(MissingKernelError, match=r"no kernel for .*: build it with") as raised:
        build_with_fallback(first, refuse, lambda *_: first, lambda _: None)
    assert "\n" not in str(raised.value)


def test_the_real_builder_takes_a_network_with_a_layer_set_higher(
    bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    library = find_library("tensorrt-rtx")
    order = ("int8", "fp16", "fp32")
    for precision in order[1:]:
        able = order[order.index(precision) :]
        builder = Builder(partial(has_kernel_in, able))
        network = built(bundle, builder, tmp_path / precision).network
        assert layer_precisions(network.read())["depthwise4"] == precision
        layers = make_plan(network.read(), name="cells", library=library).layers
        taken = Counter(layer.inputs[0].dtype for layer in layers if layer.convolves)
        # The kernel may take the halves of the layer before, and make floats of them itself.
        assert taken == {"int8": DEPTH, "half": 1}


def has_kernel_in(precisions: tuple[str, ...], layer: str, precision: str) -> bool:
    return layer != "depthwise4" or precision in precisions
