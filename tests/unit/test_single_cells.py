"""A network that mixes the cells of a batch, or answers differently each time, is not exported."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.errors import CodeError  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.single_cells import check_single_cells  # noqa: E402
from edgeapl.export.weights import Weights  # noqa: E402
from tests.own_networks import forward, own_recipe, with_layers  # noqa: E402

ALONE = "a cell's answer depends on the cells beside it"
ALIKE = "answers the same cells differently each time"

UNFIT: dict[str, tuple[str, list[str]]] = {
    "BatchNorm without running statistics": (
        with_layers("nn.BatchNorm2d(8, track_running_stats=False)"),
        [ALONE, "BatchNorm2d", "no running statistics", "track_running_stats=True"],
    ),
    "BatchNorm of numbers without running statistics": (
        with_layers("nn.BatchNorm1d(8, track_running_stats=False)", flat=True),
        ["BatchNorm", "running statistics"],
    ),
    "batch_norm told to train": (
        forward(
            "f = self.conv(x)",
            "f = torch.nn.functional.batch_norm(f, None, None, training=True)",
            "return self.fc(f.mean((2, 3)))",
        ),
        [ALONE, "model.py line 25", "batch_norm takes its mean and deviation from the batch"],
    ),
    "softmax over the cells": (
        forward("f = self.features(x)", "return self.fc(f).softmax(0)"),
        [ALONE, "model.py line 25", "softmax() goes over the cells"],
    ),
    "mean of the cells taken away": (
        forward("f = self.features(x)", "return self.fc(f - f.mean(dim=0, keepdim=True))"),
        [ALONE, "model.py line 25", "mean() goes over the cells"],
    ),
    "divided by the largest of the batch": (
        forward("return self.fc(self.features(x / x.max()))"),
        [ALONE, "model.py line 24", "max() goes over the cells"],
    ),
    "attention between cells": (
        with_layers("nn.TransformerEncoderLayer(8, 2, 8)", flat=True),
        [ALONE, "takes the cells for a sequence", "batch_first=True"],
    ),
    "product of the cells": (
        forward("f = self.features(x)", "return self.fc(f @ f.T @ f)"),
        [ALONE, "model.py line 23", "cause not found"],
    ),
    "training mode inside forward": (
        forward(
            "self.train()", "return self.fc(self.more(self.features(x)))", layers="nn.Dropout()"
        ),
        [ALIKE, "model.py line 23", "training mode is turned on inside forward", ".train()"],
    ),
    "dropout left on": (
        forward("return self.fc(torch.nn.functional.dropout(self.features(x)))"),
        [ALIKE, "model.py line 24", "dropout is left on", "training=self.training"],
    ),
    "drawn now and then, kept as it was drawn": (
        forward("f = self.features(x)", "return self.fc(f + (torch.rand(1) < 1e-4).float())"),
        ["draws at random", "model.py line 25", "rand() draws at random"],
    ),
    "noise": (
        forward("f = self.features(x)", "return self.fc(f + 0.1 * torch.randn_like(f))"),
        [ALIKE, "model.py line 25", "randn_like() draws at random"],
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_a_single_cell_can_not_be_asked_is_refused(case: str, tmp_path: Path) -> None:
    code, words = UNFIT[case]
    with pytest.raises(CodeError) as caught:
        checked(tmp_path, code)
    for word in words:
        assert word in str(caught.value)


FIT = {
    "BatchNorm": with_layers("nn.BatchNorm2d(8)"),
    "InstanceNorm": with_layers("nn.InstanceNorm2d(8)"),
    "GroupNorm": with_layers("nn.GroupNorm(2, 8)"),
    "LayerNorm and dropout": with_layers("nn.LayerNorm(8), nn.Dropout(0.5)", flat=True),
    "attention inside a cell": forward(
        "f = self.conv(x).flatten(2)",
        "a = (f.transpose(1, 2) @ f).softmax(1)",
        "return self.fc((f @ a).mean(2))",
    ),
    "each image by its own deviation": forward(
        "x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)",
        "return self.fc(self.features(x))",
    ),
}


@pytest.mark.parametrize("case", FIT)
def test_what_looks_at_one_cell_alone_is_fine(case: str, tmp_path: Path) -> None:
    checked(tmp_path, FIT[case])


def checked(tmp_path: Path, code: str) -> None:
    """Check a network of random weights."""
    recipe = find_recipe(str(own_recipe(tmp_path, code)))
    (network,) = recipe.networks
    check_single_cells(Weights(recipe, {}, seed=2).graph(network, explain=False), network, 1e-4)
