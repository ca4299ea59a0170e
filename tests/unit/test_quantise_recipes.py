"""The networks of the published systems, at random weights, in FP16 and in eight bits."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'edgeapl[export]'")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.calibration.quantise.fp16 import to_fp16  # noqa: E402
from edgeapl.calibration.quantise.qdq import (  # noqa: E402
    qdq_onnxruntime,
    qdq_tensorrt,
    quantised_layers,
)
from edgeapl.export.onnx_file import onnx_bytes  # noqa: E402
from edgeapl.export.recipes.recipe import Images  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.weights import Weights  # noqa: E402
from tests.quantising import Rows, measured, run  # noqa: E402

# Recipe, network, layers that are quantised.
NETWORKS = [
    ("spatial-attention", "network", 11),
    ("eckardt2022", "head", 2),
    ("eckardt2022", "box_head", 4),
    pytest.param("eckardt2022", "myeloblast", 75, marks=pytest.mark.slow),
    pytest.param("eckardt2022", "detector", 76, marks=pytest.mark.slow),
    pytest.param("manescu2023", "encoder", 16, marks=pytest.mark.slow),
    pytest.param("manescu2023", "head", 3, marks=pytest.mark.slow),
    pytest.param("yan2025", "apl", 67, marks=pytest.mark.slow),
]


def exported(recipe_name: str, name: str) -> tuple[bytes, dict[str, Rows]]:
    """Export one network and draw an input."""
    recipe = find_recipe(recipe_name)
    network = next(one for one in recipe.networks if one.name == name)
    graph = Weights(recipe, {}, seed=1).graph(network, explain=True)
    example = graph.example()
    many = not isinstance(network.input, Images) or network.input.many
    data = onnx_bytes(graph, example, network.input_name, graph.output_names, batch=many)
    rng = np.random.default_rng(0)
    if isinstance(network.input, Images):
        return data, {network.input_name: rng.integers(0, 256, example.shape, dtype=np.uint8)}
    return data, {network.input_name: rng.random(example.shape, dtype=np.float32)}


@pytest.mark.parametrize(("recipe", "name", "layers"), NETWORKS)
def test_every_network_stays_valid_runs_and_answers_alike(
    recipe: str, name: str, layers: int
) -> None:
    network, rows = exported(recipe, name)
    wanted = run(network, rows)
    ranges = measured(network, rows)
    for_tensorrt = qdq_tensorrt(network, ranges)
    assert len(quantised_layers(for_tensorrt)) == layers
    assert len(quantised_layers(qdq_onnxruntime(network, ranges))) == layers
    # Random weights spread little, so eight bits can only be held to a wide limit.
    for converted, allowed in [
        (to_fp16(network, ranges=ranges)[0], 0.01),
        (qdq_onnxruntime(network, ranges), 0.3),
        (for_tensorrt, 0.3),
        (to_fp16(for_tensorrt, ranges=ranges)[0], 0.3),
    ]:
        given = run(converted, rows)
        assert list(given) == list(wanted)
        for output, want in wanted.items():
            if output == "map":  # divided by its own maximum, which may be nearly 0
                continue
            assert given[output].shape == want.shape
            assert given[output].dtype == want.dtype
            apart = float(np.abs(given[output] - want).max())
            assert apart <= allowed * max(1e-3, float(np.abs(want).max())), output
