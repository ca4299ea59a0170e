"""Build a plan although the library has no kernel for some layer: that layer gets more bits.

TensorRT 8.6 to 10.3 on Orin, for instance, has no eight-bit kernel for some depthwise convolutions
(NVIDIA/TensorRT issue 4060). The builder names the layer; it alone loses its Q/DQ nodes, and all
others stay in eight bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import onnx

from edgeapl.calibration.builder.files import NetworkFile
from edgeapl.calibration.builder.layer_precision import layer_precisions
from edgeapl.calibration.quantise.graph import read_graph
from edgeapl.engines.trt.missing_kernel import MEND, MissingKernelError, named_layers
from edgeapl.errors import EngineError

ALONE = 3
"""Layers without a kernel that are changed one by one. Behind them it is taken for the rule: each
further one takes all layers of its form with it, as every try is a whole build."""

MOST_BUILDS = 10
"""Of one network: a build takes minutes."""

NEXT = {"int8": "fp16", "fp16": "fp32"}
FORM = ("kernel_shape", "strides", "dilations")

Built = TypeVar("Built")


@dataclass(frozen=True, slots=True)
class LayerFallback:
    """A layer that computes in more bits than its network. why : what the builder said."""

    layer: str
    precision: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class BuiltWithFallback(Generic[Built]):
    """plan : what was built. network : the file that it was built from."""

    plan: Built
    network: NetworkFile
    fallbacks: tuple[LayerFallback, ...]


Rewrite = Callable[[frozenset[str], frozenset[str]], NetworkFile]
"""Writes a network again. Takes the names of layers in FP16 or more, of an INT8 network, and of
those in FP32."""


def build_with_fallback(
    network: NetworkFile,
    build: Callable[[bytes], Built],
    rewrite: Rewrite,
    say: Callable[[str], None],
) -> BuiltWithFallback[Built]:
    """Build a network; where a layer has no kernel, set that one higher and build again.

    Parameters
    ----------
    build : builds the plan of an ONNX file. say : called with every layer that is changed.

    Raises EngineError when a layer has no kernel in FP32 either, when the builder names none of
    the network's layers, or after `MOST_BUILDS`.
    """
    keep, exact = frozenset(network.kept), frozenset(network.exact)
    done: dict[str, LayerFallback] = {}
    missing = 0
    for _ in range(MOST_BUILDS):
        model = network.read()
        try:
            return BuiltWithFallback(build(model), network, tuple(done.values()))
        except MissingKernelError as error:
            missing += 1
            raised = _raised(model, error, alike=missing > ALONE)
            why = f"no {_words(layer_precisions(model), raised)} kernel: {error.fused}"
        for layer, precision in raised.items():
            done[layer] = LayerFallback(layer, precision, why)
            say(f"no kernel for {layer}, which is built again in {precision}")
        to_exact = {layer for layer, precision in raised.items() if precision == "fp32"}
        keep, exact = keep | frozenset(raised), exact | frozenset(to_exact)
        network = rewrite(keep, exact)
    text = f"{MOST_BUILDS} builds, each with another layer that TensorRT has no kernel for: {MEND}"
    raise EngineError("network could not be built", network.path.stem, text)


def _raised(model: bytes, error: MissingKernelError, *, alike: bool) -> dict[str, str]:
    """Return the layers to change, each with its new precision; raise the error when none can."""
    precisions = layer_precisions(model)
    named = named_layers(error.fused, tuple(precisions))
    if alike:
        forms = _forms(model)
        wanted = {(forms[layer], precisions[layer]) for layer in named}
        named = tuple(layer for layer in precisions if (forms[layer], precisions[layer]) in wanted)
    raised = {layer: NEXT[precisions[layer]] for layer in named if precisions[layer] in NEXT}
    if not raised:
        raise error
    return raised


def _words(precisions: Mapping[str, str], layers: Mapping[str, str]) -> str:
    return "/".join(sorted({precisions[layer] for layer in layers}))


def _forms(model: bytes) -> dict[str, tuple[object, ...]]:
    """Map each node to what kernels differ by: operator, groups or none, and window."""
    return {node.name: _form(node) for node in read_graph(model).graph.node}


def _form(node: onnx.NodeProto) -> tuple[object, ...]:
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    window = tuple(tuple(values.get(name, ())) for name in FORM)
    return (node.op_type, values.get("group", 1) > 1, *window)
