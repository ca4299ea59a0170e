"""Every network of every recipe becomes a real TensorRT-RTX plan, in every precision."""

from __future__ import annotations

import onnx
import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx")
from edgeapl.engines.trt.build import BuildOptions, Profile, make_plan
from edgeapl.engines.trt.layers import count_layers
from edgeapl.engines.trt.library import find_library
from edgeapl.export.recipes.registry import PUBLISHED
from tests.data.measure_plans import PRECISIONS, in_precision, networks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=sorted(PUBLISHED))
def recipe(request: pytest.FixtureRequest) -> list[tuple[str, bytes]]:
    return list(networks((request.param,)))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_networks_of_a_recipe_build(recipe: list[tuple[str, bytes]], precision: str) -> None:
    library = find_library("tensorrt-rtx")
    options = BuildOptions(profile=Profile(1, 8, 8))
    assert recipe
    for name, model in recipe:
        written = in_precision(model, precision)
        made = make_plan(written, name=name, library=library, options=options)
        assert made.plan[:4] == b"vtrt"
        # All of it is counted, so that docs/gpu.md can tell.
        assert made.scratch is not None
        counted = count_layers(made.layers)
        assert counted.layers > 2
        assert counted.bytes_a_row > 0
        eight = sum(node.op_type == "QuantizeLinear" for node in graph_of(written).node)
        assert bool(counted.leaving_int8) == bool(eight)


def graph_of(model: bytes) -> onnx.GraphProto:
    return onnx.load_model_from_string(model).graph
