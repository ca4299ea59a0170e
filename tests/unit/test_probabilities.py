"""What is called a probability is one, made once; doubts stand in the report and in inspect."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.bundle.manifest import Manifest  # noqa: E402
from edgeapl.cli.main import run  # noqa: E402
from edgeapl.errors import ConfigError  # noqa: E402
from edgeapl.export.colours import colour_doubts  # noqa: E402
from edgeapl.export.probabilities import check_answers  # noqa: E402
from edgeapl.export.recipes.factory import load_factory  # noqa: E402
from edgeapl.export.recipes.manifest import manifest_settings  # noqa: E402
from edgeapl.export.recipes.registry import PUBLISHED, find_recipe  # noqa: E402
from tests.own_networks import HEAD, RECIPE, forward, own_recipe  # noqa: E402

SOFTMAX = 'softmax.logits = ["promyelocyte", "other"]'
ONE = RECIPE.replace(SOFTMAX, "").replace('output = "promyelocyte"', 'output = "logits"')
ENDS_IN_SOFTMAX = forward("return self.fc(self.features(x)).softmax(1)")
ONE_LOGIT = forward("return 9 + self.fc(self.features(x))[:, 0]")


def given(activation: str) -> str:
    return RECIPE.replace("softmax.logits", f"{activation}.logits")


def images(setting: str) -> str:
    return RECIPE.replace("size_px = 32", f"size_px = 32\n{setting}")


def export(folder: Path, code: str, recipe: str) -> int:
    """Export a network with weights that were not trained, as if they were."""
    own_recipe(folder, code, recipe)
    torch.manual_seed(2)
    torch.save(load_factory("model.py:build", folder)().state_dict(), folder / "weights.pt")
    weights = f"model={folder / 'weights.pt'}"
    out = str(folder / "bundle")
    return run(["export", str(folder / "recipe.toml"), "--weights", weights, "--out", out])


REFUSED: dict[str, tuple[str, str, list[str]]] = {
    "softmax, and again": (
        ENDS_IN_SOFTMAX,
        RECIPE,
        ["passed to softmax again", "cells.logits", "ends in softmax", "probabilities.logits = ["],
    ),
    "softmax by hand, and again": (
        forward("e = self.fc(self.features(x)).exp()", "return e / e.sum(1, keepdim=True)"),
        RECIPE,
        ["passed to softmax again", "shares that make 1"],
    ),
    "one sigmoid, and softmax": (
        forward(
            "p = torch.sigmoid(self.fc(self.features(x))[:, :1])", "return torch.cat([p, 1 - p], 1)"
        ),
        RECIPE,
        ["passed to softmax again", "shares that make 1"],
    ),
    "sigmoid, and again": (
        forward("return torch.sigmoid(self.fc(self.features(x)))"),
        given("sigmoid"),
        ["passed to sigmoid again", "ends in sigmoid"],
    ),
    "sigmoid, and softmax": (
        forward("return torch.sigmoid(self.fc(self.features(x))).clamp(0.001, 0.999)"),
        RECIPE,
        ["passed to softmax again", "ends in sigmoid"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_probabilities_that_are_none_are_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, recipe, words = REFUSED[case]
    assert export(tmp_path, code, recipe) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    for word in words:
        assert word in last
    assert not (tmp_path / "bundle").exists()


LOGITS: dict[str, tuple[str, str]] = {
    "a logit as a role": (ONE_LOGIT, ONE),
    "logits as probabilities": (
        forward("return 9 + self.fc(self.features(x))"),
        given("probabilities"),
    ),
}


@pytest.mark.parametrize("case", LOGITS)
def test_logits_that_are_named_as_probabilities_are_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, *LOGITS[case]) == 4
    assert "a logit needs softmax or sigmoid in the recipe" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


CALM = forward("return 1e-5 * self.fc(self.features(x))")
DOUBTS = ("all 16 cells of the proof get the same promyelocyte, other within 0.001", "mean (123.7")


def test_doubts_stand_on_the_terminal_in_the_report_and_in_inspect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, CALM, images("mean = [123.7, 116.3, 103.5]")) == 0
    told = capsys.readouterr().out
    report = json.loads((tmp_path / "bundle" / "export-report.json").read_text())
    assert run(["inspect", str(tmp_path / "bundle")]) == 0
    shown = capsys.readouterr().out
    assert len(report["warnings"]) == len(DOUBTS)
    for words in DOUBTS:
        assert words in told
        assert words in shown
        assert any(words in warning for warning in report["warnings"])


def test_answers_within_0_and_1_before_a_sigmoid_are_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "p = torch.sigmoid(self.fc(self.features(x)))", "return (p + p * p) / 2"
    assert export(tmp_path, forward(*lines), given("sigmoid")) == 0
    assert "between 0 and 1 before sigmoid makes probabilities" in capsys.readouterr().out


def test_cells_that_a_batch_of_many_alone_mixes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "f = self.features(x)", "return self.fc(f - f[8:].sum(0))"
    assert export(tmp_path, forward(*lines), RECIPE) != 0
    error = capsys.readouterr().err
    assert "depends on the cells beside it: cells.logits in batches of 1 and 16" in error
    assert not (tmp_path / "bundle").exists()


COLOURS: dict[str, tuple[str, str]] = {
    "mean of 0 to 255": ("mean = [123.7, 116.3, 103.5]", "mean (123.7, 116.3, 103.5) does not fit"),
    "deviation of 0 to 255": ("deviation = [58.4, 57.1, 57.4]", "deviation (58.4"),
    "mean of 0 to 1": ("scale = 1.0\nmean = [0.485, 0.456, 0.406]", "mean (0.485"),
    "deviation of 0 to 1": (
        "scale = 1.0\nmean = [120.0, 120.0, 120.0]\ndeviation = [0.2, 0.2, 0.2]",
        "deviation (0.2",
    ),
    "ImageNet's": ("mean = [0.485, 0.456, 0.406]\ndeviation = [0.229, 0.224, 0.225]", ""),
    "colours from 0 to 255": (
        "scale = 1.0\nmean = [123.7, 116.8, 103.9]\ndeviation = [58.4, 57.1, 57.4]",
        "",
    ),
    "colours from 0 to 255, mean alone": ("scale = 1.0\nmean = [123.7, 116.8, 103.9]", ""),
    "colours from -1 to 1": ("scale = 0.00784313725\nmean = [1.0, 1.0, 1.0]", ""),
    "one factor for all": ("scale = 1.0\ndeviation = [255.0, 255.0, 255.0]", ""),
    "nothing said": ("", ""),
}


@pytest.mark.parametrize("case", COLOURS)
def test_colours_that_do_not_fit_together_are_doubted(case: str, tmp_path: Path) -> None:
    setting, words = COLOURS[case]
    doubts = colour_doubts(find_recipe(str(own_recipe(tmp_path, HEAD, images(setting)))))
    assert len(doubts) == bool(words)
    assert words in "".join(doubts)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_raise_no_doubt(name: str) -> None:
    assert colour_doubts(find_recipe(name)) == ()


FINE = {
    "log_softmax": (forward("return self.fc(self.features(x)).log_softmax(1)"), RECIPE),
    "probabilities called so": (ENDS_IN_SOFTMAX, given("probabilities")),
}


@pytest.mark.parametrize("case", FINE)
def test_probabilities_that_are_made_once_are_exported(case: str, tmp_path: Path) -> None:
    assert export(tmp_path, *FINE[case]) == 0


def test_a_logit_that_only_the_proof_meets_is_refused(tmp_path: Path) -> None:
    """The self-test has few cells: the proof may be the first to meet a number above 1."""
    recipe = find_recipe(str(own_recipe(tmp_path, ONE_LOGIT, ONE)))
    settings = manifest_settings(recipe, trained=True, explain=False)
    names = [network.file for network in recipe.networks]
    files = dict.fromkeys([*names, "MODEL_CARD.md", "golden.png", "golden.npz"], "0" * 64)
    manifest = Manifest.model_validate({"schema_version": 1, **settings, "files": files})
    (network,) = recipe.networks
    check_answers(network, manifest, {"logits": np.array([0.0, 0.3, 1.0], np.float32)})
    with pytest.raises(ConfigError, match=r"role promyelocyte, cells\.logits: 1\.2"):
        check_answers(network, manifest, {"logits": np.array([0.3, 1.2], np.float32)})
