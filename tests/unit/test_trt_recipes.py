"""Every network of every recipe becomes a real TensorRT-RTX plan, in every precision."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx")
from edgeapl.engines.trt.build import Profile, build_plan
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
    assert recipe
    for name, model in recipe:
        written = in_precision(model, precision)
        plan = build_plan(written, name=name, library=library, profile=Profile(1, 8, 8))
        assert plan[:4] == b"vtrt"
