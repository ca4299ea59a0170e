"""The training script: small parts of it, with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.engines.ort import OrtEngine  # noqa: E402
from edgeapl.export.architectures.heads import RatioEnsemble  # noqa: E402
from edgeapl.export.onnx_file import onnx_bytes  # noqa: E402
from edgeapl.export.train_demo.figures import auc  # noqa: E402
from edgeapl.export.train_demo.network import CellNetwork  # noqa: E402
from edgeapl.export.train_demo.pool import ROLE_NAMES, Pool, make_pool  # noqa: E402
from edgeapl.export.train_demo.trainer import (  # noqa: E402
    augment,
    predict,
    slide_ratios,
    train_cells,
    train_head,
)
from edgeapl.model.sealer import reseal  # noqa: E402
from tests.small_bundle import small_bundle  # noqa: E402


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(range(3), 1, tmp_path_factory.mktemp("cache"))


def test_a_pool_is_kept_and_holds_the_truth_of_every_cell(pool: Pool, tmp_path: Path) -> None:
    assert len(pool.crops) == len(pool.truth) == len(pool.slide) > 30
    assert pool.truth[pool.slide == 0, 0].mean() > 0.3  # APL: promyelocytes
    assert pool.truth[pool.slide == 1, 1].mean() > 0.3  # AML: myeloblasts
    first = make_pool(range(1), 1, tmp_path)
    again = make_pool(range(1), 1, tmp_path)
    np.testing.assert_array_equal(first.crops, again.crops)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_onnx_file_answers_like_torch_and_is_the_same_twice(pool: Pool) -> None:
    torch.manual_seed(0)
    network = CellNetwork().eval()
    names = [*ROLE_NAMES, "features"]
    example = torch.zeros((2, 96, 96, 3), dtype=torch.uint8)
    data = onnx_bytes(network, example, "cells", names, batch=True)
    assert data == onnx_bytes(network, example, "cells", names, batch=True)
    assert str(Path(__file__).parents[2]).encode() not in data
    scores, features = predict(network, pool.crops)
    engine = OrtEngine("cells", data)
    for count in (1, 5, len(pool.crops)):
        answers = engine.run({"cells": pool.crops[:count]})
        wanted = {name: scores[:count, row] for row, name in enumerate(ROLE_NAMES)}
        for name, values in {**wanted, "features": features[:count]}.items():
            assert np.abs(np.asarray(answers[name], np.float64) - values).max() < 1e-4


def test_training_lowers_the_loss_and_is_repeatable(pool: Pool) -> None:
    said: list[str] = []
    one = train_cells(pool, 3, said.append)
    losses = [float(line.rsplit(" ", 1)[1]) for line in said]
    assert losses[-1] < losses[0]
    again = train_cells(pool, 3, lambda text: None)
    for a, b in zip(one.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_augmented_cells_are_still_cells(pool: Pool) -> None:
    torch.manual_seed(1)
    batch = torch.from_numpy(pool.crops[:8])
    changed = augment(batch)
    assert changed.shape == batch.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, batch)
    assert changed.float().std() > 10


def test_the_head_never_falls_when_promyelocytes_or_auer_rods_rise() -> None:
    random = np.random.default_rng(0)
    scores = np.clip(random.normal(0.3, 0.3, (900, 3)), 0, 1).astype(np.float32)
    slide = np.repeat(np.arange(9), 100)
    scores[slide % 3 == 0, 0] += 0.4
    ratios, kinds = slide_ratios(scores, slide, np.full(3, 0.5, np.float32), seed=1, bags=10)
    head = train_head(ratios, kinds)
    assert isinstance(head, RatioEnsemble)
    for layer in (head.aml, head.healthy):
        assert float(layer.weight.detach()[0, 0]) >= 0
        assert float(layer.weight.detach()[0, 2]) >= 0


def test_auc_counts_ties_half() -> None:
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])) == pytest.approx(0.75)
    assert auc(np.array([0.5, 0.5]), np.array([0, 1])) == pytest.approx(0.5)


def test_resealing_an_unchanged_bundle_changes_nothing(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "b")
    assert reseal(tmp_path / "b").digest == bundle.digest
